"""From proposals to detections on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.mark.slow
def test_proposals_go_all_the_way(
    edgecv: Any, refused: Callable[..., str], scenes: Path, tmp_path: Path
) -> None:
    """Proposed, trained, exported, measured, run; and refused where they are missing."""
    data, file, model = f"coco:{scenes}", tmp_path / "p.npz", tmp_path / "model.onnx"
    options = "--size", "96x128", "--batch", 8, "--epochs", 1, "--weights", "none", "-q"
    training = "train", "fast_rcnn", "--backbone", "mobilenet_v3_small", "--data", data, *options
    assert "looks at regions that are proposed outside" in refused(*training)
    method = "--method", "sliding-windows", "--max", 60
    figures = tmp_path / "p.json"
    done = edgecv("data", "propose", data, "-o", file, *method, "--json", figures)
    assert done.code == 0, done.err
    assert "Train with `--proposals" in done.out
    assert set(json.loads(figures.read_text())["splits"]) == {"train", "val", "test"}
    run = tmp_path / "run"
    done = edgecv(*training, "--proposals", file, "-o", run)
    assert done.code == 0, done.err
    done = edgecv("export", run / "best.pt", "-o", model, "--num-images", 1)
    assert done.code == 0, done.err
    found = tmp_path / "eval.json"
    done = edgecv("eval", model, "--data", data, "--proposals", file, "--json", found, "-q")
    assert done.code == 0, done.err
    assert json.loads(found.read_text())["AP"] >= 0
    lines = tmp_path / "found.jsonl"
    source = "--source", scenes / "val", "--score", 0.001, "--jsonl", lines
    done = edgecv("run", model, *source, "--proposals", file, "-q")
    assert done.code == 0, done.err
    given = lines.read_text()
    assert len(given.splitlines()) == 6
    done = edgecv("run", model, *source, "-q")  # the model's own method: other windows, more
    assert done.code == 0, done.err
    assert lines.read_text() != given


def test_only_files_of_proposals_are_written(refused: Callable[..., str], tmp_path: Path) -> None:
    message = refused("data", "propose", "bccd", "-o", tmp_path / "p.txt")
    assert "`--output` must end in .npz or .json" in message


def test_a_model_that_finds_regions_itself_takes_none(
    refused: Callable[..., str], exported: Path, scenes: Path, tmp_path: Path
) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"images": {}}')
    command = "run", exported / "fused.onnx", "--source", scenes / "val", "--proposals", file
    assert "finds regions itself. Leave out `--proposals`" in refused(*command)
