"""Non-maximum suppression on a GPU, see `edgecv.kernels.nms`."""

import numpy as np

from edgecv.kernels.cuda.arrays import AnyDeviceArray, check_view, empty_like, stream_of
from edgecv.kernels.cuda.memory import DeviceArray
from edgecv.kernels.cuda.native import cuda
from edgecv.kernels.cuda.workspace import workspace_for

_MAX_BOXES = 2**32  # there are fewer
_ROW_BYTES = 8


def nms(
    boxes_xyxy: AnyDeviceArray,
    scores: AnyDeviceArray,
    class_ids: AnyDeviceArray | None,
    *,
    iou_threshold: float,
    max_detections: int | None,
    stream: object,
) -> AnyDeviceArray:
    """Return the (K,) int64 kept rows; waits for the stream, to know K."""
    on = stream_of(stream, boxes_xyxy)
    boxes = check_view("nms", "boxes_xyxy", boxes_xyxy, np.float32, ("N", 4), stream=on)
    count, device = boxes.shape[0], boxes.device
    if count >= _MAX_BOXES:
        raise ValueError(
            f"nms: `boxes_xyxy` must have fewer than 2**32 rows, got {count}. "
            "Drop boxes that cannot be detections first."
        )
    scored = check_view("nms", "scores", scores, np.float32, (count,), device=device, stream=on)
    classes = 0
    if class_ids is not None:
        classes = check_view(
            "nms", "class_ids", class_ids, np.int32, (count,), device=device, stream=on
        ).pointer
    if count == 0:
        return empty_like(boxes_xyxy, (0,), np.int64, stream=on)

    module = cuda()
    limit = count if max_detections is None else min(count, max_detections)
    rows = DeviceArray.empty((limit + 1,), np.int64, device=device, stream=on)  # and their number
    counted_at = rows.pointer + limit * _ROW_BYTES
    _workspace, address = workspace_for(
        "nms", None, module.nms_workspace_bytes(count, limit), f"{count} boxes",
        like=boxes_xyxy, stream=on,
    )  # fmt: skip
    module.nms(
        boxes.pointer, scored.pointer, classes, count, iou_threshold, limit, rows.pointer,
        counted_at, address, device, on,
    )  # fmt: skip
    counted = np.empty(1, np.int64)
    module.copy(counted.ctypes.data, counted_at, _ROW_BYTES, device, on)
    module.synchronize(device, on)
    kept = empty_like(boxes_xyxy, (int(counted[0]),), np.int64, stream=on)
    if counted[0] > 0:
        target = check_view("nms", "kept", kept, np.int64, kept.shape, stream=on)
        module.copy(target.pointer, rows.pointer, target.shape[0] * _ROW_BYTES, device, on)
        module.synchronize(device, on)
    return kept
