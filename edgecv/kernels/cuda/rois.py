"""Fixed-size features of regions of interest (RoIs) on a GPU, see `edgecv.kernels.rois`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecv.kernels.arguments import check_at_least
from edgecv.kernels.cuda.arrays import (
    AnyDeviceArray,
    DeviceView,
    check_view,
    empty_like,
    stream_of,
    view_of,
)
from edgecv.kernels.cuda.native import cuda

MAX_LEVELS = 8  # that one launch takes

_LAYOUTS = ("chw", "hwc8")  # in the order of the native module, as are the dtypes
_DTYPES = (np.float32, np.float16, np.int8)
_GROUP = 8  # channels that lie side by side in "hwc8"
_ALIGNMENT = 16  # bytes


def roi_align(
    function: str,
    features: Sequence[AnyDeviceArray],
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    least_areas: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    batch_ids: AnyDeviceArray | None,
    layout: str,
    num_channels: int | None,
    out: AnyDeviceArray | None,
    stream: object,
) -> AnyDeviceArray:
    """Return the averages of the bins of each RoI, on the level of its area.

    With no `least_areas` all RoIs are on the only level. Scales and options have been checked;
    `function` is who asks, for messages.
    """
    on = stream_of(stream, features[0])
    names = ["features"] if not least_areas else [f"features[{k}]" for k in range(len(features))]
    maps = _maps(function, names, features, layout, num_channels, (np.float32, np.float16), on)
    rois = _rois(function, rois_xyxy, batch_ids, maps, on)
    out, result = _output(function, out, features[0], maps, rois, output_size_hw, on)
    cuda().roi_align(
        [
            (view.pointer, *size_hw, scale)
            for view, size_hw, scale in zip(maps.views, maps.sizes_hw, spatial_scales, strict=True)
        ],
        maps.shape,
        rois.pointer,
        rois.batch_ids,
        0,
        rois.count,
        rois.per_image,
        least_areas,
        *output_size_hw,
        sampling_ratio,
        aligned,
        result.pointer,
        maps.device,
        on,
    )
    return out


def roi_pool(
    features: AnyDeviceArray,
    rois_xyxy: AnyDeviceArray,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    batch_ids: AnyDeviceArray | None,
    layout: str,
    num_channels: int | None,
    out: AnyDeviceArray | None,
    stream: object,
) -> AnyDeviceArray:
    """Return the greatest value in the bins of each RoI; the scale has been checked."""
    function = "roi_pool"
    on = stream_of(stream, features)
    maps = _maps(function, ["features"], [features], layout, num_channels, _DTYPES, on)
    rois = _rois(function, rois_xyxy, batch_ids, maps, on)
    out, result = _output(function, out, features, maps, rois, output_size_hw, on)
    cuda().roi_pool(
        (maps.views[0].pointer, *maps.sizes_hw[0], spatial_scale),
        maps.shape,
        rois.pointer,
        rois.batch_ids,
        rois.count,
        rois.per_image,
        *output_size_hw,
        result.pointer,
        maps.device,
        on,
    )
    return out


@dataclass(frozen=True)
class _Maps:
    """The levels of a pyramid, which agree on everything but their size."""

    views: tuple[DeviceView, ...]
    sizes_hw: tuple[tuple[int, int], ...]
    batch: int
    num_channels: int
    num_lanes: int  # channels with their padding
    layout: str

    @property
    def device(self) -> int:
        return self.views[0].device

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.views[0].dtype

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, channels, and the numbers of the dtype and of the layout in the native module."""
        dtypes = [np.dtype(dtype) for dtype in _DTYPES]
        number = dtypes.index(self.dtype)
        return self.batch, self.num_channels, number, _LAYOUTS.index(self.layout)


@dataclass(frozen=True)
class _Rois:
    pointer: int
    batch_ids: int  # address, 0 for none
    count: int
    per_image: int
    leading: tuple[int, ...]  # axes of the RoIs


