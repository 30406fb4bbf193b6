"""What FFmpeg hands over is read in place, and goes to an encoder as it is."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels
from edgecv.kernels import letterbox
from edgecv.stream.pictures import PictureReader, PictureWriter
from edgecv.stream.sources import Frame, ImageFormat, open_source

Planes = tuple[NDArray[np.uint8], ...]

# FFmpeg's pixel format, ours, and per plane the shape for a picture of 13 rows and 22 columns.
READ_IN_PLACE: list[tuple[str, FrameFormat, tuple[tuple[int, ...], ...]]] = [
    ("yuv420p", "yuv420p", ((13, 22), (7, 11), (7, 11))),
    ("yuvj420p", "yuv420p", ((13, 22), (7, 11), (7, 11))),
    ("nv12", "nv12", ((13, 22), (7, 11, 2))),
    ("yuyv422", "yuyv422", ((13, 22, 2),)),
    ("gray", "gray8", ((13, 22),)),
    ("rgb24", "rgb24", ((13, 22, 3),)),
    ("bgr24", "bgr24", ((13, 22, 3),)),
    ("bayer_rggb8", "bayer_rggb8", ((13, 22),)),
    ("bayer_bggr8", "bayer_bggr8", ((13, 22),)),
    ("bayer_grbg8", "bayer_grbg8", ((13, 22),)),
    ("bayer_gbrg8", "bayer_gbrg8", ((13, 22),)),
]


def picture_of_noise(name: str, height: int, width: int) -> av.VideoFrame:
    picture = av.VideoFrame(width, height, name)
    rng = np.random.default_rng(0)
    for plane in picture.planes:
        view = np.frombuffer(plane, np.uint8)
        view[:] = rng.integers(0, 256, view.size, np.uint8)
    return picture


def picture_of_colour(
    name: str, yuv: tuple[int, int, int], height: int = 16, width: int = 16
) -> av.VideoFrame:
    picture = av.VideoFrame(width, height, name)
    for plane, value in zip(picture.planes, yuv, strict=True):
        np.frombuffer(plane, np.uint8)[:] = value
    return picture


def frame(picture: av.VideoFrame) -> Frame:
    return PictureReader().frame(picture, index=0, captured_s=0.0)


def planes(pixels: Pixels) -> Planes:
    return pixels if isinstance(pixels, tuple) else (pixels,)


def rows_of(plane: "av.video.plane.VideoPlane", num_bytes: int) -> NDArray[np.uint8]:
    """The first bytes of every row, cut out of the buffer by hand."""
    whole = bytes(plane)
    starts = range(0, len(whole), plane.line_size)
    return np.array([list(whole[start : start + num_bytes]) for start in starts], np.uint8)


# From FFmpeg


@pytest.mark.parametrize(("name", "expected", "shapes"), READ_IN_PLACE)
def test_planes_are_the_decoders_own(
    name: str, expected: FrameFormat, shapes: tuple[tuple[int, ...], ...]
) -> None:
    picture = picture_of_noise(name, 13, 22)
    made = frame(picture)
    assert made.format == expected
    assert isinstance(made.pixels, tuple) == (len(shapes) > 1)
    assert tuple(plane.shape for plane in planes(made.pixels)) == shapes
    assert made.size_hw == (13, 22)
    for view, plane in zip(planes(made.pixels), picture.planes, strict=True):
        assert view.ctypes.data == plane.buffer_ptr  # not a copy
        assert view.strides[0] == plane.line_size
        assert view.dtype == np.uint8
        flat = view.reshape(view.shape[0], -1)
        np.testing.assert_array_equal(flat, rows_of(plane, flat.shape[1]))


@pytest.mark.parametrize(("name", "expected", "shapes"), READ_IN_PLACE)
def test_planes_cannot_be_written_to(name: str, expected: str, shapes: object) -> None:
    del expected, shapes
    for plane in planes(frame(picture_of_noise(name, 13, 22)).pixels):
        with pytest.raises(ValueError, match="read-only"):
            plane[:] = 0


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 2), (2, 1), (3, 5), (7, 64), (8, 63), (17, 33)])
@pytest.mark.parametrize("name", ["yuv420p", "nv12", "gray", "bgr24"])
def test_every_size_is_read_in_place(name: str, size_hw: tuple[int, int]) -> None:
    picture = picture_of_noise(name, *size_hw)
    made = frame(picture)
    assert made.size_hw == size_hw
    for view, plane in zip(planes(made.pixels), picture.planes, strict=True):
        assert view.ctypes.data == plane.buffer_ptr
        flat = view.reshape(view.shape[0], -1)
        np.testing.assert_array_equal(flat, rows_of(plane, flat.shape[1]))


def test_a_picture_that_is_stored_bottom_up() -> None:
    decoder = av.CodecContext.create("rawvideo", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.width, decoder.height, decoder.pix_fmt = 22, 13, "bgr24"
    decoder.extradata = b"BottomUp\0"  # as AVI files say it
    noise = np.random.default_rng(4).integers(0, 256, (13, 22, 3), np.uint8)
    (picture,) = decoder.decode(av.Packet(noise.tobytes()))
    assert picture.planes[0].line_size < 0
    made = frame(picture)
    np.testing.assert_array_equal(made.pixels, noise[::-1])
    np.testing.assert_array_equal(made.to_array("rgb24"), noise[::-1, :, ::-1])


def test_the_picture_lives_as_long_as_its_planes() -> None:
    made = [frame(picture_of_colour("yuv420p", (n, n, n))) for n in range(100)]
    for number, kept in enumerate(made):
        assert all((plane == number).all() for plane in planes(kept.pixels))


@pytest.mark.parametrize(
    ("name", "size_hw"),
    [
        ("yuv444p10le", (13, 22)),
        ("yuv422p", (13, 22)),
        ("yuvj422p", (12, 22)),
        ("yuv420p10le", (12, 22)),
        ("gbrp", (13, 22)),
        ("rgba", (13, 22)),
        ("gray16le", (13, 22)),
        ("nv21", (12, 22)),
        ("yuyv422", (13, 23)),  # half a pair of pixels at the end of each row
    ],
)
def test_other_formats_are_converted_by_ffmpeg(name: str, size_hw: tuple[int, int]) -> None:
    picture = av.VideoFrame.from_ndarray(
        np.random.default_rng(1).integers(0, 256, (*size_hw, 3), np.uint8), format="bgr24"
    ).reformat(format=name)
    made = frame(picture)
    assert (made.format, made.size_hw) == ("bgr24", size_hw)
    expected = picture.to_ndarray(format="bgr24", interpolation="BILINEAR")
    np.testing.assert_array_equal(made.pixels, expected)


@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuyv422"])
@pytest.mark.parametrize(
    ("matrix_code", "expected"),
    [
        (1, ("bt709", True)),
        (5, ("bt601", True)),
        (6, ("bt601", True)),
        (2, ("bt601", False)),
        (0, ("bt601", False)),
        (3, ("bt601", False)),
    ],
)
@pytest.mark.parametrize(
    ("range_code", "expected_range"), [(0, "limited"), (1, "limited"), (2, "full")]
)
def test_colours_are_as_declared(
    name: str,
    matrix_code: int,
    expected: tuple[str, bool],
    range_code: int,
    expected_range: str,
) -> None:
    picture = picture_of_noise(name, 8, 8)
    picture.colorspace, picture.color_range = matrix_code, range_code
    made = frame(picture)
    assert (made.matrix, made.declares_matrix) == expected
    assert made.range == expected_range


def test_the_old_names_of_full_range() -> None:
    picture = picture_of_noise("yuvj420p", 8, 8)
    assert picture.color_range == 0
    assert frame(picture).range == "full"


@pytest.mark.parametrize("code", [4, 7, 9])  # FCC, SMPTE 240M, BT.2020
def test_a_matrix_that_no_kernel_knows_is_converted_by_ffmpeg(code: int) -> None:
    picture = picture_of_colour("yuv420p", (120, 90, 200))
    picture.colorspace = code
    made = frame(picture)
    assert made.format == "bgr24"
    expected = picture.to_ndarray(format="bgr24", interpolation="BILINEAR")
    np.testing.assert_array_equal(made.pixels, expected)


# As an image


COLOURS = list(product(("bt601", "bt709"), ("limited", "full")))


def rgb_of(
    yuv: tuple[int, int, int], matrix: ColourMatrix, range_: ColourRange
) -> NDArray[np.float64]:
    """ITU-R BT.601 and BT.709, by their luma weights of red and blue."""
    y, u, v = yuv
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    if range_ == "limited":
        luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    else:
        luma, cb, cr = y / 255, (u - 128) / 255, (v - 128) / 255
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.array([r, g, b]) * 255, 0, 255)


@pytest.mark.parametrize(("matrix", "range_"), COLOURS)
def test_a_yuv_frame_as_an_image(matrix: ColourMatrix, range_: ColourRange) -> None:
    picture = picture_of_colour("yuv420p", (120, 100, 170))
    picture.colorspace = {"bt601": 6, "bt709": 1}[matrix]
    picture.color_range = {"limited": 1, "full": 2}[range_]
    expected = rgb_of((120, 100, 170), matrix, range_)
    rgb, bgr = frame(picture).to_array("rgb24"), frame(picture).to_array()
    # Half a unit for the rounding of the result, as much for coefficients of a fixed point.
    np.testing.assert_allclose(rgb, np.broadcast_to(expected, (16, 16, 3)), atol=1)
    np.testing.assert_array_equal(bgr, rgb[:, :, ::-1])
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable


@pytest.mark.parametrize("own", ["bgr24", "rgb24"])
def test_an_image_is_a_copy(own: ImageFormat) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    made = Frame(0, pixels, own)
    for order in ("bgr24", "rgb24"):
        array = made.to_array(order)
        assert not np.shares_memory(array, pixels)
        np.testing.assert_array_equal(array, pixels if order == own else pixels[:, :, ::-1])


def test_writable_copies_once() -> None:
    made = frame(picture_of_noise("yuv420p", 13, 22))
    copy = made.writable()
    for view, own in zip(planes(made.pixels), planes(copy.pixels), strict=True):
        assert not np.shares_memory(view, own)
        assert own.flags.writeable
        np.testing.assert_array_equal(view, own)
    assert copy.writable() is copy
    assert (copy.index, copy.format, copy.captured_s) == (0, "yuv420p", 0.0)


@pytest.mark.parametrize("name", ["dog_person_720p.mp4", "highway_cars_540p.mp4"])
def test_a_real_frame_is_as_ffmpeg_converts_it(shared_data: Path, name: str) -> None:
    """One of the videos is BT.709, the other BT.601; a mix-up is off by tens of units."""
    with av.open(str(shared_data / "videos" / name)) as container:
        picture = next(container.decode(video=0))
    expected = picture.to_ndarray(format="rgb24", interpolation="BILINEAR")
    difference = np.abs(frame(picture).to_array("rgb24").astype(int) - expected)
    # Both replicate the chroma; swscale sums in 9 bits, rounding each part down.
    assert difference.max() <= 3
    assert difference.mean() < 2
    made = frame(picture)
    colours = {"format": made.format, "matrix": made.matrix, "range": made.range}
    from_planes, placement = letterbox(made.pixels, (416, 416), **colours, scale=1)
    from_image, same = letterbox(expected, (416, 416), format="rgb24", scale=1)
    assert placement == same
    np.testing.assert_allclose(from_planes, from_image, atol=3)


# Turned upright


needs_rotation = pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="PyAV < 18 writes no rotation"
)


@needs_rotation
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_planes_are_turned(
    tmp_path: Path, video_writer: Callable[..., Path], rotation: int
) -> None:
    path = video_writer(tmp_path / "v.mp4", 2, size_hw=(48, 64), rotation=rotation)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    made = frame(picture)
    assert made.format == "yuv420p"
    lying = frame_in_place(picture)
    for upright, plane in zip(planes(made.pixels), lying, strict=True):
        np.testing.assert_array_equal(upright, np.rot90(plane, rotation // 90))
        assert upright.flags.c_contiguous
        assert not np.shares_memory(upright, plane)


def frame_in_place(picture: av.VideoFrame) -> Planes:
    """The planes of a yuv420p picture with even sides as they lie, from PyAV's one array."""
    height, width = picture.height, picture.width
    array = picture.to_ndarray(format="yuv420p")
    halves = array[height:].reshape(2, height // 2, width // 2)
    return array[:height], halves[0], halves[1]


@needs_rotation
def test_odd_planes_are_turned_as_an_image(tmp_path: Path) -> None:
    """Half a chroma sample at one end would have to come to lie at the other."""
    pictures = iter([picture_of_colour("yuv420p", (120, 100, 170), 47, 63)])
    path = write_video(tmp_path / "v.mp4", pictures, "mpeg4", rotation=90)
    with open_source(path) as source:
        assert source.size_hw == (63, 47)
        (made,) = source
    assert (made.format, made.size_hw) == ("bgr24", (63, 47))


# To an encoder


def yuv_frame(
    size_hw: tuple[int, int],
    format: FrameFormat = "yuv420p",  # noqa: A002
    *,
    matrix: ColourMatrix = "bt601",
    range_: ColourRange = "limited",
    declares_matrix: bool = True,
) -> Frame:
    """Noise between 60 and 180, so that no conversion clips."""
    height, width = size_hw
    half = (height + 1) // 2, (width + 1) // 2
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "yuv420p": (size_hw, half, half),
        "nv12": (size_hw, (*half, 2)),
        "yuyv422": ((*size_hw, 2),),
    }
    rng = np.random.default_rng(2)
    noise = tuple(rng.integers(60, 181, shape, np.uint8) for shape in shapes[format])
    return Frame(
        0,
        noise if len(noise) > 1 else noise[0],
        format,
        matrix=matrix,
        range=range_,
        declares_matrix=declares_matrix,
    )


