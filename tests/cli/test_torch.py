"""A checkpoint in the commands that run models: the same door as an ONNX file's."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def checkpoint(trained_run: Path) -> Path:
    return trained_run / "best.pt"


def test_a_checkpoint_runs_over_a_video(
    edgecv: Any, checkpoint: Path, exported: Path, video: Path, tmp_path: Path
) -> None:
    rows = {}
    for model, backend in ((checkpoint, "torch"), (exported / "fused.onnx", "onnxruntime")):
        jsonl, figures = tmp_path / f"{backend}.jsonl", tmp_path / f"{backend}.json"
        outcome = edgecv(
            *("run", model, "--source", video, "--backend", backend, "--device", "cpu"),
            *("--threads", 1),
            *("--score", "0.01", "--jsonl", jsonl, "--json", figures),
        )
        assert outcome.code == 0, outcome.err
        assert json.loads(figures.read_text())["backend"] == f"{backend} cpu"
        rows[backend] = [json.loads(line) for line in jsonl.read_text().splitlines()]
        assert ("fetch" in outcome.out) == (backend == "torch")
    assert len(rows["torch"]) == 12
    for found, expected in zip(rows["torch"], rows["onnxruntime"], strict=True):
        scores = [[entry["score"] for entry in row["detections"]] for row in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=2e-4)
        assert len(scores[0]) > 0


def test_bench_tells_what_ran_it(
    edgecv: Any, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "bench.json"
    outcome = edgecv(
        *("bench", checkpoint, "--source", video, "--repeat", "3", "--warm-up", "1"),
        *("--precision", "fp32", "--json", figures),
    )
    assert outcome.code == 0, outcome.err
    plain = json.loads(figures.read_text())
    assert plain["machine"]["backend"].startswith("torch")
    assert "torch" in plain["machine"]["versions"]
    assert plain["stream"]["stages"].keys() >= {"fit", "infer", "fetch", "postprocess"}


def test_eval_measures_a_checkpoint(edgecv: Any, checkpoint: Path, scenes: Path) -> None:
    outcome = edgecv("eval", checkpoint, "--data", f"coco:{scenes}", "--backend", "torch")
    assert outcome.code == 0, outcome.err
    assert "AP50" in outcome.out


def test_what_does_not_suit_the_file_is_one_line(
    refused: Any, checkpoint: Path, exported: Path, video: Path
) -> None:
    graph = exported / "fused.onnx"
    for words, message in (
        ((checkpoint, "--backend", "onnxruntime"), "edgecv export"),
        ((graph, "--backend", "torch"), "is no checkpoint"),
        ((graph, "--precision", "fp16"), "Leave out `--precision`"),
    ):
        assert message in refused("run", *words, "--source", video)


def test_a_gpu_that_is_not_there_is_one_line(refused: Any, checkpoint: Path, video: Path) -> None:
    from edgecv.runtime.torch import why_no_gpu

    if why_no_gpu() is None:
        pytest.skip("there is one")
    message = refused("run", checkpoint, "--source", video, "--device", "cuda")
    assert "`device` is 'cuda', but" in message
