"""Triton implementation of `edgecv.kernels.resize_argmax`, see there for the contract."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgecv.kernels.logits import check_frame, check_logits, logits_from_frame
from edgecv.kernels.triton.arguments import check_tensor, output
from edgecv.placement import Placement

# Pixels of a program: two for each thread of 4 warps, 8 logits under way in few registers, so that
# many warps hide each other's waiting. Neighbours along a row lie between the same logits mostly,
# and a warp's loads fall together.
_BLOCK_HW = (2, 128)
_NUM_WARPS = 4
# The exponential of less does not count beside 1, that of the best class.
_LEAST_EXPONENT = tl.constexpr(-87.0)


def resize_argmax(
    logits: Tensor,
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
    out: Tensor | None = None,
    confidence: Tensor | None = None,
) -> Tensor:
    """Return the best class of every pixel of each frame, resizing the logits as they are compared.

    Args:
        logits: (C, h, w) or (B, C, h, w) float32 or float16, 1 to 256 classes, sides of 1 to 2**22,
            any strides.
        size_hw: height and width of the frames in pixels, 1 to 2**22 each.
        placement: how the frames lie in the network's input; if None, they fill it.
        out: (H, W) or (B, H, W) uint8, contiguous: where to write the labels instead of allocating
            them.
        confidence: float32 of the same shape, contiguous: receives the probability of each pixel's
            label, for which the logits are read twice; None if that is not wanted.

    Returns:
        (H, W) or (B, H, W) uint8, `out` itself if given; nothing waits for the device.

    Raises:
        ValueError: if a shape, a size or a device is not as described.
        TypeError: if a tensor has another dtype; nothing is converted silently.

    Source:
        See `edgecv.kernels.resize_argmax`.

    """
    function = "resize_argmax"
    is_image = getattr(logits, "ndim", 0) == len(("C", "h", "w"))
    wanted = ("C", "h", "w") if is_image else ("B", "C", "h", "w")
    check_tensor(function, "logits", logits, (torch.float32, torch.float16), wanted)
    images = logits[None] if is_image else logits
    batch, num_classes, rows, columns = images.shape
    height, width = size_hw
    check_logits(function, (num_classes, rows, columns), tuple(logits.shape))
    check_frame(function, (height, width), placement)
    shape = (*logits.shape[:-3], height, width)
    out = output(function, "out", out, torch.uint8, shape, logits.device)
    if confidence is not None:
        output(function, "confidence", confidence, torch.float32, shape, logits.device)
    (scale_y, scale_x), (bias_y, bias_x) = logits_from_frame(
        placement, (height, width), (rows, columns)
    )
    block_h, block_w = _BLOCK_HW
    tiles_x = triton.cdiv(width, block_w)
    num_tiles = tiles_x * triton.cdiv(height, block_h)
    if batch > 0:
        with torch.cuda.device_of(logits):  # Triton launches on the current device
            # Images on the first axis of the grid too: the others end at 65535.
            _resize_argmax_kernel[(batch * num_tiles,)](
                logits, *images.stride(), num_classes, rows, columns, out, confidence, height,
                width, scale_y, bias_y, scale_x, bias_x, num_tiles, tiles_x, block_h, block_w,
                num_warps=_NUM_WARPS,
            )  # fmt: skip
    return out


@triton.jit
def _taps(index, scale, bias, side):
    """Return the two logits between which pixels lie along an axis, and the second one's weight."""
    position = (index.to(tl.float32) + 0.5) * scale + bias
    position = tl.minimum(tl.maximum(position, 0.0), side - 1.0)
    low = position.to(tl.int32)
    return low, tl.minimum(low + 1, side - 1), position - low.to(tl.float32)


@triton.jit
def _value(plane_ptr, upper, lower, left, right, weight_y, weight_x):
    """Return one class of all pixels: interpolated along the rows, then between them."""
    upper_left = tl.load(plane_ptr + upper + left).to(tl.float32)
    upper_right = tl.load(plane_ptr + upper + right).to(tl.float32)
    lower_left = tl.load(plane_ptr + lower + left).to(tl.float32)
    lower_right = tl.load(plane_ptr + lower + right).to(tl.float32)
    above = upper_left * (1.0 - weight_x) + upper_right * weight_x
    below = lower_left * (1.0 - weight_x) + lower_right * weight_x
    return above + (below - above) * weight_y


# Only what lets addresses be computed together is worth another kernel: strides, and the width.
@triton.jit(do_not_specialize=["num_classes", "rows", "columns", "height", "num_tiles", "tiles_x"])
def _resize_argmax_kernel(
    logits_ptr, image_stride, class_stride, row_stride, column_stride, num_classes, rows, columns,
    out_ptr, confidence_ptr, height, width, scale_y, bias_y, scale_x, bias_x, num_tiles, tiles_x,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """Label a tile of one frame."""
    image = (tl.program_id(0) // num_tiles).to(tl.int64)
    tile = tl.program_id(0) % num_tiles
    y = tile // tiles_x * BLOCK_H + tl.arange(0, BLOCK_H)
    x = tile % tiles_x * BLOCK_W + tl.arange(0, BLOCK_W)
    # Pixels past the edge are clamped to the last logit: what they read exists.
    top, bottom, weight_y = _taps(y, scale_y, bias_y, rows)
    left, right, weight_x = _taps(x, scale_x, bias_x, columns)
    weight_y, weight_x = weight_y[:, None], weight_x[None, :]

    # int64: 256 classes of large sides, or many images, exceed 2**31 elements.
    upper = top.to(tl.int64)[:, None] * row_stride
    lower = bottom.to(tl.int64)[:, None] * row_stride
    left = left.to(tl.int64)[None, :] * column_stride
    right = right.to(tl.int64)[None, :] * column_stride

    plane_ptr = logits_ptr + image * image_stride
    best = tl.full((BLOCK_H, BLOCK_W), float("-inf"), tl.float32)
    label = tl.zeros((BLOCK_H, BLOCK_W), tl.int32)
    for class_id in range(num_classes):
        value = _value(plane_ptr, upper, lower, left, right, weight_y, weight_x)
        is_better = value > best  # false for NaN, and for an equal value of a later class
        best = tl.where(is_better, value, best)
        label = tl.where(is_better, class_id, label)
        plane_ptr += class_stride

    pixel = image * height * width + y.to(tl.int64)[:, None] * width + x[None, :]
    exists = (y < height)[:, None] & (x < width)[None, :]
    tl.store(out_ptr + pixel, label.to(tl.uint8), mask=exists)

    if confidence_ptr is not None:
        plane_ptr = logits_ptr + image * image_stride
        total = tl.zeros((BLOCK_H, BLOCK_W), tl.float32)
        for _ in range(num_classes):
            exponent = _value(plane_ptr, upper, lower, left, right, weight_y, weight_x) - best
            counts = exponent > _LEAST_EXPONENT  # not NaN
            total += tl.where(counts, tl.exp(exponent), 0.0)
            plane_ptr += class_stride
        is_finite = best - best == 0.0
        tl.store(
            confidence_ptr + pixel, tl.where(is_finite, 1.0 / total, float("nan")), mask=exists
        )
