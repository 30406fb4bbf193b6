"""decode_yolo, of decoded and of raw heads, against the reference and torchvision."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import decode_yolo, reference
from edgecv.kernels.decode import Layout

from .conftest import Decoders

Floats = NDArray[np.float32]
Options = dict[str, Any]

COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}

SCORE_TOLERANCE = 64 * float(np.finfo(np.float32).eps)  # see conftest.py

SIZES = [(count, 3) for count in (1, 2, 7, 8, 9, 15, 16, 17, 255, 256, 257, 300)]
SIZES += [(40, num_classes) for num_classes in (1, 2, 20)]
CHOICES = [
    {"multi_label": multi, "class_agnostic": agnostic}
    for multi in (False, True)
    for agnostic in (False, True)
]
choices = pytest.mark.parametrize("choice", CHOICES)
layouts = pytest.mark.parametrize("layout", ["cn", "nc"])


@choices
@layouts
@pytest.mark.parametrize(("count", "num_classes"), SIZES)
def test_matches_reference(
    decoders: Decoders,
    count: int,
    num_classes: int,
    layout: Layout,
    choice: Options,
    yolo_head: Callable[..., Floats],
    assert_same: Callable[..., None],
) -> None:
    head = yolo_head(count, num_classes=num_classes)
    options = COMMON | choice | {"layout": layout, "score_threshold": 0.05}
    head = head if layout == "cn" else head.T
    assert_same(decoders.yolo(head, **options), reference.decode_yolo(head, **options), least=0)


@choices
@layouts
@pytest.mark.parametrize("reg_max", [1, 4, 16])
@pytest.mark.parametrize("num_classes", [1, 2, 20])
def test_raw_head_matches_reference(
    decoders: Decoders,
    num_classes: int,
    reg_max: int,
    layout: Layout,
    choice: Options,
    yolo_dfl_head: Callable[..., Floats],
    size_hw: tuple[int, int],
    assert_same: Callable[..., None],
) -> None:
    head = yolo_dfl_head(num_classes=num_classes, reg_max=reg_max)
    options = COMMON | choice | {"layout": layout, "reg_max": reg_max, "size_hw": size_hw}
    head = head if layout == "cn" else np.ascontiguousarray(head.T)
    assert_same(decoders.yolo(head, **options), reference.decode_yolo(head, **options))


@pytest.mark.parametrize("multi_label", [False, True])
def test_agrees_with_torchvision(
    decoders: Decoders, yolo_head: Callable[..., Floats], *, multi_label: bool
) -> None:
    torch = pytest.importorskip("torch")
    batched_nms = pytest.importorskip("torchvision.ops").batched_nms
    head = yolo_head(2000, num_classes=20)
    found = decoders.yolo(head, multi_label=multi_label, **COMMON)

    cx, cy, w, h = torch.from_numpy(head[:4])
    boxes = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=1)
    scores = torch.from_numpy(head[4:].T.copy())
    if multi_label:
        anchors, class_ids = torch.nonzero(scores > 0.3, as_tuple=True)
    else:
        anchors = torch.nonzero(scores.amax(1) > 0.3)[:, 0]
        class_ids = scores[anchors].argmax(1)
    chosen = boxes[anchors], scores[anchors, class_ids], class_ids
    kept = batched_nms(*chosen, 0.5)[:100]
    np.testing.assert_array_equal(found.boxes_xyxy, chosen[0][kept].numpy())
    np.testing.assert_array_equal(found.scores, chosen[1][kept].numpy())
    np.testing.assert_array_equal(found.class_ids, chosen[2][kept].numpy())


@layouts
def test_worked_example(decoders: Decoders, layout: Layout) -> None:
    head = np.array([[50, 40, 20, 10, 0.1, 0.6, 0.6]], np.float32)  # the lower of equal classes
    head = head if layout == "nc" else head.T
    found = decoders.yolo(head, layout=layout, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_array_equal(found.boxes_xyxy, [[40, 35, 60, 45]])
    np.testing.assert_array_equal(found.scores, np.array([0.6], np.float32))
    both = decoders.yolo(head, layout=layout, multi_label=True, **COMMON)
    assert both.class_ids.tolist() == [1, 2]


def test_raw_worked_example(decoders: Decoders) -> None:
    # Two levels of 2 x 2 and 1 x 1 cells; bins 0..3, all mass on one: left 1, top 0, right 2,
    # bottom 3 strides, in the cell at column 1, row 0 of the first level, centre (12, 4).
    head = np.full((4 * 4 + 1, 5), -1000, np.float32)
    for side, distance in enumerate([1, 0, 2, 3]):
        head[4 * side + distance, :] = 0
    head[16, 1] = np.log(3)
    found = decoders.yolo(head, reg_max=4, strides=(8, 16), size_hw=(16, 16), **COMMON)
    np.testing.assert_array_equal(found.boxes_xyxy, [[12 - 8, 4, 12 + 16, 4 + 24]])
    np.testing.assert_allclose(found.scores, [0.75], rtol=SCORE_TOLERANCE)


@layouts
@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_that_are_not_numbers_are_no_candidates(
    decoders: Decoders, layout: Layout, *, multi_label: bool
) -> None:
    nan = np.nan
    classes = np.array([[nan, 0.5, nan], [0.4, nan, 0.3], [nan, nan, nan]], np.float32)
    boxes = np.array([[8, 8, 4, 4], [40, 8, 4, 4], [8, 40, 4, 4]], np.float32)
    head = np.hstack([boxes, classes])
    head = head if layout == "nc" else np.ascontiguousarray(head.T)
    found = decoders.yolo(head, layout=layout, multi_label=multi_label, **COMMON)
    assert found.class_ids.tolist() == [1, 0]


def test_views_are_read_as_they_are(decoders: Decoders, yolo_head: Callable[..., Floats]) -> None:
    head = yolo_head(64, num_classes=3)
    view, copy = head[:, ::2], np.ascontiguousarray(head[:, ::2])
    actual, expected = decoders.yolo(view, **COMMON), decoders.yolo(copy, **COMMON)
    np.testing.assert_array_equal(actual.boxes_xyxy, expected.boxes_xyxy)


RAW: Options = {"reg_max": 2, "size_hw": (16, 16), "strides": (8,)}


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 6, 9), {}, r"`head` must have shape \(4 \+ C, N\), got \(1, 6, 9\)"),
        ((1, 6, 9), {"layout": "nc"}, r"`head` must have shape \(N, 4 \+ C\)"),
        ((4, 9), {}, r"`head` must have channels for at least 1 class, got shape \(4, 9\)"),
        ((8, 4), RAW, r"`head` must have channels for at least 1 class"),
        ((6, 9), {"reg_max": -1}, "`reg_max` must be at least 0, got -1"),
        ((9, 4), RAW | {"size_hw": None}, "`size_hw` must be given for a raw head"),
        ((9, 4), RAW | {"size_hw": (0, 16)}, "`size_hw` must be at least 1, got 0"),
        ((9, 4), RAW | {"strides": ()}, r"`strides` must be at least 1 each, got \(\)"),
        ((9, 4), RAW | {"strides": (8, 0)}, "`strides` must be at least 1 each"),
        ((9, 5), RAW, "`head` must have 4 anchors for an input of 16 x 16 .* got 5"),
    ],
)
def test_refuses_values(shape: tuple[int, ...], options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_yolo: {message}"):
        decode_yolo(np.zeros(shape, np.float32), **COMMON | options)
