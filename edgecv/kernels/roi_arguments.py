"""What the RoI operators take: options, and arrays in the processor's memory, in order."""

from math import prod
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels import arguments
from edgecv.kernels.arguments import check_array, check_at_least, check_choice
from edgecv.kernels.implementations import check_implementation

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Layout = Literal["chw", "hwc8"]

_IMAGE_AXES = 3  # (C, H, W), or (B, C, H, W)
_AXES_BY_IMAGE = 3  # (B, R, 4), or (R, 4)


def check_layout(function: str, layout: str, implementation: str = "auto") -> None:
    """Refuse a layout or an implementation that there is not."""
    check_choice(function, "layout", layout, get_args(Layout))
    check_implementation(function, implementation)


def check_options_of_the_processor(
    function: str, layout: str, num_channels: int | None, implementation: str = "auto"
) -> None:
    """Refuse what only arrays on a GPU have."""
    options = (
        ("layout", layout, "chw"),
        ("num_channels", num_channels, None),
        ("implementation", implementation, "auto"),
    )
    for name, value, only in options:
        if value != only:
            raise ValueError(
                f"{function}: `{name}` must be {only!r} for arrays that are not on a GPU, "
                f"got {value!r}."
            )


def check_maps(function: str, name: str, features: Floats) -> Floats:
    """Return the features as (B, C, H, W), C-contiguous."""
    is_image = isinstance(features, np.ndarray) and features.ndim == _IMAGE_AXES
    check_array(
        function, name, features, np.float32, ("C", "H", "W") if is_image else ("B", "C", "H", "W")
    )
    if 0 in features.shape[-2:]:
        raise ValueError(f"{function}: `{name}` must have at least 1 cell, got {features.shape}.")
    return np.ascontiguousarray(features[None] if is_image else features)


def check_rois(
    function: str, rois_xyxy: Floats, batch_ids: Ints | None, batch: int
) -> tuple[Floats, Ints | None]:
    """Return the RoIs as (R, 4) and their image ids, both C-contiguous."""
    if isinstance(rois_xyxy, np.ndarray) and rois_xyxy.ndim == _AXES_BY_IMAGE:
        check_array(function, "rois_xyxy", rois_xyxy, np.float32, (batch, "R", 4))
        if batch_ids is not None:
            raise ValueError(
                f"{function}: `batch_ids` must be None for `rois_xyxy` of shape (B, R, 4)."
            )
        ids = np.arange(batch, dtype=np.int32).repeat(rois_xyxy.shape[1])
        return np.ascontiguousarray(rois_xyxy).reshape(-1, 4), ids
    check_array(function, "rois_xyxy", rois_xyxy, np.float32, ("R", 4))
    rois_xyxy = np.ascontiguousarray(rois_xyxy)
    if batch_ids is None:
        if batch > 1:
            raise ValueError(
                f"{function}: `batch_ids` must be given for features of {batch} images, got None."
            )
        return rois_xyxy, None
    check_array(function, "batch_ids", batch_ids, np.int32, (len(rois_xyxy),))
    if len(batch_ids) and not 0 <= batch_ids.min() <= batch_ids.max() < batch:
        raise ValueError(
            f"{function}: `batch_ids` must be in [0, {batch}), "
            f"got {batch_ids.min()} to {batch_ids.max()}."
        )
    return rois_xyxy, np.ascontiguousarray(batch_ids)


def check_output(
    function: str, out: Floats | None, rois_xyxy: Floats, channels: int, size_hw: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Return `out`, or a new array, and the same memory as (R, C, *size_hw)."""
    height, width = size_hw
    check_at_least(function, "output_size_hw", min(height, width), 1)
    leading = rois_xyxy.shape[:-1]
    shape = (*leading, channels, height, width)
    if out is None:
        out = np.empty(shape, np.float32)
    arguments.check_output(function, "out", out, np.float32, shape)
    return out, out.reshape(prod(leading), channels, height, width)
