"""decode_nanodet against the reference, and what is its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import decode_nanodet, reference
from edgecv.kernels.decode import Layout

Floats = NDArray[np.float32]
Options = dict[str, Any]

COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("layout", ["nc", "cn"])
@pytest.mark.parametrize("reg_max", [1, 7])
@pytest.mark.parametrize("num_classes", [1, 2, 20])
def test_matches_reference(
    num_classes: int,
    reg_max: int,
    layout: Layout,
    nanodet_head: Callable[..., Floats],
    size_hw: tuple[int, int],
    assert_same: Callable[..., None],
    *,
    class_agnostic: bool,
    multi_label: bool,
) -> None:
    head = nanodet_head(num_classes=num_classes, reg_max=reg_max)
    head = head if layout == "nc" else head.T
    options = COMMON | {"size_hw": size_hw, "reg_max": reg_max, "layout": layout}
    options |= {"multi_label": multi_label, "class_agnostic": class_agnostic}
    assert_same(decode_nanodet(head, **options), reference.decode_nanodet(head, **options))


def test_worked_example() -> None:
    # Bins 0..1 with equal logits: half a stride on every side of the corner (8, 0) of column 1.
    head = np.zeros((5, 2 + 8), np.float32)
    head[1, 1] = 0.5
    found = decode_nanodet(head, strides=(8, 16), size_hw=(16, 16), reg_max=1, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_array_equal(found.boxes_xyxy, [[4, -4, 12, 4]])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4,), {}, r"`head` must have shape \(N, C \+ 32\)"),
        ((4,), {"layout": "cn"}, r"`head` must have shape \(C \+ 32, N\)"),
        ((4, 32), {}, "`head` must have channels for at least 1 class"),
        ((3, 33), {}, "`head` must have 4 anchors .* got 3"),
        ((4, 33), {"reg_max": 0}, "`reg_max` must be at least 1, got 0"),
    ],
)
def test_refuses_values(shape: tuple[int, ...], options: Options, message: str) -> None:
    head = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=f"^decode_nanodet: {message}"):
        decode_nanodet(head, size_hw=(16, 16), strides=(8,), **COMMON | options)
