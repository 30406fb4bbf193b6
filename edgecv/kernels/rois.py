"""Averages of regions of interest (RoIs): from feature maps and boxes to bins."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import (
    assign_pyramid_levels_cpu,
    least_pyramid_areas_cpu,
    roi_align_cpu,
)
from edgecv.kernels.arguments import check_at_least
from edgecv.kernels.cuda import rois as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.implementations import Implementation, in_triton
from edgecv.kernels.roi_arguments import (
    Layout,
    check_layout,
    check_maps,
    check_options_of_the_processor,
    check_output,
    check_rois,
)

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_MAX_SAMPLING_RATIO = 1024


@overload
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
) -> Floats: ...
@overload
def roi_align(
    features: AnyDeviceArray,
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    batch_ids: AnyDeviceArray | None = None,
    layout: Layout = "chw",
    num_channels: int | None = None,
    out: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> AnyDeviceArray: ...
def roi_align(
    features: AnyDeviceArray,
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    batch_ids: AnyDeviceArray | None = None,
    layout: Layout = "chw",
    num_channels: int | None = None,
    out: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> AnyDeviceArray:
    """Return the averages of bilinear samples in the bins of each region of interest.

    A RoI is scaled to the map's cells, cut into bins of equal size and each bin sampled on a
    regular grid; nothing is rounded. A sample further than one cell outside the outer cell centres
    counts as 0, a nearer one takes the value at the border. The results are those of
    `torchvision.ops.roi_align`, whose `aligned` is False unless set.

    Args:
        features: (C, H, W) or (B, C, H, W) float32, at least one cell. What is not C-contiguous is
            copied first. On a GPU (`edgecv.kernels.cuda.arrays`), then with all other arrays, also
            float16, and C-contiguous.
        rois_xyxy: (R, 4) float32, x1, y1, x2, y2 in pixels of the image, or (B, R, 4): R of each
            image, and (B, R) wherever (R) is written here. A RoI with a coordinate that is not
            finite, or 2**30 cells away, gives 0. Size does not cost time: what lies outside the map
            is not visited.
        output_size_hw: number of bins, at least 1 each.
        spatial_scale: cells per pixel, positive: 1/8 for a map of stride 8.
        sampling_ratio: samples per bin and axis, 1 to 1024; if 0, as many as the bin is cells long,
            rounded up. A bin of no size then gives 0.
        aligned: whether the centre of the first cell is at half a cell, as that of a pixel is;
            otherwise it is at 0, and RoIs are at least one cell long and high.
        batch_ids: (R,) int32, the image of each RoI, in [0, B); may be None if B is 1, and is if
            RoIs are (B, R, 4). On a GPU their values are not looked at here; a RoI of an image that
            is not there gives 0.
        layout: of features and result. On a GPU, "hwc8" stands for TensorRT's format kHWC8: (H, W,
            C') or (B, H, W, C') and (R, *output_size_hw, C') float16 at addresses that are
            multiples of 16 bytes, C' the number of channels rounded up to a multiple of 8.
        num_channels: of "hwc8": C, if it is not C'. Padding may hold anything; in the result it is
            0.
        out: (R, C, *output_size_hw) of the features' dtype, C-contiguous: where to write the result
            instead of allocating it.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.
        implementation: of a GPU: "cuda", or "triton" for OpenAI Triton's, on PyTorch's tensors of
            layout "chw" and its current stream; "auto" is "cuda".

    Returns:
        (R, C, *output_size_hw) of the features' dtype, C-contiguous, `out` itself if given. Sums
        are float32.

    Raises:
        ValueError: if a shape, an image id or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 3; half-cell alignment: Wu et al.,
        "Detectron2", 2019, `ROIAlign`.

    """
    function = "roi_align"
    _check_scale(function, "spatial_scale", spatial_scale)
    _check_sampling_ratio(function, sampling_ratio)
    check_layout(function, layout, implementation)
    if implementation == "triton" or is_on_device(features):
        return _align_on_device(
            function,
            [features],
            rois_xyxy,
            output_size_hw,
            spatial_scales=[spatial_scale],
            least_areas=(),
            sampling_ratio=sampling_ratio,
            aligned=aligned,
            batch_ids=batch_ids,
            layout=layout,
            num_channels=num_channels,
            out=out,
            stream=stream,
            implementation=implementation,
        )
    check_options_of_the_processor(function, layout, num_channels, implementation)
    maps = check_maps(function, "features", features)
    rois, batch_ids = check_rois(function, rois_xyxy, batch_ids, len(maps))
    out, bins = check_output(function, out, rois_xyxy, maps.shape[1], output_size_hw)
    roi_align_cpu(
        [maps],
        [spatial_scale],
        rois,
        batch_ids=batch_ids,
        level_ids=None,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        out=bins,
    )
    return out


@overload
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
) -> Floats: ...
@overload
def roi_align_pyramid(
    features: Sequence[AnyDeviceArray],
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 0,
    aligned: bool = True,
    canonical_size: float = 224,
    canonical_level: int = 4,
    batch_ids: AnyDeviceArray | None = None,
    layout: Layout = "chw",
    num_channels: int | None = None,
    out: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> AnyDeviceArray: ...
def roi_align_pyramid(
    features: Sequence[AnyDeviceArray],
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 0,
    aligned: bool = True,
    canonical_size: float = 224,
    canonical_level: int = 4,
    batch_ids: AnyDeviceArray | None = None,
    layout: Layout = "chw",
    num_channels: int | None = None,
    out: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> AnyDeviceArray:
    """Return `roi_align` of each region of interest on the pyramid level that suits its size.

    The level is floor(canonical_level + log2(sqrt(area) / canonical_size) + 1e-6), in float32,
    clamped to the levels given: level k is the one of stride 2**k. `torchvision.ops.
    MultiScaleRoIAlign` gives the same with `aligned=False`. On a GPU all levels are one launch.

    Args:
        features: one array per level, finest first, as for `roi_align`; the levels have the same
            number of images and channels. At most 8 on a GPU.
        rois_xyxy: as for `roi_align`. A RoI whose area is negative gives 0.
        output_size_hw: as for `roi_align`.
        spatial_scales: cells per pixel of each level, 1 / 2**k for a whole k, each half the one
            before.
        sampling_ratio: as for `roi_align`.
        aligned: as for `roi_align`.
        canonical_size: pixels, positive: a square box with this side is on `canonical_level`.
        canonical_level: the level k of such a box.
        batch_ids: as for `roi_align`.
        layout: as for `roi_align`.
        num_channels: as for `roi_align`.
        out: as for `roi_align`.
        stream: as for `roi_align`.
        implementation: as for `roi_align`.

    Returns:
        (R, C, *output_size_hw) of the features' dtype, C-contiguous, `out` itself if given.

    Raises:
        ValueError: if a shape, an image id or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.

    Source:
        Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, equation 1.

    """
    function = "roi_align_pyramid"
    check_at_least(function, "len(features)", len(features), 1)
    finest_level = _finest_level(function, spatial_scales, len(features))
    _check_scale(function, "canonical_size", canonical_size)
    _check_sampling_ratio(function, sampling_ratio)
    check_layout(function, layout, implementation)
    if implementation == "triton" or is_on_device(features[0]):
        rule = finest_level, min(len(features), on_device.MAX_LEVELS)
        return _align_on_device(
            function,
            features,
            rois_xyxy,
            output_size_hw,
            spatial_scales=spatial_scales,
            least_areas=_least_areas(*rule, canonical_size, canonical_level),
            sampling_ratio=sampling_ratio,
            aligned=aligned,
            batch_ids=batch_ids,
            layout=layout,
            num_channels=num_channels,
            out=out,
            stream=stream,
            implementation=implementation,
        )
    check_options_of_the_processor(function, layout, num_channels, implementation)
    levels = [check_maps(function, f"features[{k}]", level) for k, level in enumerate(features)]
    for k, level in enumerate(levels):
        if level.shape[:2] != levels[0].shape[:2]:
            raise ValueError(
                f"{function}: `features[{k}]` must have the images and channels of `features[0]`, "
                f"{levels[0].shape[:2]}, got {level.shape[:2]}."
            )
    rois, batch_ids = check_rois(function, rois_xyxy, batch_ids, len(levels[0]))
    out, bins = check_output(function, out, rois_xyxy, levels[0].shape[1], output_size_hw)
    level_ids = np.empty(len(rois), np.int32)
    assign_pyramid_levels_cpu(
        rois,
        finest_level=finest_level,
        num_levels=len(levels),
        canonical_size=canonical_size,
        canonical_level=canonical_level,
        level_ids=level_ids,
    )
    roi_align_cpu(
        levels,
        list(spatial_scales),
        rois,
        batch_ids=batch_ids,
        level_ids=level_ids,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        out=bins,
    )
    return out


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


@lru_cache(maxsize=64)
def _least_areas(
    finest_level: int, num_levels: int, canonical_size: float, canonical_level: int
) -> tuple[float, ...]:
    """Return the area in square pixels from which on a RoI is on each level."""
    return tuple(
        least_pyramid_areas_cpu(
            finest_level=finest_level,
            num_levels=num_levels,
            canonical_size=canonical_size,
            canonical_level=canonical_level,
        )
    )


def _align_on_device(
    function: str,
    features: Sequence[AnyDeviceArray],
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    layout: str,
    num_channels: int | None,
    stream: object,
    implementation: str,
    **options: Any,  # noqa: ANN401  # passed on
) -> AnyDeviceArray:
    """Align with the implementation that was asked for."""
    if len(features) > on_device.MAX_LEVELS:
        raise ValueError(
            f"{function}: `len(features)` must be at most {on_device.MAX_LEVELS} on a GPU, "
            f"got {len(features)}."
        )
    if implementation == "triton":
        align = in_triton(
            function, "roi_align", "roi_align", layout=(layout, "chw"),
            num_channels=(num_channels, None), stream=(stream, None),
        )  # fmt: skip
    else:
        align = partial(
            on_device.roi_align, layout=layout, num_channels=num_channels, stream=stream
        )
    return align(function, features, rois_xyxy, output_size_hw, **options)
