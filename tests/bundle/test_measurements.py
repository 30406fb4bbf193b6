"""What `edgecv eval --json` and `edgecv bench --json` write, as a bundle keeps it."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv.bundle.manifest import Latency, Measured
from edgecv.bundle.measurements import read_measurements
from edgecv.errors import InputError
from edgecv.metrics.accuracy import Accuracy

EVAL: dict[str, Any] = {
    "model": "m.onnx",
    "backend": "onnxruntime cpu",
    "data": "bccd",
    "split": "val",
    "score_threshold": 0.001,
    "iou_threshold": 0.45,
    "max_detections": 100,
    "num_images": 87,
    "AP75": None,
    "AP50": 0.75,
    "AP": 0.5,
    "per_class": {"RBC": {"AP": 0.1}},
    "skipped": [],
}
BENCH: dict[str, Any] = {
    "model": "m.onnx",
    "machine": {"cpu": "CPU", "backend": "onnxruntime cpu, fp32 of b.edgecv", "threads": 2},
    "inference": {"count": 100, "median_ms": 3.5},
}


def read(path: Path, plain: Any) -> Measured:
    file = path / "figures.json"
    file.write_text(plain if isinstance(plain, str) else json.dumps(plain))
    return read_measurements(file)


def test_figures_of_an_evaluation(tmp_path: Path) -> None:
    expected = Accuracy("AP", {"AP": 0.5, "AP50": 0.75}, "bccd", "val")
    assert read(tmp_path, EVAL) == Measured(accuracy=expected)


@pytest.mark.parametrize("metric", ["mask_AP", "keypoint_AP", "top1", "mIoU"])
def test_the_figure_that_counts_is_that_of_the_task(tmp_path: Path, metric: str) -> None:
    plain = {**EVAL, metric: 0.25}
    if metric in ("top1", "mIoU"):
        del plain["AP"]
    accuracy = read(tmp_path, plain).accuracy
    assert accuracy is not None
    assert (accuracy.metric, accuracy.value) == (metric, 0.25)


@pytest.mark.parametrize(("said", "threads"), [(2, 2), ("one per core", 0)])
def test_figures_of_a_benchmark(tmp_path: Path, said: object, threads: int) -> None:
    plain = BENCH | {"machine": BENCH["machine"] | {"threads": said}}
    expected = Latency("CPU", "onnxruntime cpu", threads, 3.5)
    assert read(tmp_path, plain) == Measured(latencies=(expected,))


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        ("{", "is not JSON"),
        ([], "holds no measurements. Give what `edgecv eval"),
        ({"AP": 0.5}, "holds no measurements"),
        ({"data": "bccd", "split": "val"}, "has no figure of mask_AP"),
        (EVAL | {"data": 3}, "`data` must be text, got 3"),
        (BENCH | {"machine": []}, "must be objects"),
        (BENCH | {"machine": {"cpu": "CPU"}}, "`machine.backend` must be text"),
        (
            BENCH | {"machine": BENCH["machine"] | {"backend": "onnxruntime cuda"}},
            "does not say on which GPU",
        ),
        (BENCH | {"inference": {}}, "`inference.median_ms` must be a float, got None"),
        (BENCH | {"inference": {"median_ms": 0}}, "must be positive"),
    ],
)
def test_what_is_refused(tmp_path: Path, plain: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read(tmp_path, plain)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_measurements(tmp_path / "none.json")
