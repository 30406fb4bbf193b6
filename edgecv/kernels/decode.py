"""From a detection head's raw output to detections: decode, threshold, suppress, map back.

Common to all: a candidate has score > score_threshold, both rounded to float32; a NaN score is
none. More than 30000 candidates are cut to the best 30000 (Ultralytics, `max_nms`) before
`edgecv.kernels.nms`. Detections are sorted by score, equal scores by anchor, then by class.

A head is read as it comes, channels first ("cn") or anchors first ("nc"), and once.

`decode_yolo` and `decode_ssd` take heads on a GPU too, of float32 or float16, one or a batch with a
leading axis. They return `EdgeNmsOutput`, rows of a fixed number per image, and nothing waits: with
`out` and `workspace` a call can be captured in a CUDA graph.
"""

from collections.abc import Sequence
from typing import Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import (
    decode_nanodet_cpu,
    decode_ssd_cpu,
    decode_yolo_cpu,
    decode_yolo_dfl_cpu,
    decode_yolox_cpu,
)
from edgecv.kernels.arguments import check_array, check_at_least, check_choice
from edgecv.kernels.cuda import decode as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.edge_nms import EdgeNmsOutput
from edgecv.kernels.points import anchor_points
from edgecv.kernels.suppression import Suppression
from edgecv.placement import Placement
from edgecv.results import Detections

Layout = Literal["cn", "nc"]
Activation = Literal["softmax", "sigmoid"]

_NUM_SIDES = 4  # numbers that a box has, distances that a distribution head predicts
_MAX_PAIRS = 2**32 - 1  # the kernels number the pairs of an anchor and a class with 32 bits


