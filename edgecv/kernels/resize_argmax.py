"""From the logits of a segmentation network to a label for every pixel of the frame."""

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import resize_argmax_cpu
from edgecv.kernels.arguments import check_array, check_output
from edgecv.placement import Placement

_MAX_CLASSES = 256
_MAX_SIDE = 2**22


def resize_argmax(
    logits: NDArray[np.float32],
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
    out: NDArray[np.uint8] | None = None,
    confidence: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Return the best class of every pixel of a frame, resizing the logits as they are compared.

    Each class is interpolated bilinearly with half-pixel centres, as by
    `torch.nn.functional.interpolate(..., align_corners=False)`, and the largest wins; of equal
    classes the lowest. Labels are those of PyTorch in float32, except where the best two differ by
    less than 1e-5. The resized logits, C planes of the frame's size, are never made.

    A class with a NaN among the four logits around a pixel is smaller than every number there;
    where all classes are NaN or minus infinity the label is 0.

    Args:
        logits: (C, h, w) float32, 1 to 256 classes. The planes may be at any fraction of the
            network's input: they cover it from edge to edge.
        size_hw: height and width of the frame in pixels, 1 to 2**22 each.
        placement: how the frame lies in the network's input, as `letterbox` returns it; each pixel
            of the frame gets its label, the bars none. If None, the frame fills the input.
        out: (H, W) uint8, C-contiguous: where to write the labels instead of allocating them.
        confidence: (H, W) float32, C-contiguous: receives the softmax probability in [0, 1] of
            each pixel's label, from the interpolated logits; within 1e-5 for logits up to 30 in
            magnitude. NaN where no class has a finite logit.

    Returns:
        (H, W) uint8, `out` itself if given.

    Raises:
        ValueError: if a shape or a size is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section
        3.3: bilinear upsampling of class scores, then their maximum.

    """
    name = "resize_argmax"
    check_array(name, "logits", logits, np.float32, ("C", "h", "w"))
    num_classes, rows, columns = logits.shape
    if not 1 <= num_classes <= _MAX_CLASSES:
        raise ValueError(
            f"{name}: `logits` must hold 1 to {_MAX_CLASSES} classes, got {logits.shape}."
        )
    if not (1 <= rows <= _MAX_SIDE and 1 <= columns <= _MAX_SIDE):
        raise ValueError(f"{name}: `logits` must have sides of 1 to 2**22, got {logits.shape}.")
    height, width = size_hw
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise ValueError(f"{name}: `size_hw` must be 1 to 2**22 each, got {size_hw}.")
    if placement is None:
        placement = Placement.of((height, width), (rows, columns), "stretch")
    elif tuple(placement.frame_hw) != (height, width):
        raise ValueError(
            f"{name}: `placement` must be that of a frame of `size_hw`, {(height, width)}, got one "
            f"of {placement.frame_hw}. Pass `placement.frame_hw` as `size_hw`."
        )
    if out is None:
        out = np.empty((height, width), np.uint8)
    else:
        check_output(name, "out", out, np.uint8, (height, width))
    if confidence is not None:
        check_output(name, "confidence", confidence, np.float32, (height, width))
    scale_y, bias_y = _logits_from_frame(placement, rows, axis=0)
    scale_x, bias_x = _logits_from_frame(placement, columns, axis=1)
    resize_argmax_cpu(
        np.ascontiguousarray(logits),
        scale_yx=(scale_y, scale_x),
        bias_yx=(bias_y, bias_x),
        out=out,
        confidence=confidence,
    )
    return out


def _logits_from_frame(placement: Placement, num_logits: int, *, axis: int) -> tuple[float, float]:
    """Return scale and bias from a frame's coordinate to that of logits centred at whole numbers.

    input = frame * resized / frame_side + offset, and logits = input * num_logits / input_side.
    """
    input_side = placement.size_hw[axis]
    scale = placement.resized_hw[axis] * num_logits / (placement.frame_hw[axis] * input_side)
    bias = placement.offset_xy[1 - axis] * num_logits / input_side - 0.5
    return scale, bias
