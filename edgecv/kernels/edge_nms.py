"""Non-maximum suppression of a batch, as the ONNX operator EdgeNMS defines it."""

from typing import Any, Literal, NamedTuple

import numpy as np

from edgecv.kernels._native import edge_nms_cpu
from edgecv.kernels.arguments import (
    check_array,
    check_at_least,
    check_choice,
    check_fraction,
    check_output,
)
from edgecv.kernels.cuda import edge_nms as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.implementations import Implementation, check_implementation, in_triton

ScoreLayout = Literal["nc", "cn"]

AnyArray = AnyDeviceArray  # or NumPy's


class EdgeNmsOutput(NamedTuple):
    """The detections of a batch, best first, in rows of a fixed number K per image.

    Args:
        num_detections: (B,) int32, how many rows of an image are filled.
        boxes: (B, K, 4) float32, x1, y1, x2, y2 as they were given; 0 past the count.
        scores: (B, K) float32; 0 past the count.
        class_ids: (B, K) int32; -1 past the count.

    """

    num_detections: AnyArray
    boxes: AnyArray
    scores: AnyArray
    class_ids: AnyArray


def edge_nms(
    boxes_xyxy: AnyArray,
    scores: AnyArray,
    *,
    score_threshold: float | AnyDeviceArray,
    iou_threshold: float | AnyDeviceArray,
    max_detections: int,
    class_agnostic: bool = False,
    background_class: int = -1,
    layout: ScoreLayout = "nc",
    out: EdgeNmsOutput | None = None,
    box_rows: AnyArray | None = None,
    workspace: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> EdgeNmsOutput:
    """Return the best boxes of every image that no better one of their class overlaps too much.

    A pair (box, class) takes part if its score exceeds the score threshold; NaN does not. Pairs
    are visited best score first, ties with the lower box, then the lower class, first; of an
    image's pairs the best 30000. One is kept unless a box kept before it has the same class and an
    IoU that exceeds the IoU threshold. A box that is empty or inverted or has a coordinate that is
    not finite overlaps nothing.

    On a GPU nothing waits: the call can be captured in a CUDA graph if it is given `out` and
    `workspace`, and what thresholds in the GPU's memory hold at each replay counts.

    Args:
        boxes_xyxy: (B, N, 4) float32, x1, y1, x2, y2; of NumPy or, then all arrays, on a GPU
            (`edgecv.kernels.cuda.arrays`).
        scores: (B, N, C) float32 or float16, or (B, C, N) if `layout` says so; N * C is below
            2**31.
        score_threshold: in [0, 1], rounded to float32. On a GPU also an array of one float32 there,
            whose value is not checked: NaN lets nothing pass.
        iou_threshold: likewise; NaN suppresses nothing.
        max_detections: K, at least 1.
        class_agnostic: whether a box suppresses those of other classes too; each takes part with
            its best class, the lowest of equals.
        background_class: a class that takes no part, -1 for none.
        layout: "nc" or "cn", see `scores`.
        out: arrays to fill and return; None for new ones. They must not share memory with others.
        box_rows: (B, K) int32, filled with where in `boxes_xyxy` each detection's box is, -1 past
            the count; None if that is not wanted.
        workspace: of a GPU: uint8 to work in, of any content and of at least
            `edgecv.kernels.cuda.edge_nms.workspace_bytes(B, N, C, K)` bytes, aligned to 16; None
            for a new one.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.
        implementation: "auto": that of the place where the arrays are; "cuda"; or "triton", for
            tensors of PyTorch, on its current stream and without `workspace` and `stream`.

    Returns:
        Arrays of fixed size, every element written; `out` if given.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.
        MissingDependencyError: if the implementation is not installed.

    Source:
        Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006, section 2, and
        `edgecv.export.operators.edge_nms`, the operator.

    """
    check_implementation("edge_nms", implementation)
    check_choice("edge_nms", "layout", layout, ("nc", "cn"))
    check_at_least("edge_nms", "max_detections", max_detections, 1)
    check_at_least("edge_nms", "background_class", background_class, -1)
    options: dict[str, Any] = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "max_detections": max_detections,
        "class_agnostic": class_agnostic,
        "background_class": background_class,
    }
    if implementation == "triton":
        triton = in_triton(
            "edge_nms", "nms", "edge_nms", workspace=(workspace, None), stream=(stream, None)
        )
        filled = triton(boxes_xyxy, scores, layout=layout, out=out, box_rows=box_rows, **options)
        return EdgeNmsOutput(*filled) if out is None else out
    if implementation == "cuda" or is_on_device(boxes_xyxy):
        filled = on_device.edge_nms(
            boxes_xyxy, scores, classes_first=layout == "cn", out=out, box_rows=box_rows,
            workspace=workspace, stream=stream, **options,
        )  # fmt: skip
        return EdgeNmsOutput(*filled) if out is None else out
    return _on_processor(boxes_xyxy, scores, layout == "cn", out, box_rows, **options)


def _on_processor(
    boxes_xyxy: AnyArray,
    scores: AnyArray,
    classes_first: bool,  # noqa: FBT001  # as the native module has it
    out: EdgeNmsOutput | None,
    box_rows: AnyArray | None,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    class_agnostic: bool,
    background_class: int,
) -> EdgeNmsOutput:
    check_array("edge_nms", "boxes_xyxy", boxes_xyxy, np.float32, ("B", "N", 4))
    batch, num_boxes, _ = boxes_xyxy.shape
    is_half = getattr(scores, "dtype", None) == np.float16
    shape = (batch, "C", num_boxes) if classes_first else (batch, num_boxes, "C")
    check_array("edge_nms", "scores", scores, np.float16 if is_half else np.float32, shape)
    on_device.check_num_pairs(num_boxes, scores.shape[1 if classes_first else 2])
    check_fraction("edge_nms", "score_threshold", score_threshold)
    check_fraction("edge_nms", "iou_threshold", iou_threshold)
    rows = (batch, max_detections)
    if out is None:
        out = EdgeNmsOutput(
            np.empty(batch, np.int32),
            np.empty((*rows, 4), np.float32),
            np.empty(rows, np.float32),
            np.empty(rows, np.int32),
        )
    check_output("edge_nms", "out.num_detections", out.num_detections, np.int32, (batch,))
    check_output("edge_nms", "out.boxes", out.boxes, np.float32, (*rows, 4))
    check_output("edge_nms", "out.scores", out.scores, np.float32, rows)
    check_output("edge_nms", "out.class_ids", out.class_ids, np.int32, rows)
    if box_rows is not None:
        check_output("edge_nms", "box_rows", box_rows, np.int32, rows)
    edge_nms_cpu(
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(scores),
        classes_first,
        score_threshold,
        iou_threshold,
        class_agnostic,
        background_class,
        out.num_detections,
        out.boxes,
        out.scores,
        out.class_ids,
        box_rows,
    )
    return out
