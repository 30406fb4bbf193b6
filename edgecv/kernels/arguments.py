"""Checks of the operators' arguments, each with the message that names what was wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Side = int | str  # a string is any length
Shape = tuple[Side, ...]


def check_array(
    function: str, name: str, array: NDArray[Any], dtype: type[np.generic], shape: Shape
) -> None:
    """Refuse what is not a NumPy array of `dtype` and `shape`; a string in `shape` is any length.

    Raises:
        TypeError: for another type or dtype; nothing is converted silently.
        ValueError: for another shape.

    """
    if not isinstance(array, np.ndarray):
        expected = np.dtype(dtype).name  # costs more than the rest of the check
        raise TypeError(
            f"{function}: `{name}` must be a NumPy array, got {type(array).__name__}. "
            f"Convert it with `np.asarray({name}, np.{expected})`."
        )
    if array.dtype != dtype:
        expected = np.dtype(dtype).name
        raise TypeError(
            f"{function}: `{name}` must be {expected}, got {array.dtype}. "
            f"Convert it with `{name}.astype(np.{expected})`."
        )
    check_shape(function, name, array.shape, shape)


def check_shape(function: str, name: str, found: tuple[int, ...], shape: Shape) -> None:
    """Refuse an array of another shape than `shape`; a string there is any length."""
    fits = len(found) == len(shape) and all(
        isinstance(wanted, str) or side == wanted for side, wanted in zip(found, shape, strict=True)
    )
    if not fits:
        inside = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{function}: `{name}` must have shape ({inside}), got {found}.")


def check_output(
    function: str, name: str, array: NDArray[Any], dtype: type[np.generic], shape: Shape
) -> None:
    """Refuse what `check_array` refuses and an array that cannot be written row after row.

    Raises:
        TypeError: for another type or dtype.
        ValueError: for another shape, or a view that is not C-contiguous and writeable.

    """
    check_array(function, name, array, dtype, shape)
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise ValueError(
            f"{function}: `{name}` must be C-contiguous and writeable, got a view that is not. "
            f"Allocate it with `np.empty({array.shape}, np.{np.dtype(dtype).name})`."
        )


def check_fraction(function: str, name: str, value: float) -> None:
    """Refuse a threshold that is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{function}: `{name}` must be in [0, 1], got {value}.")


def check_at_least(function: str, name: str, value: int, least: int) -> None:
    """Refuse a number that is smaller than `least`."""
    if value < least:
        raise ValueError(f"{function}: `{name}` must be at least {least}, got {value}.")


def check_positive(function: str, name: str, value: float) -> None:
    """Refuse a number that is not positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{function}: `{name}` must be positive and finite, got {value}.")


def check_choice(function: str, name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is not one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"{function}: `{name}` must be one of {', '.join(choices)}, got {value!r}."
        )


def check_scored_boxes(
    function: str,
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None,
) -> int:
    """Refuse anything but (N, 4) float32 boxes, N float32 scores and int32 ids; return N."""
    check_array(function, "boxes_xyxy", boxes_xyxy, np.float32, ("N", 4))
    count = len(boxes_xyxy)
    check_array(function, "scores", scores, np.float32, (count,))
    if class_ids is not None:
        check_array(function, "class_ids", class_ids, np.int32, (count,))
    return count


def check_masks(function: str, masks: NDArray[np.float32], boxes_xyxy: NDArray[np.float32]) -> None:
    """Refuse anything but square float32 masks, (N, M, M), with a box for each."""
    check_array(function, "masks", masks, np.float32, ("N", "M", "M"))
    side = masks.shape[1]
    if masks.shape[2] != side or side == 0:
        raise ValueError(
            f"{function}: `masks` must be squares of at least 1 pixel, got {masks.shape}."
        )
    check_array(function, "boxes_xyxy", boxes_xyxy, np.float32, (len(masks), 4))
