"""The report of a training: what it is made of, and that it never costs the training."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.train.checkpoint import Progress, load_trained
from edgecv.train.detection import DetectionTask
from edgecv.train.report import keep_detections, kept_detections, report_training


def found(number: int) -> Detections:
    rng = np.random.default_rng(number)
    return Detections(
        rng.random((number, 4), np.float32),
        -np.sort(-rng.random(number, np.float32)),
        rng.integers(0, 3, number).astype(np.int32),
    )


@pytest.mark.parametrize("numbers", [(3, 0, 2), (0, 0), (1,), (0,)])
def test_detections_come_back_as_they_were(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    kept = [found(number) for number in numbers]
    keep_detections(tmp_path, kept)
    back = kept_detections(tmp_path)
    assert len(back) == len(kept)
    for ours, theirs in zip(back, kept, strict=True):
        for name in ("boxes_xyxy", "scores", "class_ids"):
            left, right = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["best_detections.npz"]


def test_what_is_no_file_of_detections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"best_detections.npz` cannot be read: .*No such file"):
        kept_detections(tmp_path)
    (tmp_path / "best_detections.npz").write_bytes(b"PK\3\4 not much")
    with pytest.raises(InputError, match="cannot be read"):
        kept_detections(tmp_path)


def test_a_run_ends_with_its_report(trained_run: Path) -> None:
    for name in ("report.html", "training.png", "precision_recall.png", "confusion_matrix.png"):
        assert (trained_run / name).stat().st_size > 1000, name
    history = json.loads((trained_run / "history.json").read_text())
    best = max(history, key=lambda record: record["AP"])
    metrics = json.loads((trained_run / "metrics.json").read_text())
    assert {key: metrics[key] for key in ("AP", "AP50", "per_class")} == {
        key: best[key] for key in ("AP", "AP50", "per_class")
    }
    page = (trained_run / "report.html").read_text()
    assert f"Epoch {best['epoch']}, the best of {len(history)}, 6 images of the split val." in page


def reported(run: Path, folder: Path) -> str:
    """Report the run into another folder, which may lack the detections."""
    history = json.loads((run / "history.json").read_text())
    trained = load_trained(run / "best.pt")
    progress = Progress(history=history, best_epoch=1)
    return report_training(DetectionTask(trained.config), folder, trained.spec, progress)


def test_no_failure_of_the_report_gets_out(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = reported(trained_run, tmp_path)
    assert line.startswith("No report: ")
    assert "best_detections.npz" in line
    keep_detections(tmp_path, kept_detections(trained_run))
    assert reported(trained_run, tmp_path) == f"Report: {tmp_path / 'report.html'}"
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = reported(trained_run, tmp_path)
    assert line.startswith("No report: a report needs the package matplotlib")
    assert "\n" not in line


def test_a_training_without_matplotlib_is_whole(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_observer: Any
) -> None:
    from edgecv.train.config import TrainConfig
    from edgecv.train.trainer import resume, train

    config = TrainConfig(
        "ssd_mobilenetv2", f"coco:{scenes}", epochs=1, size_hw=(64, 96), weights="none"
    )
    folder = tmp_path / "run"
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "matplotlib.figure", None)
        result = train(config, folder, silent_observer)
    assert "pip install 'edgecv[eval]'" in result.report
    assert len(result.history) == 1
    assert load_trained(folder / "best.pt").spec.provenance.metrics
    assert not (folder / "report.html").exists()
    # Resuming a finished run trains nothing and makes up for the report.
    assert resume(folder, silent_observer).report == f"Report: {folder / 'report.html'}"


def test_without_an_epoch_there_is_nothing_to_report(trained_run: Path, tmp_path: Path) -> None:
    trained = load_trained(trained_run / "best.pt")
    line = report_training(DetectionTask(trained.config), tmp_path, trained.spec, Progress())
    assert line == "No report: no epoch has been validated yet."
    assert not list(tmp_path.iterdir())