def _maps(
    function: str,
    names: Sequence[str],
    features: Sequence[AnyDeviceArray],
    layout: str,
    num_channels: int | None,
    dtypes: tuple[type[np.generic], ...],
    on: int,
) -> _Maps:
    """Check the levels of a pyramid."""
    is_hwc8 = layout == "hwc8"
    axes = ("H", "W", "C") if is_hwc8 else ("C", "H", "W")
    views: list[DeviceView] = []
    sizes_hw: list[tuple[int, int]] = []
    agreed: list[tuple[int, int]] = []  # images and channels
    for name, array in zip(names, features, strict=True):
        is_image = len(view_of(function, name, array).shape) == len(axes)
        view = check_view(
            function,
            name,
            array,
            views[0].dtype if views else np.float16 if is_hwc8 else dtypes,
            axes if is_image else ("B", *axes),
            device=views[0].device if views else None,
            stream=on,
        )
        batch, *sides = (1, *view.shape) if is_image else view.shape
        channels, height, width = (sides[2], *sides[:2]) if is_hwc8 else sides
        if 0 in (height, width):
            raise ValueError(f"{function}: `{name}` must have at least 1 cell, got {view.shape}.")
        agreed.append((batch, channels))
        if agreed[0] != agreed[-1]:
            raise ValueError(
                f"{function}: `{name}` must have the images and channels of `{names[0]}`, "
                f"{agreed[0]}, got {agreed[-1]}."
            )
        if is_hwc8 and (channels % _GROUP or view.pointer % _ALIGNMENT):
            raise ValueError(
                f"{function}: `{name}` must have a multiple of {_GROUP} channels and an address "
                f"that is one of {_ALIGNMENT} bytes in layout 'hwc8', got {view.shape} at "
                f"{view.pointer:#x}. Pad the channels and pass how many count as `num_channels`."
            )
        views.append(view)
        sizes_hw.append((height, width))
    batch, num_lanes = agreed[0]
    return _Maps(
        tuple(views),
        tuple(sizes_hw),
        batch,
        _num_channels(function, num_channels, num_lanes, is_padded=is_hwc8),
        num_lanes,
        layout,
    )


def _num_channels(
    function: str, num_channels: int | None, num_lanes: int, *, is_padded: bool
) -> int:
    """Return how many of the channels are not padding."""
    if num_channels is None:
        return num_lanes
    most_padding = _GROUP - 1 if is_padded else 0
    if not num_lanes - most_padding <= num_channels <= num_lanes:
        raise ValueError(
            f"{function}: `num_channels` must be in "
            f"[{max(num_lanes - most_padding, 0)}, {num_lanes}], got {num_channels}."
        )
    return num_channels


def _rois(
    function: str,
    rois_xyxy: AnyDeviceArray,
    batch_ids: AnyDeviceArray | None,
    maps: _Maps,
    on: int,
) -> _Rois:
    """Check the RoIs and the image of each."""
    batch, device = maps.batch, maps.device
    if len(view_of(function, "rois_xyxy", rois_xyxy).shape) == len(("B", "R", "4")):
        if batch_ids is not None:
            raise ValueError(
                f"{function}: `batch_ids` must be None for `rois_xyxy` of shape (B, R, 4)."
            )
        rois = check_view(
            function, "rois_xyxy", rois_xyxy, np.float32, (batch, "R", 4), device=device, stream=on
        )
        per_image = rois.shape[1]
        return _Rois(rois.pointer, 0, batch * per_image, max(per_image, 1), rois.shape[:2])
    rois = check_view(
        function, "rois_xyxy", rois_xyxy, np.float32, ("R", 4), device=device, stream=on
    )
    count = rois.shape[0]
    if batch_ids is None:
        if batch > 1:
            raise ValueError(
                f"{function}: `batch_ids` must be given for features of {batch} images, got None."
            )
        return _Rois(rois.pointer, 0, count, max(count, 1), (count,))
    ids = check_view(function, "batch_ids", batch_ids, np.int32, (count,), device=device, stream=on)
    return _Rois(rois.pointer, ids.pointer, count, max(count, 1), (count,))


def _output(
    function: str,
    out: AnyDeviceArray | None,
    like: AnyDeviceArray,
    maps: _Maps,
    rois: _Rois,
    size_hw: tuple[int, int],
    on: int,
) -> tuple[AnyDeviceArray, DeviceView]:
    """Return `out`, checked, or a new array, and where it lies."""
    check_at_least(function, "output_size_hw", min(size_hw), 1)
    bins = (*size_hw, maps.num_lanes) if maps.layout == "hwc8" else (maps.num_lanes, *size_hw)
    shape = (*rois.leading, *bins)
    if out is None:
        out = empty_like(like, shape, maps.dtype, stream=on)
    view = check_view(
        function, "out", out, maps.dtype, shape, device=maps.device, is_output=True, stream=on
    )
    if maps.layout == "hwc8" and view.pointer % _ALIGNMENT:
        raise ValueError(
            f"{function}: `out` must be at an address that is a multiple of {_ALIGNMENT} bytes "
            f"in layout 'hwc8', got {view.pointer:#x}."
        )
    return out, view