def planes_of_picture(picture: av.VideoFrame) -> Planes:
    return planes(frame(picture).pixels)


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 63), (1, 1), (2, 3), (33, 2)])
@pytest.mark.parametrize(("matrix", "range_"), COLOURS)
def test_yuv420p_goes_to_the_encoder_as_it_is(
    size_hw: tuple[int, int], matrix: ColourMatrix, range_: ColourRange
) -> None:
    given = yuv_frame(size_hw, matrix=matrix, range_=range_)
    picture = PictureWriter(given).picture(given)
    made = frame(picture)
    assert (made.matrix, made.range) == (matrix, range_)
    assert made.format == "yuv420p"
    height, width = size_hw
    assert (picture.height % 2, picture.width % 2) == (0, 0)
    assert (picture.height - height, picture.width - width) == (height % 2, width % 2)
    luma, *chroma = planes_of_picture(picture)
    np.testing.assert_array_equal(
        luma, np.pad(given.pixels[0], ((0, height % 2), (0, width % 2)), mode="edge")
    )
    for plane, own in zip(chroma, given.pixels[1:], strict=True):
        np.testing.assert_array_equal(plane, own)


def test_nv12_only_parts_its_chroma() -> None:
    given = yuv_frame((47, 63), "nv12", matrix="bt709", range_="full")
    luma, blue, red = planes_of_picture(PictureWriter(given).picture(given))
    np.testing.assert_array_equal(luma[:47, :63], given.pixels[0])
    np.testing.assert_array_equal(blue, given.pixels[1][:, :, 0])
    np.testing.assert_array_equal(red, given.pixels[1][:, :, 1])


