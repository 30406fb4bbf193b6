"""Heads of Ultralytics' YOLO without anchor boxes, decoded and raw."""

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import decode_yolo_cpu, decode_yolo_dfl_cpu
from edgecv.kernels.arguments import check_at_least
from edgecv.kernels.cuda import decode as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.edge_nms import EdgeNmsOutput
from edgecv.kernels.head_arguments import NUM_SIDES, Layout, check_head, count_pairs, points_of_head
from edgecv.kernels.suppression import Suppression
from edgecv.placement import Placement
from edgecv.results import Detections


@overload
def decode_yolo(
    head: NDArray[np.float32],
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: Layout = "cn",
    reg_max: int = 0,
    strides: Sequence[int] = (8, 16, 32),
    size_hw: tuple[int, int] | None = None,
    placement: Placement | None = None,
) -> Detections: ...
@overload
def decode_yolo(
    head: AnyDeviceArray,
    *,
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: Layout = "cn",
    reg_max: int = 0,
    strides: Sequence[int] = (8, 16, 32),
    size_hw: tuple[int, int] | None = None,
    placement: Placement | AnyDeviceArray | None = None,
    out: EdgeNmsOutput | None = None,
    workspace: AnyDeviceArray | None = None,
    stream: object = None,
) -> EdgeNmsOutput: ...
def decode_yolo(
    head: AnyDeviceArray,
    *,
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: Layout = "cn",
    reg_max: int = 0,
    strides: Sequence[int] = (8, 16, 32),
    size_hw: tuple[int, int] | None = None,
    placement: Placement | AnyDeviceArray | None = None,
    out: EdgeNmsOutput | None = None,
    workspace: AnyDeviceArray | None = None,
    stream: object = None,
) -> Detections | EdgeNmsOutput:
    """Return the detections of an anchor-free YOLO head, as Ultralytics exports it since v8.

    With `reg_max` 0 the head is decoded already: cx, cy, w, h in input pixels, then C class
    probabilities. With `reg_max` R it is raw: 4 * R logits, for each of the distances to the left,
    top, right and bottom a distribution over 0..R-1 strides, then C class logits. The anchor
    points are the cells' centres, level by level in the order of `strides`.

    Args:
        head: (4 + C, N) float32, or (4 * R + C, N), for layout "cn"; transposed for "nc". Of NumPy
            or on a GPU, see `edgecv.kernels.decode`.
        score_threshold: in [0, 1]. On a GPU also an array of one float32 there.
        iou_threshold: likewise.
        max_detections: at least 1.
        multi_label: whether every class of an anchor above the threshold is a candidate, or only
            the best, the lowest of equal ones.
        class_agnostic: whether a box suppresses those of other classes too.
        layout: channels first or anchors first.
        reg_max: bins per distance, 0 for a decoded head.
        strides: pixels per cell of each level, for a raw head; on a GPU at most 8.
        size_hw: height and width of the input in pixels, for a raw head.
        placement: how the frame was fitted; if None, boxes stay in input pixels. On a GPU also one
            for each image, (B, 4) float32: scale_x, scale_y, offset_x, offset_y.
        out: of a GPU: what to fill and return, see `edgecv.kernels.edge_nms`.
        workspace: of a GPU: likewise.
        stream: of a GPU: likewise.

    Returns:
        Detections, best first.

    Raises:
        DeviceError: if the GPU cannot do it.
        ValueError: if a shape or an option is not as described, or N does not fit `size_hw`.
        TypeError: if `head` is not float32; nothing is converted silently.

    Source:
        Jocher et al., Ultralytics YOLOv8, 2023 (`Detect` head); the distributions are from
        Li et al., "Generalized Focal Loss", NeurIPS 2020, section 3.2.

    """
    check_at_least("decode_yolo", "reg_max", reg_max, 0)
    if is_on_device(head):
        batch_suppression = on_device.BatchSuppression(
            score_threshold, iou_threshold, max_detections, class_agnostic, placement, out,
            workspace, stream,
        )  # fmt: skip
        filled = on_device.decode_yolo(
            head, batch_suppression, multi_label=multi_label, layout=layout, reg_max=reg_max,
            strides=strides, size_hw=size_hw,
        )  # fmt: skip
        return EdgeNmsOutput(*filled)
    suppression = Suppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement
    )
    suppression.check("decode_yolo")
    num_box_channels = NUM_SIDES * max(reg_max, 1)
    num_channels, count = check_head("decode_yolo", "head", head, f"{num_box_channels} + C", layout)
    num_pairs = count_pairs(
        "decode_yolo", "head", head.shape, num_channels - num_box_channels, count
    )
    channels_first = layout == "cn"
    if reg_max == 0:
        return suppression.detections(
            decode_yolo_cpu,
            num_pairs,
            head=np.ascontiguousarray(head),
            channels_first=channels_first,
            multi_label=multi_label,
        )
    return suppression.detections(
        decode_yolo_dfl_cpu,
        num_pairs,
        head=np.ascontiguousarray(head),
        channels_first=channels_first,
        points=points_of_head("decode_yolo", count, size_hw, strides, offset=0.5),
        num_bins=reg_max,
        multi_label=multi_label,
    )