@overload
def decode_ssd(
    offsets: NDArray[np.float32],
    logits: NDArray[np.float32],
    anchors_cxcywh: NDArray[np.float32],
    *,
    variances: tuple[float, float] = (0.1, 0.2),
    activation: Activation = "softmax",
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    class_agnostic: bool = False,
    layout: Layout = "nc",
    placement: Placement | None = None,
) -> Detections: ...
@overload
def decode_ssd(
    offsets: AnyDeviceArray,
    logits: AnyDeviceArray,
    anchors_cxcywh: AnyDeviceArray,
    *,
    variances: tuple[float, float] = (0.1, 0.2),
    activation: Activation = "softmax",
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    class_agnostic: bool = False,
    layout: Layout = "nc",
    placement: Placement | AnyDeviceArray | None = None,
    out: EdgeNmsOutput | None = None,
    workspace: AnyDeviceArray | None = None,
    stream: object = None,
) -> EdgeNmsOutput: ...
def decode_ssd(
    offsets: AnyDeviceArray,
    logits: AnyDeviceArray,
    anchors_cxcywh: AnyDeviceArray,
    *,
    variances: tuple[float, float] = (0.1, 0.2),
    activation: Activation = "softmax",
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    class_agnostic: bool = False,
    layout: Layout = "nc",
    placement: Placement | AnyDeviceArray | None = None,
    out: EdgeNmsOutput | None = None,
    workspace: AnyDeviceArray | None = None,
    stream: object = None,
) -> Detections | EdgeNmsOutput:
    """Return the detections of a head with anchors, such as those of SSD and RetinaNet.

    cx = dx * variances[0] * w_anchor + cx_anchor and w = exp(dw * variances[1]) * w_anchor, y and
    h alike. Every (anchor, class) pair above the threshold is a candidate.

    Args:
        offsets: (N, 4) float32 for layout "nc", dx, dy, dw, dh per anchor; transposed for "cn".
            Of NumPy or, then all arrays, on a GPU, see above.
        logits: (N, 1 + C) float32 for layout "nc", before the softmax, the background first, or
            (N, C), before the sigmoids; transposed for "cn".
        anchors_cxcywh: (N, 4) float32, cx, cy, w, h in input pixels.
        variances: scales of the centre's and of the size's offsets, positive.
        activation: `softmax` of an anchor's logits, on a GPU of at most 2048 classes, or a
            `sigmoid` of each.
        score_threshold: in [0, 1]. On a GPU also an array of one float32 there.
        iou_threshold: likewise.
        max_detections: at least 1.
        class_agnostic: whether a box suppresses those of other classes too.
        layout: anchors first or channels first.
        placement: how the frame was fitted; if None, boxes stay in input pixels. On a GPU also one
            for each image, (B, 4) float32: scale_x, scale_y, offset_x, offset_y.
        out: of a GPU: what to fill and return, see `edgecv.kernels.edge_nms`.
        workspace: of a GPU: likewise.
        stream: of a GPU: likewise.

    Returns:
        Detections with class ids 0..C-1, the background not counted.

    Raises:
        DeviceError: if the GPU cannot do it.
        ValueError: if a shape or an option is not as described.
        TypeError: if an array is not float32; nothing is converted silently.

    Source:
        Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, sections 2.1 and 2.2; the
        variances are those of its reference implementation. Sigmoids: Lin et al., "Focal Loss for
        Dense Object Detection", ICCV 2017, section 4.

    """
    check_choice("decode_ssd", "activation", activation, get_args(Activation))
    if not min(variances) > 0:
        raise ValueError(f"decode_ssd: `variances` must be positive, got {variances}.")
    if is_on_device(offsets):
        batch_suppression = _batch_suppression(
            "decode_ssd", layout, score_threshold, iou_threshold, max_detections, class_agnostic,
            placement, out, workspace, stream,
        )  # fmt: skip
        filled = on_device.decode_ssd(
            offsets, logits, anchors_cxcywh, batch_suppression, variances=variances,
            is_sigmoid=activation == "sigmoid", channels_first=layout == "cn",
        )  # fmt: skip
        return EdgeNmsOutput(*filled)
    suppression = Suppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement
    )
    suppression.check("decode_ssd")
    _, count = _check_head("decode_ssd", "offsets", offsets, _NUM_SIDES, layout)
    num_others, channels = (1, "1 + C") if activation == "softmax" else (0, "C")
    num_logits, _ = _check_head("decode_ssd", "logits", logits, channels, layout, count)
    check_array("decode_ssd", "anchors_cxcywh", anchors_cxcywh, np.float32, (count, 4))
    num_pairs = _num_pairs("decode_ssd", "logits", logits, num_logits - num_others, count)
    return suppression.detections(
        decode_ssd_cpu,
        num_pairs,
        offsets=np.ascontiguousarray(offsets),
        logits=np.ascontiguousarray(logits),
        channels_first=layout == "cn",
        anchors_cxcywh=np.ascontiguousarray(anchors_cxcywh),
        centre_variance=variances[0],
        size_variance=variances[1],
        sigmoid=activation == "sigmoid",
    )


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
            or on a GPU, see above.
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
        batch_suppression = _batch_suppression(
            "decode_yolo", layout, score_threshold, iou_threshold, max_detections, class_agnostic,
            placement, out, workspace, stream,
        )  # fmt: skip
        filled = on_device.decode_yolo(
            head, batch_suppression, multi_label=multi_label, channels_first=layout == "cn",
            reg_max=reg_max, strides=strides, size_hw=size_hw,
        )  # fmt: skip
        return EdgeNmsOutput(*filled)
    suppression = Suppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement
    )
    suppression.check("decode_yolo")
    num_box_channels = _NUM_SIDES * max(reg_max, 1)
    num_channels, count = _check_head(
        "decode_yolo", "head", head, f"{num_box_channels} + C", layout
    )
    num_pairs = _num_pairs("decode_yolo", "head", head, num_channels - num_box_channels, count)
    channels_first = layout == "cn"
    if reg_max == 0:
        return suppression.detections(
            decode_yolo_cpu,
            num_pairs,
            head=np.ascontiguousarray(head),
            channels_first=channels_first,
            multi_label=multi_label,
        )
    if size_hw is None:
        raise ValueError(
            "decode_yolo: `size_hw` must be given for a raw head, got None. "
            "Pass the height and width of the network's input."
        )
    return suppression.detections(
        decode_yolo_dfl_cpu,
        num_pairs,
        head=np.ascontiguousarray(head),
        channels_first=channels_first,
        points=_points("decode_yolo", count, size_hw, strides, offset=0.5),
        num_bins=reg_max,
        multi_label=multi_label,
    )


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
    num_channels, count = _check_head("decode_yolox", "head", head, "5 + C", layout)
    num_pairs = _num_pairs("decode_yolox", "head", head, num_channels - 5, count)
    return suppression.detections(
        decode_yolox_cpu,
        num_pairs,
        head=np.ascontiguousarray(head),
        channels_first=layout == "cn",
        points=_points("decode_yolox", count, size_hw, strides, offset=0),
        multi_label=multi_label,
    )


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
    num_box_channels = _NUM_SIDES * num_bins
    num_channels, count = _check_head(
        "decode_nanodet", "head", head, f"C + {num_box_channels}", layout
    )
    num_pairs = _num_pairs("decode_nanodet", "head", head, num_channels - num_box_channels, count)
    return suppression.detections(
        decode_nanodet_cpu,
        num_pairs,
        head=np.ascontiguousarray(head),
        channels_first=layout == "cn",
        points=_points("decode_nanodet", count, size_hw, strides, offset=0),
        num_bins=num_bins,
        multi_label=multi_label,
    )


