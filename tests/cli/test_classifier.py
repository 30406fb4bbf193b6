"""A classifier from the command line: train, export, eval, run, bench, adopt."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")


def test_train_resume_and_export(edgecv: Any, shapes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = edgecv(
        *("train", "lenet", "--data", shapes / "train", "--epochs", 2, "--batch", 24),
        *("--output", run, "--json", tmp_path / "train.json"),
    )
    assert outcome.code == 0, outcome
    assert "57 of 72 images are the split train" in outcome.out
    assert "val top1 " in outcome.out
    history = json.loads((tmp_path / "train.json").read_text())["history"]
    assert {"top1", "top5", "mean_top1", "per_class"} <= history[0].keys()
    outcome = edgecv(
        *("export", run / "best.pt", "-o", tmp_path / "m.onnx", "--num-images", 3),
        *("--json", tmp_path / "export.json"),
    )
    assert outcome.code == 0, outcome
    assert "Images: 3 in PyTorch, 3 exported, 3 matched; scores within" in outcome.out
    assert json.loads((tmp_path / "export.json").read_text())["parity"]["unit"] == "images"


def test_eval_prints_and_writes_what_it_measured(
    edgecv: Any, exported_classifier: Path, shapes: Path, tmp_path: Path
) -> None:
    outcome = edgecv(
        *("eval", exported_classifier / "fused.onnx", "--data", f"folder:{shapes}"),
        *("--report", tmp_path / "report", "--json", tmp_path / "eval.json"),
    )
    assert outcome.code == 0, outcome
    for word in ("top1", "mean_top1", "Per class", "stripes", "Confusion matrix", "30 images"):
        assert word in outcome.out
    figures = json.loads((tmp_path / "eval.json").read_text())
    assert figures["top1"] > 0.9
    assert figures["confusion"]["labels"] == ["disc", "square", "stripes"]
    files = {path.name for path in (tmp_path / "report").iterdir()}
    assert files == {"report.html", "confusion_matrix.png", "metrics.json"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "folder:DIR", "--score", "0.5"), "a classifier has no thresholds"),
        (("--data", "bccd"), "That holds objects with boxes"),
    ],
)
def test_eval_refuses_what_belongs_to_detectors(
    refused: Any, exported_classifier: Path, shapes: Path, words: tuple[str, ...], message: str
) -> None:
    given = [word.replace("DIR", str(shapes)) for word in words]
    assert message in refused("eval", exported_classifier / "raw.onnx", *given)


def test_a_detector_is_not_measured_on_images_by_class(
    refused: Any, adopted: Path, shapes: Path
) -> None:
    line = refused("eval", adopted, "--data", f"folder:{shapes}")
    assert "Images by class have no boxes" in line


def test_run_tells_draws_and_writes_the_best_classes(
    edgecv: Any, exported_classifier: Path, shapes: Path, tmp_path: Path
) -> None:
    picture = shapes / "train" / "disc" / "00.png"
    outcome = edgecv(
        *("run", exported_classifier / "fused.onnx", "--source", picture),
        *("--save", tmp_path / "out.png", "--jsonl", tmp_path / "out.jsonl"),
    )
    assert outcome.code == 0, outcome
    assert f"{picture}: disc 0." in outcome.out
    assert "Found: 1 disc" in outcome.out
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert record["classes"][0]["class"] == "disc"
    assert (tmp_path / "out.png").read_bytes() != picture.read_bytes()


def test_run_has_no_thresholds_for_a_classifier(
    refused: Any, exported_classifier: Path, shapes: Path
) -> None:
    model = exported_classifier / "fused.onnx"
    line = refused("run", model, "--source", shapes / "test" / "disc", "--score", "0.5")
    assert "a model of task classify has no thresholds" in line


def test_bench_needs_no_source(edgecv: Any, exported_classifier: Path) -> None:
    outcome = edgecv("bench", exported_classifier / "fused.onnx", "--repeat", 3, "--warm-up", 1)
    assert outcome.code == 0, outcome
    assert "network alone" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet19", "--data", "DIR"), "Did you mean `resnet18`?"),
        (("lenet", "--data", "DIR/train/disc/00.png"), "must be a folder, got a file"),
        (("lenet", "--data", "DIR/train/disc"), "at least two classes, got no folder"),
        (("lenet", "--data", "DIR", "--augment", "strong"), "Train a classifier with `--augment"),
        (("lenet", "--data", "DIR", "--weights", "imagenet"), "no ImageNet weights of lenet"),
        (("lenet", "--data", "DIR", "--backbone", "vgg16"), "has a backbone of its own"),
    ],
)
def test_train_refuses_what_it_cannot_do(
    refused: Any, shapes: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    given = [word.replace("DIR", str(shapes)) for word in words]
    assert message in refused("train", *given, "--output", tmp_path / "run")
