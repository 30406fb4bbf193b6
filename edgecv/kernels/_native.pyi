from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def letterbox_cpu(
    planes: Sequence[NDArray[np.uint8]],
    pixel_format: str,
    matrix: str,
    colour_range: str,
    frame_hw: Sequence[int],
    resized_hw: Sequence[int],
    offset_xy: Sequence[int],
    interpolation: str,
    colour: str,
    gain: Sequence[float],
    bias: Sequence[float],
    pad: float,
    layout: str,
    out: NDArray[np.float32] | NDArray[np.float16] | NDArray[np.uint8],
) -> None: ...
def nms_cpu(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None,
    iou_threshold: float,
    max_detections: int,
    kept: NDArray[np.int64],
) -> int: ...
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
def draw_boxes_cpu(
    planes: Sequence[NDArray[np.uint8]],
    boxes_xyxy: NDArray[np.float32],
    colours: NDArray[np.uint8],
    line_width: int,
    num_words: NDArray[np.int32],
    word_widths: NDArray[np.int32],
    masks: NDArray[np.uint8],
    mask_height: int,
) -> None: ...
def colorize_cpu(
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    planes: Sequence[NDArray[np.uint8]],
) -> int: ...
def blend_labels_cpu(
    planes: Sequence[NDArray[np.uint8]],
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    is_ignored: NDArray[np.uint8],
    alpha_256: int,
) -> int: ...
