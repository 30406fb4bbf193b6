from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def letterbox_cpu(
    frame: NDArray[np.uint8],
    resized_hw: Sequence[int],
    offset_xy: Sequence[int],
    reverse_channels: bool,
    gain: Sequence[float],
    bias: Sequence[float],
    pad: float,
    out: NDArray[np.float32],
) -> None: ...
def nms_cpu(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None,
    iou_threshold: float,
    max_detections: int,
    kept: NDArray[np.int64],
) -> int: ...
def paste_masks_cpu(
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    threshold: float,
    is_zero: bool,
    out: NDArray[np.uint8],
) -> None: ...
def paste_masks_rle_cpu(
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    height: int,
    width: int,
    threshold: float,
) -> list[bytes]: ...
def resize_argmax_cpu(
    logits: NDArray[np.float32],
    scale_yx: Sequence[float],
    bias_yx: Sequence[float],
    out: NDArray[np.uint8],
    confidence: NDArray[np.float32] | None,
) -> None: ...
def decode_ssd_cpu(
    offsets: NDArray[np.float32],
    logits: NDArray[np.float32],
    anchors_cxcywh: NDArray[np.float32],
    centre_variance: float,
    size_variance: float,
    score_threshold: float,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_yolo_cpu(
    head: NDArray[np.float32],
    channels_first: bool,
    score_threshold: float,
    multi_label: bool,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_yolo_dfl_cpu(
    head: NDArray[np.float32],
    channels_first: bool,
    points: NDArray[np.float32],
    num_bins: int,
    score_threshold: float,
    multi_label: bool,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_yolox_cpu(
    head: NDArray[np.float32],
    points: NDArray[np.float32],
    score_threshold: float,
    multi_label: bool,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_nanodet_cpu(
    head: NDArray[np.float32],
    points: NDArray[np.float32],
    num_bins: int,
    score_threshold: float,
    multi_label: bool,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
