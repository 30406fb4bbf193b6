"""Logits of a segmentation network: what every implementation of `resize_argmax` asks of them."""

from edgecv.placement import Placement

_MAX_CLASSES = 256
_MAX_SIDE = 2**22  # a float32 holds every pixel's centre


def check_logits(function: str, shape_chw: tuple[int, int, int], shape: tuple[int, ...]) -> None:
    """Refuse too many classes and sides that are too long; `shape` is the array's, for messages."""
    num_classes, rows, columns = shape_chw
    if not 1 <= num_classes <= _MAX_CLASSES:
        raise ValueError(
            f"{function}: `logits` must hold 1 to {_MAX_CLASSES} classes, got {shape}."
        )
    if not (1 <= rows <= _MAX_SIDE and 1 <= columns <= _MAX_SIDE):
        raise ValueError(f"{function}: `logits` must have sides of 1 to 2**22, got {shape}.")


def check_frame(function: str, size_hw: tuple[int, int], placement: Placement | None) -> None:
    """Refuse a frame that is empty or too large, and the placement of another one."""
    height, width = size_hw
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise ValueError(f"{function}: `size_hw` must be 1 to 2**22 each, got {size_hw}.")
    if placement is not None and tuple(placement.frame_hw) != (height, width):
        raise ValueError(
            f"{function}: `placement` must be that of a frame of `size_hw`, {(height, width)}, got "
            f"one of {placement.frame_hw}. Pass `placement.frame_hw` as `size_hw`."
        )


def logits_from_frame(
    placement: Placement | None, size_hw: tuple[int, int], logits_hw: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return scales and biases, y first, from the frame's coordinates to those of the logits.

    The logits are centred at whole numbers and cover the network's input from edge to edge:
    input = frame * resized / frame_side + offset, and logits = input * num_logits / input_side.
    """
    if placement is None:
        placement = Placement.of(size_hw, logits_hw, "stretch")
    scale_y, bias_y = _map_of_axis(placement, logits_hw[0], axis=0)
    scale_x, bias_x = _map_of_axis(placement, logits_hw[1], axis=1)
    return (scale_y, scale_x), (bias_y, bias_x)


def _map_of_axis(placement: Placement, num_logits: int, *, axis: int) -> tuple[float, float]:
    input_side = placement.size_hw[axis]
    scale = placement.resized_hw[axis] * num_logits / (placement.frame_hw[axis] * input_side)
    bias = placement.offset_xy[1 - axis] * num_logits / input_side - 0.5
    return scale, bias
