"""From the bytes of a pixel to red, green and blue in 0..255, or to gray, as floats."""

import triton
import triton.language as tl

from edgecv.frame_formats import ColourMatrix, ColourRange

YuvFactors = tuple[float, float, float, float, float, float]


def yuv_factors(matrix: ColourMatrix, colour_range: ColourRange) -> YuvFactors:
    """Return black, and the factors luma, V to R, U to G, V to G and U to B.

    Source:
        Rec. ITU-R BT.601-7, section 2.5.1, and BT.709-6, section 3: R and B weigh kr and kb in Y.

    """
    kr, kb = (0.299, 0.114) if matrix == "bt601" else (0.2126, 0.0722)
    black, luma, chroma = (16.0, 219, 224) if colour_range == "limited" else (0.0, 255, 255)
    red, blue = 2 * (1 - kr) * 255 / chroma, 2 * (1 - kb) * 255 / chroma
    kg = 1 - kr - kb
    return black, 255 / luma, red, -blue * kb / kg, -red * kr / kg, blue


@triton.jit
def yuv_pixel(y, u, v, factors):
    """Return red, green and blue of luma and chroma; luma below black counts as black."""
    luma = _luma(y, factors)
    u, v = u.to(tl.float32) - 128.0, v.to(tl.float32) - 128.0
    red = luma + factors[2] * v
    green = luma + factors[3] * u + factors[4] * v
    blue = luma + factors[5] * u
    return _clamped(red), _clamped(green), _clamped(blue)


@triton.jit
def yuv_gray(y, factors):
    """Return luma expanded to 0..255."""
    return _clamped(_luma(y, factors))


@triton.jit
def rgb_gray(red, green, blue):
    """Return the luma of BT.601."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


@triton.jit
def _luma(y, factors):
    return tl.maximum(y.to(tl.float32) - factors[0], 0.0) * factors[1]


@triton.jit
def _clamped(value):
    return tl.minimum(tl.maximum(value, 0.0), 255.0)
