"""Maxima of regions of interest (RoIs): from feature maps and boxes to bins."""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import roi_pool_cpu
from edgecv.kernels.arguments import check_positive
from edgecv.kernels.cuda import rois as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
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


@overload
def roi_pool(
    features: Floats,
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    batch_ids: Ints | None = None,
    out: Floats | None = None,
) -> Floats: ...
@overload
def roi_pool(
    features: AnyDeviceArray,
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    batch_ids: AnyDeviceArray | None = None,
    layout: Layout = "chw",
    num_channels: int | None = None,
    out: AnyDeviceArray | None = None,
    stream: object = None,
) -> AnyDeviceArray: ...
def roi_pool(
    features: AnyDeviceArray,
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    batch_ids: AnyDeviceArray | None = None,
    layout: Layout = "chw",
    num_channels: int | None = None,
    out: AnyDeviceArray | None = None,
    stream: object = None,
) -> AnyDeviceArray:
    """Return the greatest value in the bins of each region of interest.

    The corners of a RoI are scaled and rounded to cells, halves away from 0; it spans both corner
    cells. Bins take the cells that they touch, so that neighbours may share some. The results are
    those of `torchvision.ops.roi_pool`, bit for bit.

    Args:
        features: as for `roi_align`; on a GPU in layout "chw" also int8, quantised with the scale
            that the result is to have. NaN is greater than nothing: a bin of nothing but NaN or
            -inf gives the lowest finite float32, -inf as float16.
        rois_xyxy: as for `roi_align`. A RoI whose corners are inverted spans one cell.
        output_size_hw: as for `roi_align`. A bin outside the map gives 0.
        spatial_scale: as for `roi_align`.
        batch_ids: as for `roi_align`.
        layout: as for `roi_align`.
        num_channels: as for `roi_align`.
        out: as for `roi_align`.
        stream: as for `roi_align`.

    Returns:
        (R, C, *output_size_hw) of the features' dtype, C-contiguous, `out` itself if given.

    Raises:
        ValueError: if a shape, an image id or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, section 2.1.

    """
    function = "roi_pool"
    check_positive(function, "spatial_scale", spatial_scale)
    check_layout(function, layout)
    if is_on_device(features):
        return on_device.roi_pool(
            features,
            rois_xyxy,
            output_size_hw,
            spatial_scale=spatial_scale,
            batch_ids=batch_ids,
            layout=layout,
            num_channels=num_channels,
            out=out,
            stream=stream,
        )
    check_options_of_the_processor(function, layout, num_channels)
    maps = check_maps(function, "features", features)
    rois, batch_ids = check_rois(function, rois_xyxy, batch_ids, len(maps))
    out, bins = check_output(function, out, rois_xyxy, maps.shape[1], output_size_hw)
    roi_pool_cpu(maps, spatial_scale, rois, batch_ids=batch_ids, out=bins)
    return out
