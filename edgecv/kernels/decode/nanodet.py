"""Heads of NanoDet-Plus."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import decode_nanodet_cpu
from edgecv.kernels.arguments import check_at_least
from edgecv.kernels.head_arguments import NUM_SIDES, Layout, check_head, count_pairs, points_of_head
from edgecv.kernels.suppression import Suppression
from edgecv.placement import Placement
from edgecv.results import Detections


def decode_nanodet(
    head: NDArray[np.float32],
    *,
    size_hw: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32, 64),
    reg_max: int = 7,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: Layout = "nc",
    placement: Placement | None = None,
) -> Detections:
    """Return the detections of a NanoDet-Plus head in its ONNX form.

    The distances to the left, top, right and bottom are distributions over 0..reg_max strides,
    taken from the cells' upper left corners. Unlike NanoDet's own script this does not clip boxes
    to the input before suppression; `placement` clips them to the frame after it.

    Args:
        head: (N, C + 4 * (reg_max + 1)) float32 for layout "nc", transposed for "cn": class
            probabilities, then the logits of the distances; level by level in the order of
            `strides`.
        size_hw: height and width of the input in pixels.
        strides: pixels per cell of each level.
        reg_max: the greatest distance in strides, at least 1.
        score_threshold: in [0, 1].
        iou_threshold: in [0, 1].
        max_detections: at least 1.
        multi_label: whether every class of an anchor above the threshold is a candidate, or only
            the best, the lowest of equal ones.
        class_agnostic: whether a box suppresses those of other classes too.
        layout: anchors first or channels first.
        placement: how the frame was fitted; if None, boxes stay in input pixels.

    Returns:
        Detections, best first.

    Raises:
        ValueError: if a shape or an option is not as described, or N does not fit `size_hw`.
        TypeError: if `head` is not float32; nothing is converted silently.

    Source:
        RangiLyu, NanoDet-Plus, 2021 (`NanoDetPlusHead`); the distributions are from
        Li et al., "Generalized Focal Loss", NeurIPS 2020, section 3.2.

    """
    suppression = Suppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement
    )
    suppression.check("decode_nanodet")
    check_at_least("decode_nanodet", "reg_max", reg_max, 1)
    num_bins = reg_max + 1
    num_box_channels = NUM_SIDES * num_bins
    num_channels, count = check_head(
        "decode_nanodet", "head", head, f"C + {num_box_channels}", layout
    )
    num_pairs = count_pairs(
        "decode_nanodet", "head", head.shape, num_channels - num_box_channels, count
    )
    return suppression.detections(
        decode_nanodet_cpu,
        num_pairs,
        head=np.ascontiguousarray(head),
        channels_first=layout == "cn",
        points=points_of_head("decode_nanodet", count, size_hw, strides, offset=0),
        num_bins=num_bins,
        multi_label=multi_label,
    )
