"""The shapes of objects in COCO's format, checked: `segmentation` and `keypoints`.

Source:
    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; run lengths, compressed
    ones too, are those of COCO's mask API.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.data.checks import TOLERANCE_PX, UnusableError
from edgecv.data.segments import Polygons, RunLengths, Segment

_FEWEST_NUMBERS = 6  # of a polygon: three corners
_BITS, _SIGN, _MORE = 5, 0x10, 0x20  # of a character of compressed run lengths
_FIRST_CHARACTER = 48
_LARGEST = float(np.finfo(np.float32).max)


def segment_from_coco(value: Any, size_hw: tuple[int, int]) -> Segment | None:  # noqa: ANN401
    """Return what stands under an annotation's key `segmentation`, None where it is empty.

    Args:
        value: a list of polygons (x, y, x, y, …), or an object with `size` and `counts`.
        size_hw: the image's height and width.

    Raises:
        UnusableError: if it is neither, or does not fit the image.

    """
    if isinstance(value, list):
        return _polygons(value, size_hw) if value else None
    if isinstance(value, dict) and {"size", "counts"} <= value.keys():
        return _run_lengths(value["size"], value["counts"], size_hw)
    raise UnusableError(
        "`segmentation` must be a list of polygons or an object with `size` and `counts`, "
        f"got {_kind(value)}"
    )


def keypoints_from_coco(
    value: Any,  # noqa: ANN401
    num_keypoints: int,
    size_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """Return what stands under an annotation's key `keypoints`, (J, 3) as in `Sample`.

    Args:
        value: x, y and visibility of each, one after another; None where there is no such key,
            and then none is labelled.
        num_keypoints: J.
        size_hw: the image's height and width.

    Raises:
        UnusableError: if it is not that, or does not fit the image.

    """
    if value is None:
        return np.zeros((num_keypoints, 3), np.float32)
    if not isinstance(value, list) or len(value) != 3 * num_keypoints:
        got = f"{len(value)} entries" if isinstance(value, list) else _kind(value)
        raise UnusableError(
            f"`keypoints` must have x, y and visibility of {num_keypoints} points, got {got}"
        )
    for number in value:
        if type(number) not in {int, float} or not abs(number) <= _LARGEST:  # nor NaN
            raise UnusableError(f"`keypoints` must be finite numbers, got {number!r}")
    keypoints = np.array(value, np.float32).reshape(-1, 3)
    visibility = keypoints[:, 2]
    if not np.isin(visibility, (0, 1, 2)).all():
        got = visibility[~np.isin(visibility, (0, 1, 2))][0]
        raise UnusableError(f"visibility of a keypoint must be 0, 1 or 2, got {got:g}")
    height, width = size_hw
    x, y = keypoints[visibility > 0, :2].T
    beyond = np.maximum.reduce([-x, -y, x - width, y - height])
    if (beyond > TOLERANCE_PX).any():
        worst = beyond.argmax()
        raise UnusableError(
            f"keypoint must lie inside the image of {width}x{height}, "
            f"got ({x[worst]:g}, {y[worst]:g})"
        )
    return keypoints


def _polygons(rings: list[Any], size_hw: tuple[int, int]) -> Polygons:
    for ring in rings:
        if not isinstance(ring, list):
            raise UnusableError(f"each polygon must be a list of numbers, got {_kind(ring)}")
        if len(ring) < _FEWEST_NUMBERS or len(ring) % 2:
            raise UnusableError(
                f"each polygon must have x and y of at least 3 corners, got {len(ring)} numbers"
            )
        for number in ring:
            if type(number) not in {int, float} or not abs(number) <= _LARGEST:  # nor NaN
                raise UnusableError(f"each polygon must have finite numbers, got {number!r}")
    corners_xy = np.array([number for ring in rings for number in ring], np.float64).reshape(-1, 2)
    height, width = size_hw
    beyond = np.maximum(-corners_xy, corners_xy - (width, height)).max(axis=1)
    if beyond.max() > TOLERANCE_PX:
        x, y = corners_xy[beyond.argmax()]
        raise UnusableError(
            f"polygon must lie inside the image of {width}x{height}, got the corner ({x:g}, {y:g})"
        )
    return Polygons(corners_xy, np.array([len(ring) // 2 for ring in rings], np.int32))


def _run_lengths(size: Any, counts: Any, size_hw: tuple[int, int]) -> RunLengths:  # noqa: ANN401
    height, width = size_hw
    if size != [height, width]:
        raise UnusableError(
            f"`segmentation.size` must be the image's height and width, [{height}, {width}], "
            f"got {size!r}"
        )
    if isinstance(counts, str):
        counts = _uncompressed(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise UnusableError(
            "`segmentation.counts` must be a list of whole numbers of at least 0, or COCO's "
            f"compressed string, got {_kind(counts)} that is neither"
        )
    if sum(counts) != height * width:
        raise UnusableError(
            f"`segmentation.counts` must add up to the image's {height * width} pixels, "
            f"got {sum(counts)}"
        )
    return RunLengths(np.array(counts, np.int64), size_hw)


def _uncompressed(text: str) -> list[int]:
    """Return the run lengths in COCO's compressed form.

    A character holds five bits, the lowest first, and whether more follow; from the fourth number
    on, each is the difference from the one two before it.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _FIRST_CHARACTER
        if not 0 <= bits < 2 * _MORE:
            raise UnusableError(
                f"`segmentation.counts` must hold characters of COCO's code, got {character!r}"
            )
        value |= (bits & (_MORE - 1)) << shift
        shift += _BITS
        if not bits & _MORE:
            if bits & _SIGN:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))  # noqa: PLR2004
            value = shift = 0
    if shift:
        raise UnusableError("`segmentation.counts` must end with a whole number, got a part of one")
    return counts


def _kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a string", type(None): "null"}
    return names.get(type(value), repr(value))
