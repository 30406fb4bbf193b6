"""Fixed-size features of regions of interest (RoIs): from feature maps and boxes to bins."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import assign_pyramid_levels_cpu, roi_align_cpu, roi_pool_cpu
from edgecv.kernels.arguments import check_array, check_at_least

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_IMAGE_AXES, _BATCH_AXES = 3, 4  # (C, H, W) and (B, C, H, W)
_MAX_SAMPLING_RATIO = 1024


def roi_align(
    features: Floats,
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    batch_ids: Ints | None = None,
    out: Floats | None = None,
) -> Floats:
    """Return the averages of bilinear samples in the bins of each region of interest.

    A RoI is scaled to the map's cells, cut into bins of equal size and each bin sampled on a
    regular grid; nothing is rounded. A sample further than one cell outside the outer cell centres
    counts as 0, a nearer one takes the value at the border. The results are those of
    `torchvision.ops.roi_align`, whose `aligned` is False unless set.

    Args:
        features: (C, H, W) or (B, C, H, W) float32, at least one cell. What is not C-contiguous is
            copied first.
        rois_xyxy: (R, 4) float32, x1, y1, x2, y2 in pixels of the image. A RoI with a coordinate
            that is not finite, or 2**30 cells away, gives 0. Size does not cost time: what lies
            outside the map is not visited.
        output_size_hw: number of bins, at least 1 each.
        spatial_scale: cells per pixel, positive: 1/8 for a map of stride 8.
        sampling_ratio: samples per bin and axis, 1 to 1024; if 0, as many as the bin is cells long,
            rounded up. A bin of no size then gives 0.
        aligned: whether the centre of the first cell is at half a cell, as that of a pixel is;
            otherwise it is at 0, and RoIs are at least one cell long and high.
        batch_ids: (R,) int32, the image of each RoI, in [0, B); may be None if B is 1.
        out: (R, C, *output_size_hw) float32, C-contiguous: where to write the result instead of
            allocating it.

    Returns:
        (R, C, *output_size_hw) float32, C-contiguous, `out` itself if given.

    Raises:
        ValueError: if a shape, an image id or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 3; half-cell alignment: Wu et al.,
        "Detectron2", 2019, `ROIAlign`.

    """
    function = "roi_align"
    maps = _maps(function, "features", features)
    _check_scale(function, "spatial_scale", spatial_scale)
    _check_sampling_ratio(function, sampling_ratio)
    batch_ids = _check_rois(function, rois_xyxy, batch_ids, len(maps))
    out = _output(function, out, len(rois_xyxy), maps.shape[1], output_size_hw)
    roi_align_cpu(
        [maps],
        [spatial_scale],
        np.ascontiguousarray(rois_xyxy),
        batch_ids=batch_ids,
        level_ids=None,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        out=out,
    )
    return out


def roi_align_pyramid(
    features: Sequence[Floats],
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 0,
    aligned: bool = True,
    canonical_size: float = 224,
    canonical_level: int = 4,
    batch_ids: Ints | None = None,
    out: Floats | None = None,
) -> Floats:
    """Return `roi_align` of each region of interest on the pyramid level that suits its size.

    The level is floor(canonical_level + log2(sqrt(area) / canonical_size) + 1e-6), in float32,
    clamped to the levels given: level k is the one of stride 2**k. `torchvision.ops.
    MultiScaleRoIAlign` gives the same with `aligned=False`.

    Args:
        features: one array per level, finest first, as for `roi_align`; the levels have the same
            number of images and channels.
        rois_xyxy: as for `roi_align`. A RoI whose area is negative gives 0.
        output_size_hw: as for `roi_align`.
        spatial_scales: cells per pixel of each level, 1 / 2**k for a whole k, each half the one
            before.
        sampling_ratio: as for `roi_align`.
        aligned: as for `roi_align`.
        canonical_size: pixels, positive: a square box with this side is on `canonical_level`.
        canonical_level: the level k of such a box.
        batch_ids: as for `roi_align`.
        out: as for `roi_align`.

    Returns:
        (R, C, *output_size_hw) float32, C-contiguous, `out` itself if given.

    Raises:
        ValueError: if a shape, an image id or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, equation 1.

    """
    function = "roi_align_pyramid"
    levels = [_maps(function, f"features[{k}]", level) for k, level in enumerate(features)]
    check_at_least(function, "len(features)", len(levels), 1)
    for k, level in enumerate(levels):
        if level.shape[:2] != levels[0].shape[:2]:
            raise ValueError(
                f"{function}: `features[{k}]` must have the images and channels of `features[0]`, "
                f"{levels[0].shape[:2]}, got {level.shape[:2]}."
            )
    finest_level = _finest_level(function, spatial_scales, len(levels))
    _check_scale(function, "canonical_size", canonical_size)
    _check_sampling_ratio(function, sampling_ratio)
    batch_ids = _check_rois(function, rois_xyxy, batch_ids, len(levels[0]))
    out = _output(function, out, len(rois_xyxy), levels[0].shape[1], output_size_hw)
    rois_xyxy = np.ascontiguousarray(rois_xyxy)
    level_ids = np.empty(len(rois_xyxy), np.int32)
    assign_pyramid_levels_cpu(
        rois_xyxy,
        finest_level=finest_level,
        num_levels=len(levels),
        canonical_size=canonical_size,
        canonical_level=canonical_level,
        level_ids=level_ids,
    )
    roi_align_cpu(
        levels,
        list(spatial_scales),
        rois_xyxy,
        batch_ids=batch_ids,
        level_ids=level_ids,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        out=out,
    )
    return out


def roi_pool(
    features: Floats,
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    batch_ids: Ints | None = None,
    out: Floats | None = None,
) -> Floats:
    """Return the greatest value in the bins of each region of interest.

    The corners of a RoI are scaled and rounded to cells, halves away from 0; it spans both corner
    cells. Bins take the cells that they touch, so that neighbours may share some. The results are
    those of `torchvision.ops.roi_pool`, bit for bit.

    Args:
        features: as for `roi_align`. NaN is greater than nothing: a bin of nothing but NaN or
            -inf gives the lowest finite float32.
        rois_xyxy: as for `roi_align`. A RoI whose corners are inverted spans one cell.
        output_size_hw: as for `roi_align`. A bin outside the map gives 0.
        spatial_scale: as for `roi_align`.
        batch_ids: as for `roi_align`.
        out: as for `roi_align`.

    Returns:
        (R, C, *output_size_hw) float32, C-contiguous, `out` itself if given.

    Raises:
        ValueError: if a shape, an image id or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, section 2.1.

    """
    function = "roi_pool"
    maps = _maps(function, "features", features)
    _check_scale(function, "spatial_scale", spatial_scale)
    batch_ids = _check_rois(function, rois_xyxy, batch_ids, len(maps))
    out = _output(function, out, len(rois_xyxy), maps.shape[1], output_size_hw)
    roi_pool_cpu(maps, spatial_scale, np.ascontiguousarray(rois_xyxy), batch_ids=batch_ids, out=out)
    return out


def _maps(function: str, name: str, features: Floats) -> Floats:
    """Return the features as (B, C, H, W), C-contiguous."""
    is_image = isinstance(features, np.ndarray) and features.ndim == _IMAGE_AXES
    check_array(
        function, name, features, np.float32, ("C", "H", "W") if is_image else ("B", "C", "H", "W")
    )
    if 0 in features.shape[-2:]:
        raise ValueError(f"{function}: `{name}` must have at least 1 cell, got {features.shape}.")
    return np.ascontiguousarray(features[None] if is_image else features)


def _check_scale(function: str, name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{function}: `{name}` must be positive and finite, got {value}.")


def _check_sampling_ratio(function: str, sampling_ratio: int) -> None:
    if not 0 <= sampling_ratio <= _MAX_SAMPLING_RATIO:
        raise ValueError(
            f"{function}: `sampling_ratio` must be in [0, {_MAX_SAMPLING_RATIO}], "
            f"got {sampling_ratio}. 0 adapts it to each RoI."
        )


def _finest_level(function: str, spatial_scales: Sequence[float], num_levels: int) -> int:
    """Return k of the first scale, 1 / 2**k."""
    if len(spatial_scales) != num_levels:
        raise ValueError(
            f"{function}: `spatial_scales` must hold one number per level, {num_levels}, "
            f"got {len(spatial_scales)}."
        )
    _check_scale(function, "spatial_scales[0]", spatial_scales[0])
    finest_level = round(-math.log2(spatial_scales[0]))
    if any(scale != 2.0 ** -(finest_level + k) for k, scale in enumerate(spatial_scales)):
        raise ValueError(
            f"{function}: `spatial_scales` must be powers of two, each half the one before, "
            f"got {tuple(spatial_scales)}."
        )
    return finest_level


def _check_rois(
    function: str, rois_xyxy: Floats, batch_ids: Ints | None, batch: int
) -> Ints | None:
    """Check the RoIs and return their image ids, C-contiguous."""
    check_array(function, "rois_xyxy", rois_xyxy, np.float32, ("R", 4))
    if batch_ids is None:
        if batch > 1:
            raise ValueError(
                f"{function}: `batch_ids` must be given for features of {batch} images, got None."
            )
        return None
    check_array(function, "batch_ids", batch_ids, np.int32, (len(rois_xyxy),))
    if len(batch_ids) and not 0 <= batch_ids.min() <= batch_ids.max() < batch:
        raise ValueError(
            f"{function}: `batch_ids` must be in [0, {batch}), "
            f"got {batch_ids.min()} to {batch_ids.max()}."
        )
    return np.ascontiguousarray(batch_ids)


def _output(
    function: str, out: Floats | None, num_rois: int, channels: int, size_hw: tuple[int, int]
) -> Floats:
    """Return `out`, checked, or a new array."""
    height, width = size_hw
    check_at_least(function, "output_size_hw", min(height, width), 1)
    shape = (num_rois, channels, height, width)
    if out is None:
        return np.empty(shape, np.float32)
    check_array(function, "out", out, np.float32, shape)
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError(
            f"{function}: `out` must be C-contiguous and writeable, got a view that is not. "
            f"Allocate it with `np.empty({shape}, np.float32)`."
        )
    return out
