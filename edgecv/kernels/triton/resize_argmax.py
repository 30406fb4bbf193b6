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


def resize_argmax(
    logits: Tensor,
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return the best class of every pixel of each frame, resizing the logits as they are compared.

    Args:
        logits: (B, C, h, w) float32 or float16, 1 to 256 classes, sides of 1 to 2**22, any strides.
        size_hw: height and width of the frames in pixels, 1 to 2**22 each.
        placement: how the frames lie in the network's input; if None, they fill it.
        out: (B, H, W) uint8, contiguous: where to write the labels instead of allocating them.

    Returns:
        (B, H, W) uint8, `out` itself if given; nothing waits for the device.

    Raises:
        ValueError: if a shape, a size or a device is not as described.
        TypeError: if a tensor has another dtype; nothing is converted silently.

    Source:
        See `edgecv.kernels.resize_argmax`.

    """
    function = "resize_argmax"
    check_tensor(function, "logits", logits, (torch.float32, torch.float16), ("B", "C", "h", "w"))
    batch, num_classes, rows, columns = shape = tuple(logits.shape)
    height, width = size_hw
    check_logits(function, (num_classes, rows, columns), shape)
    check_frame(function, (height, width), placement)
    out = output(function, "out", out, torch.uint8, (batch, height, width), logits.device)
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
                logits, *logits.stride(), num_classes, rows, columns, out, height, width,
                scale_y, bias_y, scale_x, bias_x, num_tiles, tiles_x, block_h, block_w,
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


# Only what lets addresses be computed together is worth another kernel: strides, and the width.
@triton.jit(do_not_specialize=["num_classes", "rows", "columns", "height", "num_tiles", "tiles_x"])
def _resize_argmax_kernel(
    logits_ptr, image_stride, class_stride, row_stride, column_stride, num_classes, rows, columns,
    out_ptr, height, width, scale_y, bias_y, scale_x, bias_x, num_tiles, tiles_x,
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
        upper_left = tl.load(plane_ptr + upper + left).to(tl.float32)
        upper_right = tl.load(plane_ptr + upper + right).to(tl.float32)
        lower_left = tl.load(plane_ptr + lower + left).to(tl.float32)
        lower_right = tl.load(plane_ptr + lower + right).to(tl.float32)
        above = upper_left * (1.0 - weight_x) + upper_right * weight_x
        below = lower_left * (1.0 - weight_x) + lower_right * weight_x
        value = above + (below - above) * weight_y
        is_better = value > best  # false for NaN, and for an equal value of a later class
        best = tl.where(is_better, value, best)
        label = tl.where(is_better, class_id, label)
        plane_ptr += class_stride

    pixel = image * height * width + y.to(tl.int64)[:, None] * width + x[None, :]
    exists = (y < height)[:, None] & (x < width)[None, :]
    tl.store(out_ptr + pixel, label.to(tl.uint8), mask=exists)
