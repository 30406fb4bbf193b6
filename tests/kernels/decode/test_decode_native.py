"""The native decoders on poisoned outputs, and what they refuse to keep memory safe."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels._native import (
    decode_nanodet_cpu,
    decode_ssd_cpu,
    decode_yolo_cpu,
    decode_yolo_dfl_cpu,
    decode_yolox_cpu,
)
from edgecv.kernels.points import anchor_points

Floats = NDArray[np.float32]
Options = dict[str, Any]

SIZE_HW = (96, 72)
POINTS = anchor_points(SIZE_HW, (8, 16, 32), 0.5)
COMMON: Options = {
    "score_threshold": 0.3,
    "iou_threshold": 0.5,
    "class_agnostic": False,
    "scale_xy": (1.0, 1.0),
    "offset_xy": (0.0, 0.0),
}
NUM_POINTS = len(POINTS)
RNG = np.random.default_rng(0)


def positive(rows: int, columns: int) -> Floats:
    return RNG.random((rows, columns)).astype(np.float32)


# Per kernel, a head of 3 classes and as many anchors as there are points.
LABELS: Options = {"channels_first": False, "multi_label": True}
KERNELS: dict[str, tuple[Callable[..., int], Options]] = {
    "ssd": (
        decode_ssd_cpu,
        {
            "offsets": positive(NUM_POINTS, 4),
            "logits": positive(NUM_POINTS, 4),
            "channels_first": False,
            "anchors_cxcywh": 30 * positive(NUM_POINTS, 4),
            "centre_variance": 0.1,
            "size_variance": 0.2,
            "sigmoid": False,
        },
    ),
    "yolo": (decode_yolo_cpu, {"head": 4 * positive(NUM_POINTS, 7), **LABELS}),
    "raw yolo": (
        decode_yolo_dfl_cpu,
        {"head": positive(NUM_POINTS, 4 * 8 + 3), "points": POINTS, "num_bins": 8, **LABELS},
    ),
    "yolox": (decode_yolox_cpu, {"head": positive(NUM_POINTS, 8), "points": POINTS, **LABELS}),
    "nanodet": (
        decode_nanodet_cpu,
        {"head": positive(NUM_POINTS, 3 + 4 * 8), "points": POINTS, "num_bins": 8, **LABELS},
    ),
}
kernels = pytest.mark.parametrize(("kernel", "head"), KERNELS.values(), ids=KERNELS)


def poisoned(rows: int) -> Options:
    return {
        "boxes": np.full((rows, 4), np.nan, np.float32),
        "scores": np.full(rows, np.nan, np.float32),
        "class_ids": np.full(rows, -7, np.int32),
    }


@kernels
@pytest.mark.parametrize("rows", [0, 1, 7, 4 * NUM_POINTS])
def test_writes_the_rows_that_it_counts(
    kernel: Callable[..., int], head: Options, rows: int
) -> None:
    out = poisoned(rows)
    count = kernel(**head, **COMMON, **out)
    assert count == rows or 7 < count < rows
    for part in ("boxes", "scores"):
        assert np.isfinite(out[part][:count]).all()
        assert np.isnan(out[part][count:]).all()
    assert (out["class_ids"][:count] >= 0).all()
    assert (out["class_ids"][count:] == -7).all()


@kernels
@pytest.mark.parametrize("name", ["scores", "class_ids"])
def test_refuses_buffers_of_unequal_length(
    kernel: Callable[..., int], head: Options, name: str
) -> None:
    out = poisoned(10)
    out[name] = out[name][:9]
    with pytest.raises(ValueError, match="must have equally many rows"):
        kernel(**head, **COMMON, **out)


@pytest.mark.parametrize("name", ["raw yolo", "yolox", "nanodet"])
def test_refuses_points_that_do_not_fit(name: str) -> None:
    kernel, head = KERNELS[name]
    with pytest.raises(ValueError, match="must have an anchor per point"):
        kernel(**head | {"points": POINTS[1:]}, **COMMON, **poisoned(9))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("yolo", {"head": positive(9, 4)}),
        ("yolox", {"head": positive(NUM_POINTS, 5)}),
        ("raw yolo", {"num_bins": 9}),
        ("raw yolo", {"num_bins": 2**31}),
        ("nanodet", {"num_bins": 9}),
        ("ssd", {"logits": positive(NUM_POINTS, 1)}),
        ("ssd", {"logits": positive(NUM_POINTS, 0), "sigmoid": True}),
    ],
)
def test_refuses_heads_without_classes(name: str, wrong: Options) -> None:
    kernel, head = KERNELS[name]
    with pytest.raises(ValueError, match="a channel per class"):
        kernel(**head | wrong, **COMMON, **poisoned(9))


@pytest.mark.parametrize("num_bins", [0, 2**62])
@pytest.mark.parametrize("name", ["raw yolo", "nanodet"])
def test_refuses_numbers_of_bins(name: str, num_bins: int) -> None:
    kernel, head = KERNELS[name]
    with pytest.raises(ValueError, match="`num_bins` must be"):
        kernel(**head | {"num_bins": num_bins}, **COMMON, **poisoned(9))


@pytest.mark.parametrize(
    "wrong",
    [
        {"offsets": positive(NUM_POINTS, 5)},
        {"offsets": positive(NUM_POINTS - 1, 4)},
        {"logits": positive(NUM_POINTS - 1, 4)},
        {"anchors_cxcywh": positive(NUM_POINTS - 1, 4)},
    ],
)
def test_ssd_refuses_heads_that_do_not_fit(wrong: Options) -> None:
    kernel, head = KERNELS["ssd"]
    with pytest.raises(ValueError, match="both heads an anchor per row"):
        kernel(**head | wrong, **COMMON, **poisoned(9))
