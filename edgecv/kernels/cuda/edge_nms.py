"""Non-maximum suppression of a batch on a GPU, see `edgecv.kernels.edge_nms`."""

from collections.abc import Sequence

import numpy as np

from edgecv.kernels.arguments import check_fraction
from edgecv.kernels.cuda.arrays import (
    AnyDeviceArray,
    check_view,
    empty_like,
    is_on_device,
    stream_of,
    view_of,
)
from edgecv.kernels.cuda.native import cuda
from edgecv.kernels.cuda.workspace import workspace_for

_MAX_PAIRS = 2**31  # of an image; there are fewer


def workspace_bytes(num_images: int, num_boxes: int, num_classes: int, max_detections: int) -> int:
    """Return the size of the workspace that `edge_nms` needs at most for such arguments.

    Args:
        num_images: at least 0, like the others.
        num_boxes: of an image.
        num_classes: of a box.
        max_detections: of an image, at least 1.

    """
    return int(cuda().edge_nms_workspace_bytes(num_images, num_boxes, num_classes, max_detections))


def edge_nms(
    boxes_xyxy: AnyDeviceArray,
    scores: AnyDeviceArray,
    *,
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    class_agnostic: bool,
    background_class: int,
    classes_first: bool,
    out: Sequence[AnyDeviceArray] | None,
    box_rows: AnyDeviceArray | None,
    workspace: AnyDeviceArray | None,
    stream: object,
) -> Sequence[AnyDeviceArray]:
    """Return what `EdgeNmsOutput` has, in its order; see there for shapes and dtypes."""
    on = stream_of(stream, boxes_xyxy)
    boxes = check_view("edge_nms", "boxes_xyxy", boxes_xyxy, np.float32, ("B", "N", 4), stream=on)
    batch, num_boxes, _ = boxes.shape
    device = boxes.device
    scored = check_view(
        "edge_nms", "scores", scores, (np.float32, np.float16),
        (batch, "C", num_boxes) if classes_first else (batch, num_boxes, "C"), device=device,
        stream=on,
    )  # fmt: skip
    num_classes = scored.shape[1 if classes_first else 2]
    check_num_pairs(num_boxes, num_classes)
    thresholds = (
        *threshold_of("edge_nms", "score_threshold", score_threshold, device, on),
        *threshold_of("edge_nms", "iou_threshold", iou_threshold, device, on),
    )
    rows = (batch, max_detections)
    out, pointers = detection_arrays("edge_nms", out, boxes_xyxy, rows, device, on)
    if box_rows is None:
        pointers.append(0)
    else:
        written = check_view(
            "edge_nms", "box_rows", box_rows, np.int32, rows, device=device, is_output=True,
            stream=on,
        )  # fmt: skip
        pointers.append(written.pointer)
    _workspace, address = workspace_for(
        "edge_nms", workspace, workspace_bytes(batch, num_boxes, num_classes, max_detections),
        f"{batch} x {num_boxes} boxes of {num_classes} classes and {max_detections} detections",
        like=boxes_xyxy, stream=on,
    )  # fmt: skip
    cuda().edge_nms(
        boxes.pointer, scored.pointer, batch, num_boxes, num_classes, classes_first,
        scored.dtype == np.float16, *thresholds, max_detections, class_agnostic, background_class,
        *pointers, address, device, on,
    )  # fmt: skip
    return out


def check_num_pairs(num_boxes: int, num_classes: int) -> None:
    """Refuse images with more scores than the kernels can number."""
    if num_boxes * num_classes >= _MAX_PAIRS:
        raise ValueError(
            f"edge_nms: `scores` must hold fewer than 2**31 scores an image, "
            f"got {num_boxes} x {num_classes}. Drop boxes that cannot be detections first."
        )


def detection_arrays(
    function: str,
    out: Sequence[AnyDeviceArray] | None,
    like: AnyDeviceArray,
    rows: tuple[int, int],
    device: int,
    on: int,
) -> tuple[Sequence[AnyDeviceArray], list[int]]:
    """Return the arrays of `EdgeNmsOutput`, `out` or new, and their addresses."""
    outputs = {
        "out.num_detections": (rows[:1], np.int32),
        "out.boxes": ((*rows, 4), np.float32),
        "out.scores": (rows, np.float32),
        "out.class_ids": (rows, np.int32),
    }
    if out is None:
        out = [empty_like(like, shape, dtype, stream=on) for shape, dtype in outputs.values()]
    pointers = [
        check_view(
            function, name, array, dtype, shape, device=device, is_output=True, stream=on
        ).pointer
        for array, (name, (shape, dtype)) in zip(out, outputs.items(), strict=True)
    ]
    return out, pointers


def threshold_of(
    function: str, name: str, threshold: float | AnyDeviceArray, device: int, on: int
) -> tuple[float, int]:
    """Return a threshold's value, or the address that it is read from, for `function`."""
    if not is_on_device(threshold):
        check_fraction(function, name, threshold)
        return float(threshold), 0
    is_scalar = view_of(function, name, threshold).shape == ()
    shape = () if is_scalar else (1,)
    view = check_view(function, name, threshold, np.float32, shape, device=device, stream=on)
    return 0.0, view.pointer
