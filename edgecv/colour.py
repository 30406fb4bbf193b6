"""Colours: of the classes, of text on them, and as frames hold them, RGB to Y'CbCr."""

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import ColourMatrix, ColourRange

Colours: TypeAlias = NDArray[np.uint8]

# The formats into which colours are drawn: those whose samples each stand for whole pixels.
CanvasFormat = Literal["bgr24", "rgb24", "gray8", "yuv420p", "nv12"]
CANVAS_FORMATS: tuple[CanvasFormat, ...] = get_args(CanvasFormat)

# Weights of red, green and blue in luma: ITU-R BT.601-7 and BT.709-6, item 3.2, times _UNIT.
_UNIT = 10_000
_LUMA_WEIGHTS: dict[ColourMatrix, tuple[int, int, int]] = {
    "bt601": (2990, 5870, 1140),
    "bt709": (2126, 7152, 722),
}
# Black, and how far white and the largest difference of colour reach, in codes of 8 bits.
_EXTENTS: dict[ColourRange, tuple[int, int, int]] = {
    "limited": (16, 219, 224),
    "full": (0, 255, 255),
}
_NEUTRAL = 128

_BLACK_AND_WHITE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
_LINEAR = (np.arange(256) / 255) ** 2.2
_LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])
# WCAG 2.1: contrast is (L1 + 0.05) / (L2 + 0.05); here black and white text are equally legible.
_DARK_BELOW = (1.05 * 0.05) ** 0.5 - 0.05

# Neighbours differ in hue as well as in lightness, so that classes 0, 1, 2 are told apart first.
PALETTE_RGB: Colours = np.array(
    [
        (46, 134, 255),  # azure
        (255, 159, 28),  # orange
        (46, 204, 113),  # emerald
        (239, 71, 111),  # raspberry
        (255, 221, 51),  # sun
        (155, 93, 229),  # violet
        (0, 206, 209),  # turquoise
        (255, 99, 72),  # tomato
        (163, 230, 53),  # lime
        (244, 114, 208),  # pink
        (20, 110, 160),  # petrol
        (176, 116, 56),  # bronze
        (0, 133, 86),  # pine
        (150, 150, 255),  # lavender
        (176, 32, 50),  # crimson
        (255, 190, 152),  # peach
        (104, 70, 180),  # indigo
        (128, 148, 20),  # olive
        (120, 220, 190),  # mint
        (150, 160, 175),  # slate
    ],
    np.uint8,
)


def rgb_to_yuv(colours_rgb: Colours, matrix: ColourMatrix, range: ColourRange) -> Colours:  # noqa: A002
    """Return Y', Cb and Cr of each colour, each rounded to the nearest code, halves up.

    Args:
        colours_rgb: (K, 3) uint8.
        matrix: which weights make up luma.
        range: `limited` (luma 16..235, chroma 16..240) or `full` (0..255).

    Returns:
        (K, 3) uint8.

    Source:
        ITU-R BT.601-7 and BT.709-6, item 3; full range as in JFIF (ITU-T T.871), section 7.

    """
    numerators, denominators = _CONVERSIONS[matrix, range]
    # In whole numbers: some colours lie halfway between two codes.
    codes = (2 * (colours_rgb @ numerators) + denominators) // (2 * denominators)
    codes += (_EXTENTS[range][0], _NEUTRAL, _NEUTRAL)
    yuv: Colours = np.minimum(codes, 255).astype(np.uint8)  # blue's Cb is 255.5 in full range
    return yuv


def colours_in(
    colours_rgb: Colours,
    format: CanvasFormat,  # noqa: A002
    matrix: ColourMatrix,
    range: ColourRange,  # noqa: A002
) -> Colours:
    """Return the bytes that each colour has in the planes of a frame of `format`.

    Args:
        colours_rgb: (K, 3) uint8.
        format: of the frame.
        matrix: of a frame that has luma.
        range: of `yuv420p` and `nv12`; gray is always full.

    Returns:
        (K, 3) uint8, C-contiguous, in the order of the planes; for `gray8` the first column counts.

    """
    if format == "rgb24":
        return np.ascontiguousarray(colours_rgb)
    if format == "bgr24":
        return np.ascontiguousarray(colours_rgb[:, ::-1])
    return rgb_to_yuv(colours_rgb, matrix, "full" if format == "gray8" else range)


def text_colours(colours_rgb: Colours) -> Colours:
    """Return black or white for each colour, whichever is the more legible on it.

    Args:
        colours_rgb: (K, 3) uint8.

    Returns:
        (K, 3) uint8.

    Source:
        WCAG 2.1, contrast ratio.

    """
    is_dark = _LINEAR[colours_rgb] @ _LUMINANCE_WEIGHTS < _DARK_BELOW
    colours: Colours = _BLACK_AND_WHITE[is_dark.astype(np.intp)]
    return colours


def class_colours(class_ids: NDArray[np.integer[Any]]) -> Colours:
    """Return red, green and blue of each class, (N, 3) uint8, starting over after the last."""
    colours: Colours = PALETTE_RGB[class_ids % len(PALETTE_RGB)]
    return colours


def _conversion(
    matrix: ColourMatrix,
    range: ColourRange,  # noqa: A002
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (3, 3) and (3,): R', G', B' times the first, over the second, is Y', Cb, Cr."""
    luma = np.array(_LUMA_WEIGHTS[matrix], np.int64)
    red, _, blue = luma
    cb, cr = np.array([0, 0, _UNIT]) - luma, np.array([_UNIT, 0, 0]) - luma
    _, luma_extent, chroma_extent = _EXTENTS[range]
    numerators = np.column_stack([luma * luma_extent, cb * chroma_extent, cr * chroma_extent])
    return numerators, 255 * np.array([_UNIT, 2 * (_UNIT - blue), 2 * (_UNIT - red)])


_CONVERSIONS = {
    (matrix, range_): _conversion(matrix, range_) for matrix in _LUMA_WEIGHTS for range_ in _EXTENTS
}