def test_yuyv422_keeps_its_luma() -> None:
    given = yuv_frame((47, 64), "yuyv422", matrix="bt709", range_="full")
    assert not isinstance(given.pixels, tuple)
    luma, blue, _ = planes_of_picture(PictureWriter(given).picture(given))
    np.testing.assert_array_equal(luma[:47], given.pixels[:, :, 0])
    pairs = given.pixels[:46, 0::2, 1].astype(float).reshape(23, 2, 32).mean(axis=1)
    np.testing.assert_allclose(blue[:23], pairs, atol=1)  # of two rows, rounded either way


@pytest.mark.parametrize("size_hw", [(16, 32), (15, 31)])
@pytest.mark.parametrize("own", ["bgr24", "rgb24"])
def test_colour_images_are_converted(own: ImageFormat, size_hw: tuple[int, int]) -> None:
    given = Frame(0, np.zeros((*size_hw, 3), np.uint8), own)
    colour = [200, 90, 40]
    assert not isinstance(given.pixels, tuple)
    given.pixels[:] = colour if own == "rgb24" else colour[::-1]
    made = frame(PictureWriter(given).picture(given))
    assert (made.matrix, made.range) == ("bt601", "limited")
    # 8-bit YUV: half a unit of chroma is a unit of blue, and swscale rounds twice.
    np.testing.assert_allclose(made.to_array("rgb24"), np.broadcast_to(colour, (16, 32, 3)), atol=4)


