"""Heads of YOLOX."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import decode_yolox_cpu
from edgecv.kernels.head_arguments import Layout, check_head, count_pairs, points_of_head
from edgecv.kernels.suppression import Suppression
from edgecv.placement import Placement
from edgecv.results import Detections


def decode_yolox(
    head: NDArray[np.float32],
    *,
    size_hw: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32),
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: Layout = "nc",
    placement: Placement | None = None,
) -> Detections:
    """Return the detections of a YOLOX head exported without its decoding.

    cx = (x + column) * stride and w = exp(w) * stride, y and h alike; score = objectness *
    probability.

    Args:
        head: (N, 5 + C) float32 for layout "nc", transposed for "cn": x, y, w, h, objectness and
            class probabilities, the latter two in [0, 1]; level by level in the order of `strides`.
        size_hw: height and width of the input in pixels.
        strides: pixels per cell of each level.
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
        Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2.1; the decoding is that of
        `yolox.utils.demo_postprocess`.

    """
    suppression = Suppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement
    )
    suppression.check("decode_yolox")
    num_channels, count = check_head("decode_yolox", "head", head, "5 + C", layout)
    num_pairs = count_pairs("decode_yolox", "head", head.shape, num_channels - 5, count)
    return suppression.detections(
        decode_yolox_cpu,
        num_pairs,
        head=np.ascontiguousarray(head),
        channels_first=layout == "cn",
        points=points_of_head("decode_yolox", count, size_hw, strides, offset=0),
        multi_label=multi_label,
    )