def _batch_suppression(
    function: str,
    layout: Layout,
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    class_agnostic: bool,  # noqa: FBT001  # passed on
    placement: Placement | AnyDeviceArray | None,
    out: EdgeNmsOutput | None,
    workspace: AnyDeviceArray | None,
    stream: object,
) -> on_device.BatchSuppression:
    """Return what a decoder on a GPU makes of its candidates, its options checked."""
    check_choice(function, "layout", layout, get_args(Layout))
    check_at_least(function, "max_detections", max_detections, 1)
    return on_device.BatchSuppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement, out, workspace,
        stream,
    )  # fmt: skip


def _check_head(
    function: str,
    name: str,
    head: NDArray[np.float32],
    num_channels: int | str,
    layout: Layout,
    num_anchors: int | str = "N",
) -> tuple[int, int]:
    """Refuse a head of another type or shape; return its numbers of channels and of anchors."""
    check_choice(function, "layout", layout, get_args(Layout))
    shape = (num_channels, num_anchors) if layout == "cn" else (num_anchors, num_channels)
    check_array(function, name, head, np.float32, shape)
    return (head.shape[0], head.shape[1]) if layout == "cn" else (head.shape[1], head.shape[0])


def _num_pairs(
    function: str, name: str, head: NDArray[np.float32], num_classes: int, num_anchors: int
) -> int:
    """Return the number of pairs of an anchor and a class; refuse none and too many."""
    if num_classes < 1:
        raise ValueError(
            f"{function}: `{name}` must have channels for at least 1 class, got shape "
            f"{head.shape}. Check its layout and the bins per distance."
        )
    num_pairs = num_anchors * num_classes
    if num_pairs > _MAX_PAIRS:
        raise ValueError(
            f"{function}: `{name}` must have fewer than 2**32 pairs of an anchor and a class, got "
            f"{num_anchors} x {num_classes}. Decode it in parts."
        )
    return num_pairs


def _points(
    function: str, count: int, size_hw: tuple[int, int], strides: Sequence[int], *, offset: float
) -> NDArray[np.float32]:
    """Return the anchor points of a head that has `count` anchors."""
    height, width = size_hw
    check_at_least(function, "size_hw", min(height, width), 1)
    if min(strides, default=0) < 1:
        raise ValueError(f"{function}: `strides` must be at least 1 each, got {tuple(strides)}.")
    points = anchor_points((height, width), tuple(strides), offset)
    if len(points) != count:
        raise ValueError(
            f"{function}: `head` must have {len(points)} anchors for an input of "
            f"{height} x {width} and strides {tuple(strides)}, got {count}. "
            f"Check `size_hw`, `strides` and the layout."
        )
    return points
