# Addresses in device memory, sizes and a stream; nothing is checked here.

from collections.abc import Sequence

architectures: str
cuda_version: str
letterbox_frames_per_launch: int

def allocate(num_bytes: int, device: int, stream: int) -> int: ...
def box_iou(
    a_xyxy: int, n: int, b_xyxy: int, m: int, kind: int, out: int, device: int, stream: int
) -> None: ...
def compute_capability(device: int) -> str: ...
def copy(target: int, source: int, num_bytes: int, device: int, stream: int) -> None: ...
def decode_ssd(
    offsets: int,
    logits: int,
    is_half: bool,
    channels_first: bool,
    num_images: int,
    num_logits: int,
    num_anchors: int,
    anchors_cxcywh: int,
    centre_variance: float,
    size_variance: float,
    sigmoid: bool,
    score_threshold: float,
    score_threshold_at: int,
    iou_threshold: float,
    iou_threshold_at: int,
    max_detections: int,
    class_agnostic: bool,
    mapping: Sequence[float],
    mappings_at: int,
    num_detections: int,
    boxes: int,
    scores: int,
    class_ids: int,
    workspace: int,
    device: int,
    stream: int,
) -> None: ...
def decode_workspace_bytes(num_images: int, num_pairs: int, max_detections: int) -> int: ...
def decode_yolo(
    head: int,
    is_half: bool,
    channels_first: bool,
    num_images: int,
    num_channels: int,
    num_anchors: int,
    num_bins: int,
    first_anchors: Sequence[int],
    columns: Sequence[int],
    strides: Sequence[int],
    multi_label: bool,
    score_threshold: float,
    score_threshold_at: int,
    iou_threshold: float,
    iou_threshold_at: int,
    max_detections: int,
    class_agnostic: bool,
    mapping: Sequence[float],
    mappings_at: int,
    num_detections: int,
    boxes: int,
    scores: int,
    class_ids: int,
    workspace: int,
    device: int,
    stream: int,
) -> None: ...
def describe(
    capsule: object,
) -> tuple[int, list[int], list[int], tuple[int, int, int], int, bool]: ...
def device_of(pointer: int) -> int: ...
def edge_nms(
    boxes_xyxy: int,
    scores: int,
    num_images: int,
    num_boxes: int,
    num_classes: int,
    classes_first: bool,
    is_half: bool,
    score_threshold: float,
    score_threshold_at: int,
    iou_threshold: float,
    iou_threshold_at: int,
    max_detections: int,
    class_agnostic: bool,
    background_class: int,
    num_detections: int,
    out_boxes: int,
    out_scores: int,
    class_ids: int,
    box_rows: int,
    workspace: int,
    device: int,
    stream: int,
) -> None: ...
def edge_nms_workspace_bytes(
    num_images: int, num_boxes: int, num_classes: int, max_detections: int
) -> int: ...
def nms(
    boxes_xyxy: int,
    scores: int,
    class_ids: int,
    n: int,
    iou_threshold: float,
    max_detections: int,
    kept: int,
    count: int,
    workspace: int,
    device: int,
    stream: int,
) -> None: ...
def nms_workspace_bytes(n: int, max_detections: int) -> int: ...
def letterbox(
    frames: Sequence[tuple[Sequence[tuple[int, int]], Sequence[int], Sequence[int], Sequence[int]]],
    pixel_format: str,
    matrix: str,
    colour_range: str,
    interpolation: str,
    colour: str,
    gain: Sequence[float],
    bias: Sequence[float],
    pad: float,
    dtype: str,
    layout: str,
    size_hw: Sequence[int],
    out: int,
    device: int,
    stream: int,
) -> None: ...
def num_devices() -> int: ...
def release(pointer: int, device: int, stream: int) -> None: ...
def resize_argmax(
    logits: int,
    layout: int,
    shape_nchw: tuple[int, int, int, int],
    scale_yx: tuple[float, float],
    bias_yx: tuple[float, float],
    size_hw: tuple[int, int],
    labels: int,
    confidence: int,
    device: int,
    stream: int,
) -> None: ...
def roi_align(
    levels: Sequence[tuple[int, int, int, float]],
    shape: tuple[int, int, int, int],
    rois_xyxy: int,
    batch_ids: int,
    level_ids: int,
    num_rois: int,
    rois_per_image: int,
    least_areas: Sequence[float],
    bins_h: int,
    bins_w: int,
    sampling_ratio: int,
    aligned: bool,
    out: int,
    device: int,
    stream: int,
) -> None: ...
def roi_pool(
    level: tuple[int, int, int, float],
    shape: tuple[int, int, int, int],
    rois_xyxy: int,
    batch_ids: int,
    num_rois: int,
    rois_per_image: int,
    bins_h: int,
    bins_w: int,
    out: int,
    device: int,
    stream: int,
) -> None: ...
def synchronize(device: int, stream: int) -> None: ...
def wait_for(other: int, device: int, stream: int) -> None: ...
