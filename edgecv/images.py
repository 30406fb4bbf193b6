"""Image files as arrays: one way to open them, whatever their mode, with errors that help."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgecv.errors import InputError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_EXIF_ORIENTATION = 0x0112
_TO_UPRIGHT = {  # what undoes each orientation; 1, and what is no orientation, needs nothing
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_QUARTER_TURN = 5  # from here on width and height are swapped
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})  # Pillow's 16-bit grey
_LABEL_MODES = _DEEP_MODES | {"1", "L", "P"}  # whose stored values are not colours
_MAX_LABEL = 255


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Return the image at `path` as RGB, upright by its EXIF orientation.

    Grey becomes three equal channels, a palette is looked up, CMYK is converted, alpha is
    dropped, and 16 bits are scaled to 8 (65535 becomes 255).

    Args:
        path: a JPEG, PNG, BMP, WebP, TIFF or any other file that Pillow reads; of several
            frames the first.

    Returns:
        (H, W, 3) uint8, C-contiguous, writable.

    Raises:
        InputError: if the file is missing, empty, truncated, not an image, or has float pixels.

    """
    with _opened(Path(path)) as image:
        image.load()
        turn = _TO_UPRIGHT.get(_orientation(image))
        upright: Image.Image = image if turn is None else image.transpose(turn)
        if upright.mode == "F":
            raise InputError(
                f"read_image: `{path}` must have 8 or 16 bits a channel, got float pixels. "
                "Save it as an 8-bit PNG."
            )
        if upright.mode in _DEEP_MODES:
            grey = np.clip(np.asarray(upright).astype(np.int64), 0, 65535)
            levels = ((grey + 128) // 257).astype(np.uint8)  # 257 = 65535 / 255, rounded
            return np.ascontiguousarray(np.repeat(levels[:, :, None], 3, axis=2))
        if upright.mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")  # Pillow warns when it must drop a palette's alpha
        return np.array(upright.convert("RGB"))


def read_label_image(path: Path | str) -> NDArray[np.uint8]:
    """Return the values of a label image as they are stored, whatever colours a palette gives them.

    Args:
        path: a PNG, or another image without loss, grey or with a palette.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: if the file is missing, damaged or in colour, or has a value above 255.

    """
    with _opened(Path(path)) as image:
        if image.mode not in _LABEL_MODES:
            raise InputError(
                f"read_image: `{path}` must be a label image, grey or with a palette, got pixels "
                f"of mode {image.mode}. Save the class numbers instead of colours."
            )
        values = np.asarray(image)
        lowest, highest = int(values.min(initial=0)), int(values.max(initial=0))
        if lowest < 0 or highest > _MAX_LABEL:
            raise InputError(
                f"read_image: `{path}` must have labels of 0..{_MAX_LABEL}, got "
                f"{lowest if lowest < 0 else highest}. Save the class numbers as bytes."
            )
        return np.array(values, np.uint8)


def image_size_hw(path: Path | str) -> tuple[int, int]:
    """Return the height and width that `read_image` will give, from the file's header alone.

    Raises:
        InputError: if the file is missing, empty or not an image; a truncated one may pass.

    """
    with _opened(Path(path)) as image:
        if image.format == "TIFF":
            image.load()  # Pillow itself turns a TIFF, and only then forgets the orientation
        width, height = image.size
        is_turned = _orientation(image) >= _FIRST_QUARTER_TURN
    return (width, height) if is_turned else (height, width)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or EXIF itself is damaged."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, struct.error):
        return 1  # the pixels are not worse for it
    return orientation if orientation in _TO_UPRIGHT else 1


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Yield the opened image; whatever Pillow raises meanwhile becomes an InputError."""
    try:
        with Image.open(path) as image:
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f"read_image: `{path}` must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, "
            f"got more ({error}). Scale it down first."
        ) from error
    # Pillow's decoders let all of these through for damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error) as error:
        raise InputError(_complaint(path, error)) from error


def _complaint(path: Path, error: Exception) -> str:
    """Return the line that says what is wrong with the file at `path`."""
    rule, remedy = "must be an image that Pillow can decode", "Restore the file or leave it out."
    if not path.exists():
        return f"read_image: `{path}` must exist, got no such file. Check the path."
    if path.is_dir():
        return f"read_image: `{path}` must be an image file, got a folder. Name a file in it."
    if path.stat().st_size == 0:
        return f"read_image: `{path}` {rule}, got an empty file (0 bytes). {remedy}"
    if isinstance(error, UnidentifiedImageError):
        return f"read_image: `{path}` {rule}, got none of its formats. {remedy}"
    reason = str(error) or type(error).__name__
    return f"read_image: `{path}` {rule}, got a damaged or truncated one ({reason}). {remedy}"
