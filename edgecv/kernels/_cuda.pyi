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
def describe(
    capsule: object,
) -> tuple[int, list[int], list[int], tuple[int, int, int], int, bool]: ...
def device_of(pointer: int) -> int: ...
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
