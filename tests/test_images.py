"""read_image on every mode, on EXIF, and on what is no image."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgecv.errors import InputError
from edgecv.images import image_size_hw, read_image

RED = (255, 0, 0)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def gradient(height: int, width: int) -> Image.Image:
    """No two quarters alike: every flip and turn shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 3, columns * 2, rows + columns], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    name = "image.tif" if mode in {"CMYK", "YCbCr"} else "image.png"
    path = save(tmp_path / name, Image.new("RGB", (5, 3), RED).convert(mode))
    image_hwc = read_image(path)
    assert image_hwc.shape == (3, 5, 3)
    assert image_hwc.dtype == np.uint8
    assert image_hwc.flags.c_contiguous
    assert image_hwc.flags.writeable
    # YCbCr is stored in whole numbers: the way there and back may lose a level.
    np.testing.assert_allclose(image_hwc, np.broadcast_to(RED, (3, 5, 3)), atol=1)


@pytest.mark.parametrize(("mode", "level"), [("L", 77), ("LA", (77, 9)), ("1", 255)])
def test_grey_becomes_three_equal_channels(
    tmp_path: Path, mode: str, level: int | tuple[int, int]
) -> None:
    path = save(tmp_path / "image.png", Image.new(mode, (4, 2), level))
    grey = level if isinstance(level, int) else level[0]
    np.testing.assert_array_equal(read_image(path), np.full((2, 4, 3), grey))


def test_a_palette_with_transparency_loses_it_silently(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, *RED])
    path = save(tmp_path / "image.png", image, transparency=bytes([0, 128]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path)[0, 0], RED)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 257, 128, 129, 32768, 65535]], np.uint16)  # 128/257 rounds down
    path = save(tmp_path / f"image{suffix}", Image.fromarray(deep))
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 1, 0, 1, 128, 255])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"image{suffix}", gradient(24, 40), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size_hw(path) == expected.shape[:2]
    assert expected.shape[:2] == ((24, 40) if orientation < 5 else (40, 24))


def test_damaged_exif_does_not_cost_the_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "image.jpg", gradient(8, 16), exif=b"Exif\0\0XX\0\0\0\0\0\0")
    assert read_image(path).shape == (8, 16, 3)
    assert image_size_hw(path) == (8, 16)


def test_refuses_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.touch()
    for read in (read_image, image_size_hw):
        with pytest.raises(
            InputError, match=r"image\.jpg.*got an empty file \(0 bytes\)\. Restore"
        ):
            read(path)


def test_refuses_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_text("<html>404</html>")
    for read in (read_image, image_size_hw):
        with pytest.raises(InputError, match=r"image\.jpg.*got none of its formats"):
            read(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_refuses_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path / f"image{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"must be an image that Pillow can decode, got"):
        read_image(path)


def test_refuses_float_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "image.tif", Image.new("F", (2, 2), 0.5))
    with pytest.raises(InputError, match="8 or 16 bits a channel, got float pixels"):
        read_image(path)


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.png` must exist, got no such file"):
        read_image(tmp_path / "no.png")
    with pytest.raises(InputError, match="must be an image file, got a folder"):
        read_image(tmp_path)


def test_refuses_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "image.png", Image.new("L", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="must have at most 200 pixels"):
        read_image(path)
