"""`--backend` in the commands that run models: one, several in one table, one for each side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from edgecv.runtime import racing


@pytest.fixture
def openvino() -> Any:
    return pytest.importorskip("openvino")


@pytest.mark.usefixtures("openvino")
def test_a_stream_of_openvino_finds_what_onnxruntimes_does(
    edgecv: Any, exported: Path, video: Path, tmp_path: Path
) -> None:
    rows, model = {}, exported / "fused.onnx"
    for backend, hint in (("onnxruntime", ()), ("openvino", ("--hint", "throughput"))):
        jsonl, figures = tmp_path / f"{backend}.jsonl", tmp_path / f"{backend}.json"
        outcome = edgecv(
            *("run", model, "--source", video, "--backend", backend, *hint, "--threads", 1),
            *("--device", "cpu", "--score", "0.01", "--jsonl", jsonl, "--json", figures),
        )
        assert outcome.code == 0, outcome.err
        plain = json.loads(figures.read_text())
        assert plain["backend"].startswith(f"{backend} cpu{' throughput' if hint else ''}")
        assert ("fetch" in plain["stages"]) == bool(hint)
        rows[backend] = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert len(rows["openvino"]) == 12
    for found, expected in zip(rows["openvino"], rows["onnxruntime"], strict=True):
        scores = [[entry["score"] for entry in row["detections"]] for row in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=2e-4)
        assert len(scores[0]) > 0


@pytest.mark.usefixtures("openvino")
def test_all_backends_in_one_table(
    edgecv: Any, exported: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.runtime.openvino import has_fast_bf16

    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    figures = tmp_path / "bench.json"
    outcome = edgecv(
        *("bench", exported / "raw.onnx", "--backend", "all", "--device", "cpu", "--threads", 1),
        *("--repeat", 3, "--data", f"coco:{scenes}", "--split", "val", "--json", figures),
    )
    assert outcome.code == 0, outcome.err
    plain = json.loads(figures.read_text())
    names = ["onnxruntime cpu", "openvino cpu", *["openvino cpu bf16"] * has_fast_bf16()]
    assert [row["backend"] for row in plain["backends"]] == names
    first, second = plain["backends"][:2]
    assert first["difference"] is None
    assert 0 <= second["difference"] < 1e-4
    assert second["accuracy"]["AP"] == pytest.approx(first["accuracy"]["AP"], abs=1e-3)
    assert all(row["latency"]["count"] == 3 and row["per_second"] > 0 for row in plain["backends"])
    assert {"onnxruntime", "openvino"} <= plain["machine"]["versions"].keys()
    assert plain["failures"] == {}
    assert "AP" in outcome.out
    assert "`--backend auto` goes by these figures" in outcome.out
    monkeypatch.delenv("EDGECV_BACKEND")
    monkeypatch.setattr(racing, "_timed", None)  # it would fail: the figures above are enough
    outcome = edgecv("eval", exported / "raw.onnx", "--data", f"coco:{scenes}", "--threads", 1)
    assert outcome.code == 0, outcome.err
    assert "raced here on" in outcome.out


def test_a_backend_that_cannot_run_it_is_named_beside_the_others(
    edgecv: Any, refused: Callable[..., str], make_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    path, figures = make_onnx(), tmp_path / "bench.json"
    outcome = edgecv(
        *("bench", path, "--backend", "onnxruntime-tensorrt,onnxruntime", "--repeat", 2),
        *("--json", figures),
    )
    assert outcome.code == 0, outcome.err
    assert "onnxruntime-tensorrt: this onnxruntime" in outcome.out
    plain = json.loads(figures.read_text())
    assert list(plain["failures"]) == ["onnxruntime-tensorrt"]
    assert [row["contender"] for row in plain["backends"]] == ["onnxruntime"]
    assert "goes by these figures" not in outcome.out
    lost = "onnxruntime-tensorrt,onnxruntime-tensorrt:fp16"
    assert "has no TensorrtExecutionProvider" in refused("bench", path, "--backend", lost)


@pytest.mark.usefixtures("openvino")
def test_verify_compares_one_file_on_two_backends(
    edgecv: Any, exported: Path, scenes: Path, tmp_path: Path
) -> None:
    model, figures = exported / "raw.onnx", tmp_path / "verify.json"
    words = "verify", model, model, "--images", scenes / "val", "--repeat", 2, "--json", figures
    outcome = edgecv(*words, "--backend", "onnxruntime,openvino", "--device", "cpu")
    assert outcome.code == 0, outcome.out
    assert "They agree within the limits" in outcome.out
    plain = json.loads(figures.read_text())
    sides = [plain[side]["backend"] for side in ("reference", "candidate")]
    assert sides == ["onnxruntime cpu", "openvino cpu"]


def test_bench_of_one_backend(edgecv: Any, make_onnx: Callable[..., Path], tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    words = "bench", make_onnx(), "--repeat", 2, "--warm-up", 1, "--json", figures
    assert edgecv(*words, "--backend", "onnxruntime").code == 0
    assert json.loads(figures.read_text())["machine"]["backend"] == "onnxruntime cpu"


@pytest.mark.usefixtures("openvino")
def test_bench_of_openvino(edgecv: Any, make_onnx: Callable[..., Path], tmp_path: Path) -> None:
    figures, cache = tmp_path / "bench.json", tmp_path / "cache"
    words = "bench", make_onnx(), "--repeat", 2, "--warm-up", 1, "--json", figures, "-q"
    assert edgecv(*words, "--backend", "openvino:fp32", "--cache", cache).code == 0
    machine = json.loads(figures.read_text())["machine"]
    assert machine["backend"] == "openvino cpu"
    assert "openvino" in machine["versions"]
    assert any(cache.iterdir())


def test_files_are_run_side_by_side_and_cameras_are_not(
    edgecv: Any, make_onnx: Callable[..., Path], video: Path, tmp_path: Path
) -> None:
    """Each frame has the same result, once and in order; `--hint` is stronger."""
    path, rows = make_onnx(), {}
    for name, words, side_by_side in (
        ("file", (), True),
        ("paced", ("--realtime",), False),
        ("latency", ("--hint", "latency"), False),
        ("bars", ("--source", "test://bars?size=64x64&frames=3"), False),
    ):
        jsonl, figures = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.json"
        outcome = edgecv(
            *("run", path, "--source", video, *words, "--threads", 2, "--device", "cpu"),
            *("--jsonl", jsonl, "--json", figures),
        )
        assert outcome.code == 0, outcome.err
        plain = json.loads(figures.read_text())
        assert plain["backend"].endswith("throughput, 2 requests") == side_by_side
        assert ("fetch" in plain["stages"]) == side_by_side
        rows[name] = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [row["frame"] for row in rows["file"]] == list(range(12))
    assert rows["file"] == rows["latency"]


def test_words_that_do_not_go_together(
    refused: Callable[..., str], make_onnx: Callable[..., Path], video: Path
) -> None:
    path = make_onnx()
    both = "--backend", "onnxruntime,openvino"
    for words, message in (
        (("bench", path, "--data", "bccd"), "Add `--backend all`"),
        (("bench", path, "--split", "val"), "Add `--backend all`"),
        (("bench", path, *both, "--source", video), "`--source` is for one backend"),
        (("bench", path, *both, "--hint", "latency"), "`--hint` is for one backend"),
        (("bench", path, *both, "--precision", "bf16"), "behind a backend: openvino:bf16"),
        (
            ("bench", path, "--backend", "openvino:bf16", "--precision", "fp32"),
            "`--precision` is fp32, but `--backend` asks for bf16",
        ),
        (("bench", path, "--backend", "onnx"), "must be one of auto, onnxruntime"),
        (("verify", path, path, "--backend", "auto,auto,auto"), "one or two backends"),
        (("run", path, "--source", video, "--cache", "c"), "`cache` is for openvino, onnx"),
        (("run", path, "--source", video, "--device", "gpu", "--backend", "onnxruntime"), "'gpu'"),
    ):
        assert message in refused(*words)


def test_without_openvino_its_extra_is_named(
    refused: Callable[..., str],
    make_onnx: Callable[..., Path],
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgecv.runtime import session

    monkeypatch.setattr(session, "find_spec", lambda name: None if name == "openvino" else name)
    words = "run", make_onnx(), "--source", video, "--backend", "openvino"
    assert "needs openvino. Install it with `pip install 'edgecv[openvino]'`" in refused(*words)
