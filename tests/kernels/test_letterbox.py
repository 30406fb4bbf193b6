"""The fit against its definition, at every size, format, layout and type, and its own laws."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.frame_formats import FRAME_FORMATS, FrameFormat, Pixels
from edgecv.kernels import letterbox, reference
from edgecv.kernels.letterbox import Colour, ElementType, Interpolation, Layout
from edgecv.placement import FITS, Fit, Placement

from .conftest import Place, Processor
from .fits import fit_one, fitted, moved, on_places, sliced

IN_TRITON = True
NOT_IN_TRITON = {"interpolation": "area"}

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# In pixel values of 255. A blend in Q7 is rounded by half of 1 / 128, twice, and its weight by
# half of 1 / 32768 of at most 255, twice; an area sum is rounded once. Gray adds a rounding, and
# OpenCV's luma factors in Q15 are off by at most 1 / 65536 of 255 each.
PACKED_ERROR = 3 * 0.5 / 128 + 5 * 255 / 65536
# Three terms rounded in Q5, and their factors: luma by 2^-14 of 239, chroma by 2^-13 of 128, twice.
YUV_ERROR = PACKED_ERROR + 3 * 0.5 / 32 + 239 / 2**14 + 2 * 128 / 2**13
# Demosaiced means are rounded to whole pixel values.
BAYER_ERROR = PACKED_ERROR + 0.5

# Around the widths of vectors of bytes, 16-bit pixels and floats, and of blocks of them.
WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 127, 128, 129]
BAYER = tuple(name for name in FRAME_FORMATS if name.startswith("bayer"))
PLANAR: tuple[FrameFormat, ...] = ("yuv420p", "nv12")
COLOURS: tuple[Colour, ...] = ("rgb", "bgr", "gray")
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "area")


def random_frame(form: FrameFormat, height: int, width: int, *, seed: int = 0) -> Pixels:
    """Noise, in planes where the format has them, so that every side can be odd."""
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> NDArray[np.uint8]:
        return rng.integers(0, 256, shape, np.uint8)

    half = (height + 1) // 2, (width + 1) // 2
    if form == "yuv420p":
        return noise(height, width), noise(*half), noise(*half)
    if form == "nv12":
        return noise(height, width), noise(*half, 2)
    depth = {"bgr24": (3,), "rgb24": (3,), "yuyv422": (2,)}.get(form, ())
    return noise(height, width, *depth)


def random_bgr(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    frame = random_frame("bgr24", height, width, seed=seed)
    assert isinstance(frame, np.ndarray)
    return frame


def error_of(form: FrameFormat) -> float:
    if form in BAYER:
        return BAYER_ERROR
    return YUV_ERROR if form in (*PLANAR, "yuyv422") else PACKED_ERROR


def assert_matches_reference(
    place: Place,
    frame: Pixels,
    size_hw: tuple[int, int],
    fit: Fit,
    form: FrameFormat = "bgr24",
    *,
    colour: Colour = "rgb",
    **options: Any,
) -> None:
    channels = 1 if colour == "gray" else 3
    shared = {"format": form, "colour": colour, **options}
    shared |= {"mean": MEAN[:channels], "std": STD[:channels], "pad": 114}
    out, placement = fitted(place, frame, size_hw, fit=fit, **shared)
    expected = reference.letterbox(frame, placement, scale=1 / 255, **shared)
    tolerance = (error_of(form) + 1e-3) / 255 / min(STD)  # and the floats' own rounding
    np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)


@on_places(*FRAME_FORMATS)
@pytest.mark.parametrize("width", WIDTHS)
def test_matches_reference_at_every_source_width(
    place: Place, form: FrameFormat, width: int
) -> None:
    least = 3 if form in BAYER else 1
    even = width + width % 2 if form == "yuyv422" else width
    frame = random_frame(form, 5, max(even, least))
    assert_matches_reference(place, frame, (4, 17), "stretch", form)


@on_places(*FRAME_FORMATS)
@pytest.mark.parametrize("width", WIDTHS)
def test_matches_reference_at_every_input_width(
    place: Place, form: FrameFormat, width: int
) -> None:
    assert_matches_reference(place, random_frame(form, 5, 24), (3, width), "stretch", form)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("fit", FITS)
@on_places(*FRAME_FORMATS)
def test_matches_reference_in_every_combination(
    place: Place, form: FrameFormat, fit: Fit, colour: Colour, interpolation: Interpolation
) -> None:
    frame = random_frame(form, 11, 14)
    for size_hw in ((7, 9), (13, 6), (16, 15)):
        assert_matches_reference(
            place, frame, size_hw, fit, form, colour=colour, interpolation=interpolation
        )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("ratio", [1, 2, 3, 4, 6, 1.5, 1.69, 2.5, 4.6, 11.3, 40])
@on_places("bgr24", "yuv420p", "nv12")
def test_matches_reference_at_every_ratio(
    place: Place, form: FrameFormat, ratio: float, interpolation: Interpolation
) -> None:
    width = round(70 * ratio)
    frame = random_frame(form, 6, width)
    assert_matches_reference(place, frame, (3, 70), "stretch", form, interpolation=interpolation)


@pytest.mark.parametrize("colour", COLOURS)
@on_places(*PLANAR, "yuyv422")
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_matches_reference_for_every_yuv(
    place: Place, form: FrameFormat, matrix: str, range_: str, colour: Colour
) -> None:
    frame = random_frame(form, 9, 70)
    assert_matches_reference(
        place, frame, (5, 31), "letterbox", form, colour=colour, matrix=matrix, range=range_
    )


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@settings(max_examples=50)
@given(
    frame_hw=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    size_hw=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    fit=st.sampled_from(FITS),
    form=st.sampled_from(["bgr24", "gray8", "yuv420p", "nv12"]),
)
def test_matches_reference_at_any_size(
    place: Place,
    frame_hw: tuple[int, int],
    size_hw: tuple[int, int],
    fit: Fit,
    form: FrameFormat,
    interpolation: Interpolation,
) -> None:
    frame = random_frame(form, *frame_hw)
    assert_matches_reference(place, frame, size_hw, fit, form, interpolation=interpolation)


@pytest.mark.parametrize("form", BAYER)
@pytest.mark.parametrize("frame_hw", [(3, 3), (3, 4), (4, 3), (5, 6)])
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 1), (3, 3), (7, 8)])
@pytest.mark.parametrize("fit", ["stretch", "centre-crop"])
def test_matches_reference_at_the_edges_of_a_mosaic(
    form: FrameFormat, frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    assert_matches_reference(Processor(), random_frame(form, *frame_hw), size_hw, fit, form)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@on_places("bgr24", "gray8", "bayer_grbg8")
@settings(max_examples=50)
@given(
    value=st.integers(0, 255),
    frame_hw=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    size_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(FITS),
    colour=st.sampled_from(COLOURS),
)
def test_a_flat_frame_on_bars_of_its_colour_stays_flat(
    place: Place,
    value: int,
    frame_hw: tuple[int, int],
    size_hw: tuple[int, int],
    fit: Fit,
    form: FrameFormat,
    colour: Colour,
    interpolation: Interpolation,
) -> None:
    shape = (*frame_hw, 3) if form == "bgr24" else frame_hw
    frame = np.full(shape, value, np.uint8)
    out, _ = fitted(
        place,
        frame,
        size_hw,
        format=form,
        fit=fit,
        colour=colour,
        scale=1.0,
        pad=value,
        interpolation=interpolation,
    )
    np.testing.assert_array_equal(out, np.float32(value))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fit", FITS)
def test_same_size_is_a_copy(place: Place, fit: Fit, interpolation: Interpolation) -> None:
    frame = random_bgr(33, 47)
    out, placement = fitted(place, frame, (33, 47), fit=fit, scale=1.0, interpolation=interpolation)
    np.testing.assert_array_equal(out, np.moveaxis(frame[..., ::-1], 2, 0))
    assert placement == Placement.of((33, 47), (33, 47), fit)


def test_worked_example(place: Place) -> None:
    # Two columns, 10 and 50, on four: sample points -0.25, 0.25, 0.75, 1.25, clamped to [0, 1].
    frame = np.repeat(np.array([[[10], [50]]], np.uint8), 3, axis=2)
    out, placement = fitted(place, frame, (4, 4), scale=1.0, pad=7)
    row, bar = [10.0, 20.0, 40.0, 50.0], [7.0] * 4
    np.testing.assert_array_equal(out, [[bar, row, row, bar]] * 3)
    assert (placement.resized_hw, placement.offset_xy) == ((2, 4), (0, 1))


def test_worked_example_of_area(place: Place) -> None:
    frame = np.array([[10, 20, 30, 40, 50, 60]], np.uint8)
    options: dict[str, Any] = {"format": "gray8", "colour": "gray", "interpolation": "area"}
    out, _ = fitted(place, frame, (1, 4), fit="stretch", scale=1, **options)
    means = [(10 + 0.5 * 20) / 1.5, (0.5 * 20 + 30) / 1.5, (40 + 25) / 1.5, (25 + 60) / 1.5]
    np.testing.assert_allclose(out[0, 0], means, rtol=0, atol=PACKED_ERROR)


@pytest.mark.parametrize(
    ("yuv", "rgb"),
    [
        ((16, 128, 128), (0, 0, 0)),
        ((235, 128, 128), (255, 255, 255)),
        ((0, 128, 128), (0, 0, 0)),  # blacker than black
        ((81, 90, 240), (254.4, 0, 0)),  # the red of a BT.601 colour bar
        ((145, 54, 34), (0, 255, 0.6)),  # its green, out of gamut by less than 1
        ((41, 240, 110), (0.4, 0.1, 255)),  # its blue
    ],
)
def test_colour_bars(
    place: Place, yuv: tuple[int, int, int], rgb: tuple[float, float, float]
) -> None:
    y, u, v = (np.full((1, 1), value, np.uint8) for value in yuv)
    out, _ = fitted(place, (y, u, v), (1, 1), format="yuv420p", scale=1)
    np.testing.assert_allclose(out[:, 0, 0], rgb, rtol=0, atol=1)


@pytest.mark.parametrize(
    ("form", "colour", "expected"),
    [
        ("bgr24", "rgb", [3.0, 2.0, 1.0]),
        ("bgr24", "bgr", [1.0, 2.0, 3.0]),
        ("rgb24", "rgb", [1.0, 2.0, 3.0]),
        ("rgb24", "bgr", [3.0, 2.0, 1.0]),
    ],
)
def test_channel_order(
    place: Place, form: FrameFormat, colour: Colour, expected: list[float]
) -> None:
    frame = np.array([[[1, 2, 3]]], np.uint8)
    out, _ = fitted(place, frame, (1, 1), format=form, colour=colour, scale=1.0)
    np.testing.assert_array_equal(out[:, 0, 0], expected)


def test_mean_and_std_are_in_the_models_colour_order(place: Place) -> None:
    frame = np.array([[[10, 20, 30]]], np.uint8)  # b, g, r
    out, _ = fitted(place, frame, (1, 1), scale=0.5, mean=(5, 1, 3), std=(2, 4, 8))
    np.testing.assert_array_equal(out[:, 0, 0], [(15 - 5) / 2, (10 - 1) / 4, (5 - 3) / 8])


def test_pad_is_a_pixel_value_before_normalisation(place: Place) -> None:
    out, _ = fitted(
        place, random_bgr(1, 4), (4, 4), scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3, pad=51
    )
    np.testing.assert_allclose(out[:, 0], (51 / 255 - 0.5) / 0.25, rtol=1e-5)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("width", [1, 3, 16, 33, 67])
def test_layouts_hold_the_same_values(
    place: Place, width: int, dtype: ElementType, colour: Colour, fit: Fit
) -> None:
    frame = random_bgr(7, 21)
    options: dict[str, Any] = {"dtype": dtype, "colour": colour, "fit": fit}
    chw, _ = fitted(place, frame, (5, width), layout="chw", **options)
    hwc, _ = fitted(place, frame, (5, width), layout="hwc", **options)
    assert chw.dtype == hwc.dtype == dtype
    np.testing.assert_array_equal(np.moveaxis(hwc, 2, 0), chw)


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 33, 67])
def test_types_round_the_same_values(place: Place, width: int, layout: Layout) -> None:
    frame = random_bgr(9, 2 * width)
    options: dict[str, Any] = {"fit": "stretch", "layout": layout}
    exact, _ = fitted(place, frame, (9, width), scale=1.0, **options)
    pixels, _ = fitted(place, frame, (9, width), dtype="uint8", **options)
    np.testing.assert_array_equal(pixels, np.floor(exact + 0.5))
    halves, _ = fitted(place, frame, (9, width), scale=1.0, dtype="float16", **options)
    np.testing.assert_array_equal(halves, exact.astype(np.float16))


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 3e-7, 1e-5, 1 / 255, 1.0, 256.9, 257.1, 1e30])
@pytest.mark.parametrize("centre", [0.0, 1e-7, 0.5, 100.0])
def test_halves_are_rounded_as_numpy_rounds_them(place: Place, scale: float, centre: float) -> None:
    # Normal, subnormal, both signs, ties and what overflows to infinity.
    frame = np.arange(256, dtype=np.uint8).reshape(16, 16)
    options: dict[str, Any] = {"format": "gray8", "colour": "gray", "scale": scale}
    options |= {"mean": (centre,)}
    exact, _ = fitted(place, frame, (16, 16), **options)
    halves, _ = fitted(place, frame, (16, 16), dtype="float16", **options)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(halves, exact.astype(np.float16))


def test_pixels_saturate(place: Place) -> None:
    frame = np.array([[0, 100, 200, 255]], np.uint8)
    options: dict[str, Any] = {"format": "gray8", "colour": "gray", "dtype": "uint8"}
    out, _ = fitted(place, frame, (1, 4), scale=1.5, **options)
    np.testing.assert_array_equal(out, [[[0, 150, 255, 255]]])


def test_default_scales(place: Place) -> None:
    frame = np.full((1, 1, 3), 255, np.uint8)
    assert fitted(place, frame, (1, 1))[0].max() == 1.0
    assert fitted(place, frame, (1, 1), dtype="float16")[0].max() == 1.0
    assert fitted(place, frame, (1, 1), dtype="uint8")[0].max() == 255


@pytest.mark.parametrize(
    "view",
    [
        np.s_[5:29, 3:40],
        np.s_[::2, 3:40],
        np.s_[::-1],
        np.s_[:, ::2],
        np.s_[:, :, ::-1],
        np.s_[5:6, 7:8],
    ],
    ids=["crop", "every second row", "upside down", "every second column", "channels", "pixel"],
)
def test_views_are_read_as_they_are(view: tuple[slice, ...] | slice) -> None:
    frame = random_bgr(32, 48)[view]
    frame.setflags(write=False)
    actual, _ = letterbox(frame, (20, 20))
    expected, _ = letterbox(frame.copy(order="C"), (20, 20))
    np.testing.assert_array_equal(actual, expected)


@on_places(*PLANAR)
def test_planes_of_a_decoder_are_read_as_they_are(place: Place, form: FrameFormat) -> None:
    planes = random_frame(form, 22, 38)
    padded = []
    for index, plane in enumerate(planes):
        # Rows wider than the picture, and the first plane upside down, which PyTorch has not.
        room = np.full((plane.shape[0], plane.shape[1] + 26, *plane.shape[2:]), 77, np.uint8)
        down = 1 if place.name == "triton" else -1
        view = room[::down, : plane.shape[1]] if index == 0 else room[:, 5 : 5 + plane.shape[1]]
        view[...] = plane
        padded.append(sliced(place, room, view))
    actual, _ = fit_one(place, tuple(padded), (17, 20), format=form)
    expected, _ = fitted(place, planes, (17, 20), format=form)
    np.testing.assert_array_equal(place.numpy(actual), expected)


@on_places(*PLANAR)
def test_one_array_is_its_planes(place: Place, form: FrameFormat) -> None:
    planes = random_frame(form, 12, 20)
    joined = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(18, 20)
    actual, _ = fitted(place, joined, (17, 20), format=form)
    expected, _ = fitted(place, planes, (17, 20), format=form)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@on_places(*FRAME_FORMATS)
@pytest.mark.parametrize("width", [4, 30, 64, 66, 192, 194])
def test_reads_nothing_beside_the_frame(
    place: Place, form: FrameFormat, width: int, interpolation: Interpolation
) -> None:
    # What lies next to the rows must not change the result, however they are loaded.
    results = []
    for rest in (0, 255):
        planes = random_frame(form, 6, width)
        surrounded = []
        for plane in planes if isinstance(planes, tuple) else (planes,):
            height, columns = plane.shape[:2]
            room = np.full((height + 2, columns + 130, *plane.shape[2:]), rest, np.uint8)
            view = room[1:-1, 64 : 64 + columns]
            view[...] = plane
            surrounded.append(sliced(place, room, view))
        frame = tuple(surrounded) if isinstance(planes, tuple) else surrounded[0]
        options: dict[str, Any] = {"format": form, "interpolation": interpolation}
        results.append(
            [
                place.numpy(fit_one(place, frame, size_hw, **options)[0])
                for size_hw in ((3, 10), (6, 64), (9, 100))
            ]
        )
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_strip_centre_cropped_reads_its_middle(place: Place) -> None:
    frame = np.zeros((1, 10_001, 3), np.uint8)
    frame[0, 5000] = 255
    out, placement = fitted(place, frame, (64, 64), fit="centre-crop", scale=1.0)
    assert placement.resized_hw == (64, 640_064)
    expected = 255 * (1 - 0.5 / 64)
    np.testing.assert_allclose(out[:, :, 31:33].min(), expected, rtol=0, atol=PACKED_ERROR)


def test_out_is_returned_and_fully_written(place: Place) -> None:
    allocated, _ = fit_one(place, moved(place, random_bgr(10, 10)), (24, 40))
    written, _ = fitted(place, random_bgr(10, 10), (24, 40))
    assert np.isfinite(written).all()
    np.testing.assert_array_equal(place.numpy(allocated), written)


@pytest.mark.parametrize("layout", ["chw", "hwc"])
def test_out_may_be_one_image_of_a_batch(place: Place, layout: Layout) -> None:
    shape = (3, 24, 40) if layout == "chw" else (24, 40, 3)
    batch = np.full((3, *shape), np.nan, np.float32)
    whole = place.array(batch)
    there = sliced(place, batch, batch[1], whole)
    fit_one(place, moved(place, random_bgr(10, 10)), (24, 40), there, layout=layout)
    written = place.numpy(whole)
    assert np.isfinite(written[1]).all()
    assert np.isnan(written[[0, 2]]).all()
