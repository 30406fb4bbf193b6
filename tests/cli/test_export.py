"""`edgecv export` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxslim")


def test_a_checkpoint_is_compared_with_pytorch(
    edgecv: Any, trained_run: Path, scenes: Path, tmp_path: Path
) -> None:
    path, figures = tmp_path / "model.onnx", tmp_path / "export.json"
    outcome = edgecv(
        *("export", trained_run / "best.pt", "-o", path, "--head", "raw", "--opset", "19"),
        *("--images", scenes / "test", "--num-images", "2", "--json", figures),
    )
    assert outcome.code == 0, outcome.err
    assert path.is_file()
    assert f"Wrote {path}" in outcome.out
    plain = json.loads(figures.read_text())
    assert plain["written"] == [str(path)]
    assert plain["parity"]["num_images"] == 2
    outputs = plain["parity"]["outputs"]
    assert {entry["name"] for entry in outputs} == {"offsets", "logits"}
    assert all(entry["relative"] < 1e-4 for entry in outputs)


def test_precisions_go_into_a_bundle_beside_the_checkpoint(
    edgecv: Any, trained_run: Path, scenes: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes((trained_run / "best.pt").read_bytes())
    outcome = edgecv(
        *("export", checkpoint, "--precision", "fp16,int8-cpu", "--max-drop", "0.9"),
        *("--calibration-images", "4", "--num-images", "1", "--threads", "1"),
    )
    assert outcome.code == 0, outcome.err
    assert "passed" in outcome.out
    assert "ranges by min-max on 4 images" in outcome.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.edgecv", "best.pt"]
    listed = edgecv("bundle", "list", tmp_path / "best.edgecv").out
    assert all(name in listed for name in ("fp32", "fp16", "int8-cpu", "calibration"))
    image = next((scenes / "test").glob("*.png"))
    told = edgecv("run", f"{tmp_path / 'best.edgecv'}#fp16", "--source", image)
    assert told.code == 0, told.err
    assert "fp16 of best.edgecv" in told.out


def test_a_classifier_takes_the_same_road(
    edgecv: Any, exported_classifier: Path, shapes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "lenet.onnx"
    outcome = edgecv(
        *("export", exported_classifier / "fused.onnx", "-o", path, "--precision", "int8-cpu"),
        *("--data", f"folder:{shapes}", "--calibration", f"folder:{shapes}", "--max-drop", "0.1"),
    )
    assert outcome.code == 0, outcome.err
    assert "top1" in outcome.out
    assert path.is_file()


def test_a_segmentation_model_takes_the_same_road(
    edgecv: Any, segmenter: Any, paints: Path, tmp_path: Path
) -> None:
    path = tmp_path / "paints.onnx"
    outcome = edgecv(
        *("export", segmenter("logits"), "-o", path, "--precision", "fp16"),
        *("--data", f"labels:{paints}", "--max-drop", "0.01"),
    )
    assert outcome.code == 0, outcome.err
    assert "mIoU" in outcome.out
    assert path.is_file()


def test_what_does_not_pass_ends_with_1_and_names_layers(
    refused: Any, exported: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.export.precisions import measuring as precisions
    from edgecv.export.precisions.noise import LayerCost
    from edgecv.metrics.accuracy import Accuracy

    def accuracy(model: Any, *_args: object, **_options: object) -> Accuracy:
        is_original = model.spec.provenance.precision == "fp32"
        return Accuracy("AP", {"AP": 0.5 if is_original else 0.1}, "scenes", "val")

    def costs(_graph: Any, _only: Any, layers: Any, _feeds: Any, **_options: Any) -> Any:
        return tuple(LayerCost(name, 0.5) for name in layers)

    monkeypatch.setattr(precisions, "accuracy_of", accuracy)
    monkeypatch.setattr(precisions, "rank_layers", costs)
    line = refused(
        *("export", exported / "raw.onnx", "-o", tmp_path / "x.onnx", "--precision", "fp16"),
        *("--data", f"coco:{scenes}", "--max-drop", "0.1", "--num-images", "1"),
        code=1,
    )
    assert "fp16 drops by 0.4000 even with 32 of its layers in float32" in line
    assert "(3.0 dB)" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--opset", "18"], "must be 19 or 20"),
        (["--max-detections", "0"], "must be 1 or more"),
        (["--precision", "fp8"], "`--precision` must be some of fp32, fp16"),
        (["-o", "model.pb"], "an export ends in `.onnx` or `.edgecv`"),
    ],
)
def test_what_cannot_be_done_is_refused(
    refused: Any,
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused("export", trained_run / "best.pt", "-o", "model.onnx", *options)
    assert not list(tmp_path.iterdir())
