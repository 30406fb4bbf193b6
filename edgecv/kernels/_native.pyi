from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def box_iou_cpu(
    a_xyxy: NDArray[np.float32],
    b_xyxy: NDArray[np.float32],
    kind: int,
    out: NDArray[np.float32],
) -> None: ...
def edge_nms_cpu(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32] | NDArray[np.float16],
    classes_first: bool,
    score_threshold: float,
    iou_threshold: float,
    class_agnostic: bool,
    background_class: int,
    num_detections: NDArray[np.int32],
    out_boxes: NDArray[np.float32],
    out_scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    box_rows: NDArray[np.int32] | None,
) -> None: ...
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
def soft_nms_cpu(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None,
    gaussian: bool,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
    kept: NDArray[np.int64],
    kept_scores: NDArray[np.float32],
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
    channels_first: bool,
    anchors_cxcywh: NDArray[np.float32],
    centre_variance: float,
    size_variance: float,
    sigmoid: bool,
    score_threshold: float,
    iou_threshold: float,
    class_agnostic: bool,
    scale_xy: Sequence[float],
    offset_xy: Sequence[float],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_yolo_cpu(
    head: NDArray[np.float32],
    channels_first: bool,
    score_threshold: float,
    multi_label: bool,
    iou_threshold: float,
    class_agnostic: bool,
    scale_xy: Sequence[float],
    offset_xy: Sequence[float],
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
    iou_threshold: float,
    class_agnostic: bool,
    scale_xy: Sequence[float],
    offset_xy: Sequence[float],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_yolox_cpu(
    head: NDArray[np.float32],
    channels_first: bool,
    points: NDArray[np.float32],
    score_threshold: float,
    multi_label: bool,
    iou_threshold: float,
    class_agnostic: bool,
    scale_xy: Sequence[float],
    offset_xy: Sequence[float],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def decode_nanodet_cpu(
    head: NDArray[np.float32],
    channels_first: bool,
    points: NDArray[np.float32],
    num_bins: int,
    score_threshold: float,
    multi_label: bool,
    iou_threshold: float,
    class_agnostic: bool,
    scale_xy: Sequence[float],
    offset_xy: Sequence[float],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
) -> int: ...
def set_num_threads(count: int) -> None: ...
def num_threads() -> int: ...
def roi_align_cpu(
    features: Sequence[NDArray[np.float32]],
    spatial_scales: Sequence[float],
    rois_xyxy: NDArray[np.float32],
    batch_ids: NDArray[np.int32] | None,
    level_ids: NDArray[np.int32] | None,
    sampling_ratio: int,
    aligned: bool,
    out: NDArray[np.float32],
) -> None: ...
def assign_pyramid_levels_cpu(
    rois_xyxy: NDArray[np.float32],
    finest_level: int,
    num_levels: int,
    canonical_size: float,
    canonical_level: int,
    level_ids: NDArray[np.int32],
) -> None: ...
def least_pyramid_areas_cpu(
    finest_level: int, num_levels: int, canonical_size: float, canonical_level: int
) -> list[float]: ...
def roi_pool_cpu(
    features: NDArray[np.float32],
    spatial_scale: float,
    rois_xyxy: NDArray[np.float32],
    batch_ids: NDArray[np.int32] | None,
    out: NDArray[np.float32],
) -> None: ...
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
def draw_masks_cpu(
    planes: Sequence[NDArray[np.uint8]],
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    colours: NDArray[np.uint8],
    threshold: float,
    alpha_256: int,
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
def linear_assignment_cpu(gains: NDArray[np.float64], column_of_row: NDArray[np.int64]) -> None: ...
def byte_track_cpu(
    motion: NDArray[np.float64],
    unseen_s: NDArray[np.float64],
    labels: NDArray[np.int64],
    num_tracks: int,
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    elapsed_s: float,
    high_score: float,
    low_score: float,
    new_score: float,
    min_iou: float,
    min_iou_low: float,
    min_iou_new: float,
    lost_s: float,
    min_hits: int,
    is_class_aware: bool,
    next_id: int,
    track_ids: NDArray[np.int64],
) -> tuple[int, int]: ...