@pytest.mark.parametrize("own", ["gray8", "bayer_rggb8"])
def test_other_frames_reach_the_encoder_too(own: FrameFormat) -> None:
    given = Frame(0, np.full((15, 31), 120, np.uint8), own)
    made = frame(PictureWriter(given).picture(given))
    assert made.format == "yuv420p"
    np.testing.assert_allclose(made.to_array(), np.full((16, 32, 3), 120), atol=3)


def test_a_frame_of_other_colours_is_converted() -> None:
    """As when a camera changes its mind in the middle: the header of the video is written."""
    first = yuv_frame((16, 16), matrix="bt709", range_="full")
    given = frame(picture_of_colour("yuv420p", (120, 100, 170)))
    made = frame(PictureWriter(first).picture(given))
    assert (made.matrix, made.range) == ("bt709", "full")
    np.testing.assert_allclose(made.to_array(), given.to_array(), atol=3)


# Through files


def write_video(
    path: Path, pictures: Iterator[av.VideoFrame], codec: str, rotation: int = 0
) -> Path:
    with av.open(str(path), "w") as container:
        first = next(pictures)
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = first.height, first.width
        stream.pix_fmt = first.format.name
        if rotation:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate([first, *pictures]):
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuyv422", "gray", "rgb24", "bgr24"])
def test_raw_video_arrives_bit_for_bit(tmp_path: Path, name: str) -> None:
    pictures = [picture_of_noise(name, 48, 64) for _ in range(3)]
    path = write_video(tmp_path / "raw.nut", iter(pictures), "rawvideo")
    with open_source(path) as source:
        frames = list(source)
    assert len(frames) == 3
    for made, picture in zip(frames, pictures, strict=True):
        expected = frame(picture)
        assert made.format == expected.format
        for view, own in zip(planes(made.pixels), planes(expected.pixels), strict=True):
            assert not view.flags.writeable
            np.testing.assert_array_equal(view, own)


def test_ten_bits_and_full_chroma_come_as_an_image(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    deep = av.VideoFrame.from_ndarray(noise, format="bgr24").reformat(format="yuv444p10le")
    path = write_video(tmp_path / "deep.mkv", iter([deep]), "ffv1")
    with open_source(path) as source:
        (made,) = source
    assert (made.format, made.size_hw) == ("bgr24", (48, 64))
    # A rounding to 10 bits lies between, and one to 8 bits at the end.
    np.testing.assert_allclose(made.to_array(), noise, atol=2)


def test_frames_stay_as_they_were_while_the_decoder_goes_on(
    tmp_path: Path, video_writer: Callable[..., Path]
) -> None:
    path = video_writer(tmp_path / "v.mp4", 120)
    with open_source(path) as source:
        kept, copies = [], []
        for made in source:
            kept.append(made)
            copies.append([plane.copy() for plane in planes(made.pixels)])
    assert len(kept) == 120  # none of them was waited for
    for made, copy in zip(kept, copies, strict=True):
        for view, own in zip(planes(made.pixels), copy, strict=True):
            np.testing.assert_array_equal(view, own)
