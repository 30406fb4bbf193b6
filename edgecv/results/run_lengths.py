"""Masks as COCO's compressed run lengths."""

import numpy as np
from numpy.typing import NDArray

_BITS = 5  # of a number in one character
_NUM_CHARACTERS = 8  # that a number needs at most: 40 bits, more than a mask has pixels
_FIRST_CHARACTER = 48
_NUM_WHOLE = 3  # lengths that stand there as they are


def compressed_run_lengths(mask: NDArray[np.bool_]) -> str:
    """Return the `counts` of a mask as `pycocotools.mask.encode` writes them.

    They are the lengths of the runs down the columns, one of zeros first; from the fourth on less
    the length of the one before the last; each in characters of five bits and a sixth that says
    whether another follows, the lowest bits first, in two's complement.

    Args:
        mask: (H, W) bool, at least 1 pixel.

    Source:
        The COCO API, `maskApi.c`, `rleEncode` and `rleToString`.

    """
    pixels = mask.ravel(order="F")
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1, pixels.size)
    starts = np.zeros(1 + bool(pixels[0]), np.int64)  # a run of no zeros where the first is a one
    lengths = np.diff(np.concatenate([starts, ends]))
    numbers = lengths.copy()
    numbers[3:] -= lengths[1:-2]

    shifts = _BITS * np.arange(_NUM_CHARACTERS)
    bits = (numbers[:, None] >> shifts) & 31
    rest = numbers[:, None] >> (shifts + _BITS)
    has_more = rest != np.where(bits & 16, -1, 0)
    is_written = np.ones_like(has_more)
    is_written[:, 1:] = np.logical_and.accumulate(has_more[:, :-1], axis=1)
    characters = _FIRST_CHARACTER + bits + 32 * has_more
    return bytes(characters[is_written].astype(np.uint8)).decode("ascii")


def num_covered(counts: str) -> int:
    """Return how many pixels a mask covers.

    Args:
        counts: as `compressed_run_lengths` and pycocotools write them.

    Source:
        The COCO API, `maskApi.c`, `rleFrString` and `rleArea`.

    """
    lengths: list[int] = []
    number = shift = 0
    for character in counts.encode("ascii"):
        bits = character - _FIRST_CHARACTER
        number |= (bits & 31) << shift
        shift += _BITS
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        is_difference = len(lengths) >= _NUM_WHOLE
        lengths.append(number + (lengths[-2] if is_difference else 0))
        number = shift = 0
    return sum(lengths[1::2])
