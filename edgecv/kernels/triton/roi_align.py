"""Triton implementation of `roi_align` and `roi_align_pyramid` of `edgecv.kernels`, in one launch.

A program takes the bins of one RoI for a block of channels, on the level that it finds itself: what
depends on a bin only, the positions and weights of its samples, is computed once for all channels.

Positions are computed in the order of kernels/roi_align/roi_align.h, without fused operations: how
they round decides whether a sample on the border counts.
"""

from collections.abc import Sequence
from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgecv.kernels.arguments import check_at_least
from edgecv.kernels.triton.arguments import check_tensor, output
from edgecv.kernels.triton.tuples import element_at

# Channels times bins: 8 for each thread of 4 warps, four loads each under way.
_BLOCK = 1024
_MAX_BIN_BLOCK = 64  # 7 x 7 bins in one
_NUM_WARPS = 4
_FAR_CELLS = tl.constexpr(2.0**30)
# Up to so many samples are visited one by one, whether they are inside or not. A bin of more is
# larger than most maps, and to search for those inside is worth the time.
_FEW_SAMPLES = tl.constexpr(64)


def roi_align(
    function: str,
    features: Sequence[Tensor],
    rois_xyxy: Tensor,
    output_size_hw: tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    least_areas: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    batch_ids: Tensor | None,
    out: Tensor | None,
) -> Tensor:
    """Return the averages of the bins of each RoI, on the level of its area.

    With no `least_areas` all RoIs are on the only level; a RoI whose image is not there gives 0.
    Scales and options have been checked; nothing waits for the device.

    Args:
        function: who asks, for messages.
        features: (C, Hi, Wi) or (B, C, Hi, Wi) float32 or float16 each, all of one dtype, finest
            first, at least one cell. Contiguous or all channels-last, which is faster; what is
            neither is copied first.
        rois_xyxy: (R, 4) or (B, R, 4) float32, x1, y1, x2, y2 in pixels of the image.
        output_size_hw: number of bins, at least 1 each.
        spatial_scales: cells per pixel of each level.
        least_areas: in pixels², of each level: from which on a RoI is on it; see above if empty.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin is cells long.
        aligned: whether the centre of the first cell is at half a cell.
        batch_ids: (R,) int32, the image of each RoI; None if B is 1 or RoIs are (B, R, 4).
        out: (R, C, *output_size_hw) or (B, R, C, *output_size_hw) of the features' dtype,
            contiguous: where to write the result; None for a new one.

    Returns:
        `out` or the new tensor, summed in float32.

    Raises:
        ValueError: if a shape or a device is not as described.
        TypeError: if a tensor has another dtype; nothing is converted silently.

    Source:
        See `edgecv.kernels.roi_align` and `edgecv.kernels.roi_align_pyramid`.

    """
    levels = _levels(function, features, is_pyramid=len(least_areas) > 0)
    batch, channels, device = *levels[0].shape[:2], levels[0].device
    is_by_image = getattr(rois_xyxy, "ndim", 0) == len(("B", "R", "4"))
    wanted = (batch, "R", 4) if is_by_image else ("R", 4)
    check_tensor(function, "rois_xyxy", rois_xyxy, (torch.float32,), wanted, device)
    *leading, _ = rois_xyxy.shape
    if batch_ids is not None:
        if is_by_image:
            raise ValueError(
                f"{function}: `batch_ids` must be None for `rois_xyxy` of shape (B, R, 4)."
            )
        check_tensor(function, "batch_ids", batch_ids, (torch.int32,), tuple(leading), device)
        batch_ids = batch_ids.contiguous()
    elif batch > 1 and not is_by_image:
        raise ValueError(
            f"{function}: `batch_ids` must be given for features of {batch} images, got None."
        )
    bins_h, bins_w = output_size_hw
    check_at_least(function, "output_size_hw", min(bins_h, bins_w), 1)
    shape = (*leading, channels, bins_h, bins_w)
    out = output(function, "out", out, levels[0].dtype, shape, device)
    if out.numel() == 0:
        return out

    channels_last = all(
        level.is_contiguous(memory_format=torch.channels_last) for level in levels
    ) and not all(level.is_contiguous() for level in levels)
    if not channels_last:
        levels = [level.contiguous() for level in levels]
    bin_block = min(triton.next_power_of_2(bins_h * bins_w), _MAX_BIN_BLOCK)
    channel_block = min(triton.next_power_of_2(channels), _BLOCK // bin_block)
    grid = (
        prod(leading),
        triton.cdiv(channels, channel_block),
        triton.cdiv(bins_h * bins_w, bin_block),
    )
    with torch.cuda.device_of(out):  # Triton launches on the current device
        _roi_align_kernel[grid](
            tuple(levels),
            tuple(level.shape[2] for level in levels),
            tuple(level.shape[3] for level in levels),
            tuple(float(scale) for scale in spatial_scales),
            tuple(least_areas),
            batch,
            channels,
            rois_xyxy.contiguous(),
            leading[-1],
            batch_ids,
            out,
            sampling_ratio,
            aligned,
            channels_last,
            bins_h,
            bins_w,
            channel_block,
            bin_block,
            num_warps=_NUM_WARPS,
            enable_fp_fusion=False,
        )
    return out


def _levels(function: str, features: Sequence[Tensor], *, is_pyramid: bool) -> list[Tensor]:
    """Return the levels as (B, C, H, W), checked."""
    levels: list[Tensor] = []
    for k, tensor in enumerate(features):
        name = f"features[{k}]" if is_pyramid else "features"
        is_image = getattr(tensor, "ndim", 0) == len(("C", "H", "W"))
        wanted = ("C", "H", "W") if is_image else ("B", "C", "H", "W")
        dtypes = (levels[0].dtype,) if levels else (torch.float32, torch.float16)
        check_tensor(function, name, tensor, dtypes, wanted, levels[0].device if levels else None)
        if 0 in tensor.shape[-2:]:
            raise ValueError(
                f"{function}: `{name}` must have at least 1 cell, got {tuple(tensor.shape)}."
            )
        levels.append(tensor[None] if is_image else tensor)
        agreed, found = levels[0].shape[:2], levels[-1].shape[:2]
        if found != agreed:
            raise ValueError(
                f"{function}: `{name}` must have the images and channels of `features[0]`, "
                f"{tuple(agreed)}, got {tuple(found)}."
            )
    return levels


@triton.jit
def _bin_sizes(start, end, NUM_BINS: tl.constexpr, RATIO: tl.constexpr, ALIGNED: tl.constexpr):
    """Return the size in cells of the bins along one axis of a RoI, and the samples of each."""
    size = end - start
    if not ALIGNED:
        size = tl.maximum(size, 1.0)
    bin_size = tl.div_rn(size, NUM_BINS * 1.0)
    adaptive = tl.ceil(tl.maximum(bin_size, 0.0)).to(tl.int32)
    return bin_size, RATIO if RATIO > 0 else adaptive


@triton.jit
def _position(bin_start, bin_size, num_samples, index):
    """Return the position of samples, in cells; it never turns back as the index rises."""
    return bin_start + tl.div_rn((index.to(tl.float32) + 0.5) * bin_size, num_samples * 1.0)


@triton.jit
def _count_samples(bin_start, bin_size, num_samples, limit, INCLUSIVE: tl.constexpr):
    """Return how many samples of each bin come before `limit` on their way, or at most at it."""
    low = tl.zeros_like(bin_start).to(tl.int32)
    high = low + num_samples
    way = tl.where(bin_size >= 0.0, 1.0, -1.0)
    for _ in range(31):  # halves of 2**31
        middle = low + (high - low) // 2
        ahead = (limit - _position(bin_start, bin_size, num_samples, middle)) * way
        is_before = ahead >= 0.0 if INCLUSIVE else ahead > 0.0
        is_open = low < high
        low = tl.where(is_open & is_before, middle + 1, low)
        high = tl.where(is_open & ~is_before, middle, high)
    return low


@triton.jit
def _samples_inside(bin_start, bin_size, num_samples, extent):
    """Return the first sample of each bin to visit, the end of them, and the most of a bin.

    Of many samples only those inside the map are visited: what a RoI costs is bounded by the map.
    """
    begin = tl.zeros_like(bin_start).to(tl.int32)
    end = begin + num_samples
    most = num_samples
    if num_samples > _FEW_SAMPLES:
        enters = tl.where(bin_size >= 0.0, -1.0, extent)
        leaves = tl.where(bin_size >= 0.0, extent, -1.0)
        begin = _count_samples(bin_start, bin_size, num_samples, enters, INCLUSIVE=False)
        end = _count_samples(bin_start, bin_size, num_samples, leaves, INCLUSIVE=True)
        most = tl.max(end - begin, axis=0)
    return begin, end, most


@triton.jit
def _taps(position, extent):
    """Return the two cells around positions along an axis and the weight of each.

    The weights are 0 where a position is more than a cell outside the outer cells' centres.
    """
    is_inside = (position >= -1.0) & (position <= extent)
    clamped = tl.minimum(tl.maximum(position, 0.0), extent - 1.0)
    low = clamped.to(tl.int32)
    share = clamped - low.to(tl.float32)
    weight_low = tl.where(is_inside, 1.0 - share, 0.0)
    return low, low + 1, weight_low, tl.where(is_inside, share, 0.0)


@triton.jit
def _add_cells(sum_, row_ptrs, column_offset, weight, is_channel):
    """Add the cells of one corner of all samples; one of weight 0 is not read."""
    weight = weight[None, :]
    mask = is_channel[:, None] & (weight > 0.0)
    cells = tl.load(row_ptrs + column_offset[None, :], mask=mask, other=0.0)
    return tl.fma(tl.broadcast_to(weight, sum_.shape), cells.to(tl.float32), sum_)


@triton.jit
def _level_of_roi(area, least_areas):
    """Return the level that suits the size of a RoI, -1 for none."""
    level = tl.zeros((), tl.int32)
    for k in tl.static_range(1, len(least_areas)):
        level += (area >= least_areas[k]).to(tl.int32)
    if len(least_areas) > 0:
        level = tl.where(area >= 0.0, level, -1)  # NaN is not
    return level


# Levels of other sizes do not need another kernel; numbers of channels align what is read.
@triton.jit(do_not_specialize=["heights", "widths", "batch", "rois_per_image"])
def _roi_align_kernel(
    levels, heights, widths, scales, least_areas, batch, channels,
    rois_ptr, rois_per_image, batch_ids_ptr, out_ptr,
    RATIO: tl.constexpr, ALIGNED: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    BINS_H: tl.constexpr, BINS_W: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr, BIN_BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute a block of the bins of one RoI, for a block of channels."""
    roi = tl.program_id(0).to(tl.int64)
    x1, y1 = tl.load(rois_ptr + 4 * roi + 0), tl.load(rois_ptr + 4 * roi + 1)
    x2, y2 = tl.load(rois_ptr + 4 * roi + 2), tl.load(rois_ptr + 4 * roi + 3)
    if batch_ids_ptr is not None:
        image = tl.load(batch_ids_ptr + roi)
    else:
        image = tl.program_id(0) // rois_per_image
    exists = (image >= 0) & (image < batch)

    level = _level_of_roi((x2 - x1) * (y2 - y1), least_areas)
    exists &= level >= 0
    features_ptr, scale = element_at(levels, level), element_at(scales, level)
    height, width = element_at(heights, level), element_at(widths, level)

    offset = 0.5 if ALIGNED else 0.0
    x1, y1 = x1 * scale - offset, y1 * scale - offset
    x2, y2 = x2 * scale - offset, y2 * scale - offset
    exists &= (tl.abs(x1) < _FAR_CELLS) & (tl.abs(y1) < _FAR_CELLS)  # not NaN
    exists &= (tl.abs(x2) < _FAR_CELLS) & (tl.abs(y2) < _FAR_CELLS)
    # A RoI that lies nowhere becomes one without samples.
    x1, y1 = tl.where(exists, x1, 0.0), tl.where(exists, y1, 0.0)
    x2, y2 = tl.where(exists, x2, 0.0), tl.where(exists, y2, 0.0)
    image = tl.where(exists, image, 0)
    bin_h, samples_y = _bin_sizes(y1, y2, BINS_H, RATIO, ALIGNED)
    bin_w, samples_x = _bin_sizes(x1, x2, BINS_W, RATIO, ALIGNED)
    samples_y = tl.where(exists, samples_y, 0)

    place = tl.program_id(2) * BIN_BLOCK + tl.arange(0, BIN_BLOCK)
    is_bin = place < BINS_H * BINS_W
    start_y = y1 + (place // BINS_W).to(tl.float32) * bin_h
    start_x = x1 + (place % BINS_W).to(tl.float32) * bin_w
    extent_y, extent_x = height * 1.0, width * 1.0
    first_y, end_y, most_y = _samples_inside(start_y, bin_h, samples_y, extent_y)
    first_x, end_x, most_x = _samples_inside(start_x, bin_w, samples_x, extent_x)

    # int64: an image of a level may have 2**31 elements, and a batch more.
    channel = tl.program_id(1) * CHANNEL_BLOCK + tl.arange(0, CHANNEL_BLOCK)
    cells = height.to(tl.int64) * width
    if CHANNELS_LAST:
        channel_stride, column_stride = 1, channels
    else:
        channel_stride, column_stride = cells, 1
    is_channel = channel < channels
    features_ptr += image.to(tl.int64) * channels * cells
    channel_ptrs = features_ptr + (channel.to(tl.int64) * channel_stride)[:, None]
    row_stride = width.to(tl.int64) * column_stride
    sum_ = tl.zeros((CHANNEL_BLOCK, BIN_BLOCK), tl.float32)
    for i in range(most_y):
        y = _position(start_y, bin_h, samples_y, first_y + i)
        top, bottom, weight_top, weight_bottom = _taps(y, extent_y)
        is_sample = is_bin & (first_y + i < end_y)
        weight_top = tl.where(is_sample, weight_top, 0.0)
        weight_bottom = tl.where(is_sample, weight_bottom, 0.0)
        top_ptrs = channel_ptrs + (top * row_stride)[None, :]
        bottom_ptrs = channel_ptrs + (bottom * row_stride)[None, :]
        for j in range(most_x):
            x = _position(start_x, bin_w, samples_x, first_x + j)
            left, right, weight_left, weight_right = _taps(x, extent_x)
            is_sample = first_x + j < end_x
            weight_left = tl.where(is_sample, weight_left, 0.0)
            weight_right = tl.where(is_sample, weight_right, 0.0)
            left, right = left.to(tl.int64) * column_stride, right.to(tl.int64) * column_stride
            sum_ = _add_cells(sum_, top_ptrs, left, weight_top * weight_left, is_channel)
            sum_ = _add_cells(sum_, top_ptrs, right, weight_top * weight_right, is_channel)
            sum_ = _add_cells(sum_, bottom_ptrs, left, weight_bottom * weight_left, is_channel)
            sum_ = _add_cells(sum_, bottom_ptrs, right, weight_bottom * weight_right, is_channel)

    # float: the product of two numbers of samples may exceed 2**31.
    total = tl.maximum(samples_y * 1.0, 1.0) * tl.maximum(samples_x * 1.0, 1.0)
    mean = sum_ / total
    bins = BINS_H * BINS_W
    target = (roi * channels + channel.to(tl.int64))[:, None] * bins + place[None, :]
    mask = is_channel[:, None] & is_bin[None, :]
    tl.store(out_ptr + target, mean.to(out_ptr.dtype.element_ty), mask=mask)
