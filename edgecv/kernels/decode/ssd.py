"""Heads with anchors, such as those of SSD and RetinaNet."""

from typing import Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import decode_ssd_cpu
from edgecv.kernels.arguments import check_array, check_choice
from edgecv.kernels.cuda import decode as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.edge_nms import EdgeNmsOutput
from edgecv.kernels.head_arguments import NUM_SIDES, Layout, check_head, count_pairs
from edgecv.kernels.suppression import Suppression
from edgecv.placement import Placement
from edgecv.results import Detections

Activation = Literal["softmax", "sigmoid"]


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
            Of NumPy or, then all arrays, on a GPU, see `edgecv.kernels.decode`.
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
        batch_suppression = on_device.BatchSuppression(
            score_threshold, iou_threshold, max_detections, class_agnostic, placement, out,
            workspace, stream,
        )  # fmt: skip
        filled = on_device.decode_ssd(
            offsets, logits, anchors_cxcywh, batch_suppression, variances=variances,
            is_sigmoid=activation == "sigmoid", layout=layout,
        )  # fmt: skip
        return EdgeNmsOutput(*filled)
    suppression = Suppression(
        score_threshold, iou_threshold, max_detections, class_agnostic, placement
    )
    suppression.check("decode_ssd")
    _, count = check_head("decode_ssd", "offsets", offsets, NUM_SIDES, layout)
    num_others, channels = (1, "1 + C") if activation == "softmax" else (0, "C")
    num_logits, _ = check_head("decode_ssd", "logits", logits, channels, layout, count)
    check_array("decode_ssd", "anchors_cxcywh", anchors_cxcywh, np.float32, (count, 4))
    num_pairs = count_pairs("decode_ssd", "logits", logits.shape, num_logits - num_others, count)
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
