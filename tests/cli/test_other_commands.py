"""The commands besides `run`: what they write and what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv.cli import _COMMANDS

pytest.importorskip("onnx")


def test_help_names_every_command(edgecv: Any) -> None:
    outcome = edgecv("--help")
    assert outcome.code == 0
    for command in _COMMANDS:
        assert command in outcome.out


def test_help_shows_the_defaults_of_a_training(edgecv: Any) -> None:
    outcome = edgecv("train", "--help")
    assert outcome.code == 0
    words = " ".join(outcome.out.replace("│", " ").split())
    for shown in ("[default: 50]", "[default: letterbox]", "[default: 0.002]"):
        assert shown in words
    assert "(50)" not in words


def test_version_is_that_of_the_package(edgecv: Any) -> None:
    import edgecv as package

    outcome = edgecv("--version")
    assert (outcome.code, outcome.out) == (0, f"edgecv {package.__version__}\n")


def test_a_misspelt_option_is_bad_input(edgecv: Any) -> None:
    outcome = edgecv("run", "--sauce", "x")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback(edgecv: Any) -> None:
    outcome = edgecv("--debug", "run", "missing.onnx", "--source", "0")
    assert outcome.code == 2
    assert "Traceback" in outcome.err


def test_adopt_says_what_it_wrote(edgecv: Any, foreign_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "adopted.onnx"
    outcome = edgecv(
        *("adopt", foreign_onnx, "--format", "yolox", "--classes", "cat,dog", "-o", path),
        *("--input-colour", "rgb", "--fit", "stretch", "--pad", "0"),
        *("--scale", "0.5", "--mean", "1", "--std", "2,3,4"),
    )
    assert outcome.code == 0, outcome.err
    assert "2 classes" in outcome.out
    from edgecv import load

    with load(path) as model:
        wanted = model.spec.input
    assert (wanted.colour, wanted.fit, wanted.pad, wanted.scale) == ("rgb", "stretch", 0, 0.5)
    assert (wanted.mean, wanted.std) == ((1.0, 1.0, 1.0), (2.0, 3.0, 4.0))


def test_bench_reports_every_part(edgecv: Any, adopted: Path, video: Path, tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    outcome = edgecv(
        *("bench", adopted, "--source", video, "--repeat", "20", "--warm-up", "2"),
        *("--threads", 2, "--device", "cpu", "--json", figures),
    )
    assert outcome.code == 0, outcome.err
    assert "The whole stream, on onnxruntime cpu throughput, 2 requests:" in outcome.out
    plain = json.loads(figures.read_text())
    assert plain["machine"]["backend"] == "onnxruntime cpu"
    assert {"cpu", "backend", "threads", "versions"} <= plain["machine"].keys()
    assert plain["frame"] == f"128x128 yuv420p of {video}"
    assert plain["inference"]["count"] == 20
    assert plain["stages"].keys() == {"fit", "infer", "postprocess"}
    for statistics in (plain["inference"], *plain["stages"].values()):
        ordered = [statistics[key] for key in ("median_ms", "p90_ms", "p95_ms", "p99_ms")]
        assert ordered == sorted(ordered)
    assert plain["stream"]["frames"] == 12


def test_bench_runs_a_stream_as_it_is_told_to(edgecv: Any, adopted: Path, video: Path) -> None:
    words = "--repeat", 2, "--threads", 2, "--device", "cpu", "--hint", "latency"
    outcome = edgecv("bench", adopted, "--source", video, *words)
    assert outcome.code == 0, outcome.err
    assert "The whole stream, on onnxruntime cpu:" in outcome.out


def test_bench_needs_no_source(edgecv: Any, adopted: Path) -> None:
    outcome = edgecv("bench", adopted, "--repeat", "3", "--warm-up", "0")
    assert outcome.code == 0
    assert "1280x720 yuv420p of noise" in outcome.out


def test_doctor_names_what_is_missing(edgecv: Any, tmp_path: Path) -> None:
    figures = tmp_path / "doctor.json"
    outcome = edgecv("doctor", "--json", figures)
    assert outcome.code == 0
    for word in (
        "native kernels",
        "CUDA kernels",
        "onnxruntime on the CPU",
        "H.264 video",
        "train",
    ):
        assert word in outcome.out
    plain = json.loads(figures.read_text())
    for group in ("Commands", "Backends and devices"):
        for finding in plain[group]:
            assert finding["is_present"] or finding["remedy"], finding


def test_eval_measures_through_the_pipeline(
    edgecv: Any, exported: Path, scenes: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "eval.json"
    outcome = edgecv("eval", exported / "fused.onnx", "--data", f"coco:{scenes}", "--json", figures)
    assert outcome.code == 0, outcome.err
    plain = json.loads(figures.read_text())
    assert plain["split"] == "test"
    assert plain["num_images"] == 6
    assert 0 <= plain["AP"] <= plain["AP50"] <= 1
    assert plain["per_class"].keys() == {"disc", "square", "triangle"}
    assert 0 <= plain["VOC2010_AP50"] <= 1
    assert "VOC2007_AP50" in outcome.out
    assert "best F1" in outcome.out


def test_eval_looks_at_tiles(
    edgecv: Any, refused: Any, exported: Path, scenes: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "eval.json"
    command = ("eval", exported / "fused.onnx", "--data", f"coco:{scenes}")
    outcome = edgecv(*command, "--tile", 32, "--overlap", 0.1, "--json", figures)
    assert outcome.code == 0, outcome.err
    assert "6 images in tiles of 32 pixels" in " ".join(outcome.out.split())
    assert json.loads(figures.read_text())["tile"] == 32
    assert "`overlap` is that of tiles, got 0.1 without any" in refused(*command, "--overlap", 0.1)


def test_eval_writes_a_report(edgecv: Any, exported: Path, scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder, figures = tmp_path / "deep" / "report", tmp_path / "eval.json"
    outcome = edgecv(
        *("eval", exported / "fused.onnx", "--data", f"coco:{scenes}", "--report", folder),
        *("--json", figures),
    )
    assert outcome.code == 0, outcome.err
    assert "Report:" in outcome.out
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("report.html", "metrics.json", "precision_recall.png", "confusion_matrix.png"),
    }
    page = (folder / "report.html").read_text()
    assert "Split test, 6 images." in page
    plain, printed = (
        json.loads((folder / "metrics.json").read_text()),
        json.loads(figures.read_text()),
    )
    assert plain["AP"] == printed["AP"]
    assert plain["per_class"] == printed["per_class"]
    assert len(plain["precision_curves"]["disc"]) == 101
    assert plain["confusion"]["score_threshold"] == 0.25  # the model's own


def test_eval_refuses_a_report_before_the_work(
    refused: Any, adopted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("eval", adopted, "--data", f"coco:{tmp_path}", "--report")
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in refused(*command, tmp_path / "file", code=1)
    monkeypatch.setattr(
        "edgecv.cli.console.find_spec", lambda name: None if name == "matplotlib" else name
    )
    assert "pip install 'edgecv[eval]'" in refused(*command, tmp_path / "report")


def test_eval_refuses_other_classes(refused: Any, adopted: Path, scenes: Path) -> None:
    line = refused("eval", adopted, "--data", f"coco:{scenes}")
    assert "'cat'" in line
    assert "'disc'" in line


def test_eval_refuses_an_empty_data_set(refused: Any, adopted: Path, tmp_path: Path) -> None:
    (tmp_path / "instances_test.json").write_text(
        json.dumps({"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]})
    )
    (tmp_path / "test").mkdir()
    line = refused("eval", adopted, "--data", f"coco:{tmp_path}")
    assert "no image" in line or "empty" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "ssd_mobilenetv2"], "--data"),
        (["train", "nonsense", "--data", "bccd"], "ssd_mobilenetv2"),
        (["train", "ssd_mobilenetv2", "--data", "nonsense"], "bccd"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--size", "wide"], "--size"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--mean", "1,2"], "--mean"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--augment", "wild"], "default, none"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--option", "anchors"], "NAME=VALUE"),
        (
            ["train", "ssd_mobilenetv2", "--data", "bccd", "--option", "a=1", "--option", "a=2"],
            "`--option` gives `a` twice",
        ),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--option", "a=1"], "has no option"),
        (["train", "--resume", "nowhere"], "no such checkpoint"),
        (["train", "--resume", "nowhere", "--epochs", "3", "--recipe", "x"], "epochs, recipe"),
        (["train", "--recipe", "cake"], "ssd_mobilenetv2_bccd"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--unfreeze", "5;6"], "--unfreeze"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--seed", "-1"], "`seed` must be at"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--time-budget", "45"], "45m, 1h30m"),
        (["train", "ssd_mobilenetv2", "--data", "bccd", "--time-budget", ""], "--time-budget"),
    ],
)
def test_train_refuses_what_it_cannot_do(
    refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert said in refused(*words)
    assert not list(tmp_path.rglob("*.pt"))


def test_train_writes_a_run(edgecv: Any, scenes: Path, tmp_path: Path) -> None:
    folder, figures = tmp_path / "run", tmp_path / "train.json"
    outcome = edgecv(
        *("train", "ssd_mobilenetv2", "--data", f"coco:{scenes}", "--epochs", "1"),
        *("--size", "64x96", "--weights", "none", "-o", folder, "--json", figures),
        *("--option", "anchors=all-pairs", "--option", "box_loss=giou"),
    )
    assert outcome.code == 0, outcome.err
    assert "epoch   1/1" in outcome.out
    assert "of them waiting for data" in outcome.out
    assert f"settings: {folder / 'config.toml'}" in outcome.out
    from edgecv.train.checkpoint import load_trained

    trained = load_trained(folder / "best.pt")
    assert trained.config.options == {"anchors": "all-pairs", "box_loss": "giou"}
    assert [len(layer.shapes_wh) for layer in trained.network.layers] == [6, 10, 10, 6, 6]
    plain = json.loads(figures.read_text())
    assert len(plain["history"]) == 1
    assert plain["history"][0]["per_class"].keys() == {"disc", "square", "triangle"}
    assert "Report:" in outcome.out
    assert (folder / "report.html").is_file()


def test_train_starts_from_a_recipe_and_from_a_checkpoint(
    edgecv: Any, trained_run: Path, scenes: Path, tmp_path: Path
) -> None:
    from edgecv.train.recipe import configure, read_recipe

    recipe, folder = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(f'model = "ssd_mobilenetv2"\ndata = "coco:{scenes}"\nsize_hw = [64, 64]\n')
    outcome = edgecv(
        *("train", "--recipe", recipe, "--epochs", "2", "--size", "64x96", "--unfreeze", "0,1"),
        *("--weights", trained_run / "best.pt", "--patience", "1", "--time-budget", "1s"),
        *("--precision", "float32", "--no-compile", "-o", folder),
    )
    assert outcome.code == 0, outcome.err
    assert f"tensors of `{trained_run / 'best.pt'}`" in outcome.out
    config = configure(read_recipe(str(folder / "config.toml")), {})
    assert (config.epochs, config.size_hw, config.unfreeze) == (2, (64, 96), (0, 1))
    assert (config.patience, config.time_budget_s, config.compile) == (1, 1.0, False)


def test_demo_never_clears_a_folder_of_somebody_else(refused: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "something else than a demo" in refused("demo", "-o", tmp_path)
    assert (tmp_path / "thesis.txt").exists()
