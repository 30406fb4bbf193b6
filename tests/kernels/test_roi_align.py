"""roi_align against the reference, torchvision and its own properties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import reference, roi_align
from edgecv.kernels._native import roi_align_cpu

from .conftest import Place, heavy

IN_TRITON = True

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

EPS = 2.0**-24  # half a unit in the last place of 1: what one rounding adds

# Weights are positive and sum to 1 at most, so that each rounding adds EPS times the greatest
# feature, 1 here: up to 64 rows and 64 columns are summed, and a weight takes about 8 roundings.
TOLERANCE = (64 + 64 + 8) * EPS

# A position takes about 8 roundings of numbers below 128 cells, where the reference has none; the
# interpolated value changes by at most 2, twice the greatest feature, per cell and axis.
POSITION_TOLERANCE = TOLERANCE + 2 * 2 * 8 * 128 * EPS

# Around the blocks of 16 channels and their vectors of 4, 8 or 16.
CHANNELS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33]
# Around the 4 columns and the 16 bins or cells taken at a time.
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9]
WIDER = [15, 16, 17, 31, 33, 63, 64, 65, 67]


def random_features(*shape: int, seed: int = 0) -> Floats:
    """Features in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def random_rois(count: int, size_hw: tuple[int, int], *, seed: int = 1) -> Floats:
    """Boxes of all sizes in and around a map of `size_hw` cells; some inverted or empty."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * (width, height)
    extent = rng.uniform(-0.1, 1.2, (count, 2)) ** 2 * (width, height)
    extent[::11] = 0
    extent[1::11] *= -1
    return np.hstack([centre - extent / 2, centre + extent / 2]).astype(np.float32)


def align(
    place: Place, features: Floats, rois: Floats, size_hw: tuple[int, int], **options: Any
) -> Floats:
    """The public function on a poisoned output: a value that it forgets stays NaN."""
    out = place.poisoned((*rois.shape[:-1], features.shape[-3], *size_hw), np.float32)
    options["implementation"] = place.implementation
    if "batch_ids" in options:
        options["batch_ids"] = place.array(options["batch_ids"])
    found = roi_align(place.array(features), place.array(rois), size_hw, out=out, **options)
    assert found is out
    return place.numpy(out)


def torchvision_align(
    features: Floats, rois: Floats, size_hw: tuple[int, int], **options: Any
) -> Floats:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    batch_ids = options.pop("batch_ids", np.zeros(len(rois), np.int32))
    rows = np.hstack([batch_ids[:, None].astype(np.float32), rois])
    maps = torch.from_numpy(features.reshape(-1, *features.shape[-3:]))
    found: Floats = ops.roi_align(maps, torch.from_numpy(rows), size_hw, **options).numpy()
    return found


# Coordinates are multiples of 1/8 cell and bins powers of two, so that positions are exact or a
# third of something: the reference, in float64, takes every decision at the border alike.
dyadic_rois = st.lists(
    st.tuples(*[st.integers(-80, 200).map(lambda k: k / 8)] * 4), min_size=1, max_size=8
).map(lambda rows: np.array(rows, np.float32))


@pytest.mark.parametrize("channels", CHANNELS)
def test_matches_reference_at_every_number_of_channels(place: Place, channels: int) -> None:
    features, rois = random_features(channels, 9, 11), random_rois(5, (9, 11))
    np.testing.assert_allclose(
        align(place, features, rois, (3, 5), spatial_scale=1.0),
        reference.roi_align(features, rois, (3, 5), spatial_scale=1.0),
        rtol=0,
        atol=POSITION_TOLERANCE,
    )


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("width", [*WIDTHS, *(pytest.param(width, marks=heavy) for width in WIDER)])
def test_matches_reference_at_every_size_of_map(place: Place, width: int, *, aligned: bool) -> None:
    features, rois = random_features(2, 5, width), random_rois(9, (5, width))
    for feature, box in ((features, rois), (features.swapaxes(1, 2), rois[:, [1, 0, 3, 2]])):
        np.testing.assert_allclose(
            align(place, feature, box, (2, 3), spatial_scale=1.0, aligned=aligned),
            reference.roi_align(feature, box, (2, 3), spatial_scale=1.0, aligned=aligned),
            rtol=0,
            atol=POSITION_TOLERANCE,
        )


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 15), (16, 1), (3, 5), (4, 4), (7, 7), (1, 17)])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3, pytest.param(8, marks=heavy)])
def test_matches_reference_at_every_grid(
    place: Place, size_hw: tuple[int, int], sampling_ratio: int
) -> None:
    features, rois = random_features(3, 12, 10), random_rois(6, (12, 10))
    options: dict[str, Any] = {"spatial_scale": 1.0, "sampling_ratio": sampling_ratio}
    np.testing.assert_allclose(
        align(place, features, rois, size_hw, **options),
        reference.roi_align(features, rois, size_hw, **options),
        rtol=0,
        atol=POSITION_TOLERANCE,
    )


@given(
    rois=dyadic_rois,
    size_hw=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])),
    map_hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    spatial_scale=st.sampled_from([0.25, 0.5, 1.0]),
    sampling_ratio=st.sampled_from([0, 1, 2, 3, 4]),
    aligned=st.booleans(),
)
def test_matches_reference_at_the_border(
    place: Place,
    rois: Floats,
    size_hw: tuple[int, int],
    map_hw: tuple[int, int],
    **options: Any,
) -> None:
    features = random_features(2, *map_hw)
    np.testing.assert_allclose(
        align(place, features, rois, size_hw, **options),
        reference.roi_align(features, rois, size_hw, **options),
        rtol=0,
        atol=TOLERANCE + 2 * 2 * 4 * 32 * EPS,  # positions of thirds round, below 32 cells
    )


@heavy
@given(rois=dyadic_rois, aligned=st.booleans(), sampling_ratio=st.sampled_from([0, 2]))
def test_a_plane_is_sampled_at_the_centres_of_bins(
    place: Place, rois: Floats, sampling_ratio: int, *, aligned: bool
) -> None:
    # Bilinear samples of a plane average to its value at the bin's centre, if all lie inside.
    height, width = 24, 30
    y, x = np.mgrid[:height, :width]
    plane = (x + 2 * y)[None].astype(np.float32)
    rois = np.clip(rois, 1, [width - 2, height - 2] * 2).astype(np.float32)
    rois = np.hstack([np.minimum(rois[:, :2], rois[:, 2:]), np.maximum(rois[:, :2], rois[:, 2:])])
    rois[:, 2:] = np.maximum(rois[:, 2:], rois[:, :2] + 1)  # neither empty nor made longer
    options: dict[str, Any] = {"sampling_ratio": sampling_ratio, "aligned": aligned}
    actual = align(place, plane, rois, (4, 2), spatial_scale=1.0, **options)
    low, extent = rois[:, :2] - (0.5 if aligned else 0.0), rois[:, 2:] - rois[:, :2]
    centre_x = low[:, :1] + extent[:, :1] * (np.arange(2) + 0.5) / 2
    centre_y = low[:, 1:] + extent[:, 1:] * (np.arange(4) + 0.5) / 4
    expected = centre_x[:, None, :] + 2 * centre_y[:, :, None]
    scale = float(plane.max())
    np.testing.assert_allclose(actual[:, 0], expected, rtol=0, atol=POSITION_TOLERANCE * scale)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 5])
@pytest.mark.parametrize("size_hw", [(7, 7), pytest.param((14, 14), marks=heavy), (3, 5)])
def test_agrees_with_torchvision(
    place: Place, size_hw: tuple[int, int], sampling_ratio: int, *, aligned: bool
) -> None:
    features = random_features(2, 19, 50, 64)
    rois = place.some(random_rois(60, (50, 64))) * 8
    options: dict[str, Any] = {
        "spatial_scale": 0.125,
        "sampling_ratio": sampling_ratio,
        "aligned": aligned,
        "batch_ids": np.arange(len(rois), dtype=np.int32) % 2,
    }
    np.testing.assert_allclose(
        align(place, features, rois, size_hw, **options),
        torchvision_align(features, rois, size_hw, **options),
        rtol=0,
        atol=1e-5,  # positions are the same; both sum at most 400 terms whose weights sum to 1
    )


@pytest.mark.parametrize("aligned", [True, False])
def test_agrees_with_torchvision_where_samples_meet_the_border(
    place: Place, *, aligned: bool
) -> None:
    features = random_features(2, 6, 5)
    offset = 0.5 if aligned else 0.0
    steps = np.array([-1.0, 0.0, 4.0, 5.0, 6.0], np.float32)
    around = np.concatenate([np.nextafter(steps, -9), steps, np.nextafter(steps, 9)])
    x, y = (grid.ravel() for grid in np.meshgrid(around, around))
    # One sample, in the middle of a box of two cells.
    rois = place.some(np.stack([x - 1, y - 1, x + 1, y + 1], 1)) + np.float32(offset)
    options: dict[str, Any] = {"spatial_scale": 1.0, "sampling_ratio": 1, "aligned": aligned}
    np.testing.assert_allclose(
        align(place, features, rois.astype(np.float32), (1, 1), **options),
        torchvision_align(features, rois.astype(np.float32), (1, 1), **options),
        rtol=0,
        atol=8 * EPS,  # one sample of four cells
    )


def test_worked_example(place: Place) -> None:
    features = np.array([[[0, 1], [2, 3]]], np.float32)
    roi = np.array([[0, 0, 2, 2]], np.float32)  # the whole map, one sample per bin: its cells
    assert align(place, features, roi, (2, 2), spatial_scale=1.0).tolist() == [[[[0, 1], [2, 3]]]]
    assert align(place, features, roi, (1, 1), spatial_scale=1.0).tolist() == [[[[1.5]]]]
    # Not aligned, the cells' centres are at 0 and 1 and the samples at 0.5 and 1.5.
    actual = align(place, features, roi, (2, 2), spatial_scale=1.0, aligned=False)
    assert actual.tolist() == [[[[1.5, 2], [2.5, 3]]]]


@pytest.mark.parametrize("x", [-1.0, 2.0])
def test_a_sample_on_the_edge_counts_and_one_beyond_does_not(place: Place, x: float) -> None:
    features = np.full((1, 2, 2), 3, np.float32)
    beyond = np.nextafter(np.float32(x), np.float32(9 * x))
    rois = np.array([[x, 0, x, 1], [beyond, 0, beyond, 1]], np.float32) + np.float32(0.5)
    # The coordinates of the second lose the step beyond unless it is far enough.
    rois[1, ::2] = np.float32(x + 0.5) + np.sign(x) * np.float32(2.0**-20)
    actual = align(place, features, rois, (1, 1), spatial_scale=1.0, sampling_ratio=1)
    assert actual.ravel().tolist() == [3, 0]


def test_inverted_and_empty_rois(place: Place) -> None:
    features = random_features(3, 8, 8)
    rois = np.array([[6, 6, 2, 2], [4, 4, 4, 4], [2, 6, 6, 2]], np.float32)
    options: dict[str, Any] = {"spatial_scale": 1.0}
    # Adaptive and aligned: a bin of no size has no samples.
    np.testing.assert_array_equal(align(place, features, rois, (2, 2), **options), 0)
    # A fixed grid runs backwards.
    flipped = align(place, features, rois[:1, [2, 3, 0, 1]], (2, 2), sampling_ratio=2, **options)
    actual = align(place, features, rois, (2, 2), sampling_ratio=2, **options)
    np.testing.assert_allclose(actual[0], flipped[0, :, ::-1, ::-1], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        actual[1],
        np.broadcast_to(features[:, 3:5, 3:5].mean((1, 2))[:, None, None], (3, 2, 2)),
        rtol=0,
        atol=TOLERANCE,
    )
    # Not aligned: one cell at least.
    unit = np.hstack([rois[:, :2], rois[:, :2] + 1])
    np.testing.assert_array_equal(
        align(place, features, rois[:2], (2, 2), aligned=False, **options),
        align(place, features, unit[:2], (2, 2), aligned=False, **options),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**30])
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("sampling_ratio", [0, pytest.param(3, marks=heavy)])
def test_coordinates_out_of_this_world_give_zero(
    place: Place, value: float, column: int, sampling_ratio: int
) -> None:
    features, rois = random_features(3, 8, 8), random_rois(5, (8, 8))
    expected = align(
        place, features, rois, (7, 7), spatial_scale=1.0, sampling_ratio=sampling_ratio
    )
    rois[2, column] = value
    expected[2] = 0
    actual = align(place, features, rois, (7, 7), spatial_scale=1.0, sampling_ratio=sampling_ratio)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("reach", [1e2, 1e3, *(pytest.param(r, marks=heavy) for r in (1e4, 1e6))])
def test_giant_rois_take_their_share_of_the_map(place: Place, reach: float) -> None:
    # Samples are nearly a cell apart and inside over 9 and 7 cells: at most one more per axis.
    features = np.ones((1, 8, 6), np.float32)
    rois = np.array([[-reach, -reach, reach, reach]], np.float32)
    actual = align(place, features, rois, (1, 1), spatial_scale=1.0)
    share = (8 + 1) * (6 + 1) / (2 * reach) ** 2
    np.testing.assert_allclose(actual, share, rtol=1.001 * (10 / 9) * (8 / 7) - 1)


@heavy
def test_boxes_of_a_billion_cells_end(place: Place) -> None:
    # A thousand million samples per axis, of which float32 tells one in 64 from its neighbours:
    # 64 or so round into the map.
    features = np.ones((17, 8, 6), np.float32)
    rois = np.array([[-1e9, -1e9, 1e9, 1e9], [0, 0, 1e9, 1e9], [-1e9, 0, 0, 8]], np.float32)
    for size_hw in ((1, 1), (7, 7)):
        actual = align(place, features, rois, size_hw, spatial_scale=1.0)
        assert (actual >= 0).all()
        assert (actual <= (128 * 7 / 1e9)).all()
        assert actual.any()


@heavy
@pytest.mark.parametrize("reach", [100, 3000])
def test_large_rois_agree_with_torchvision(place: Place, reach: int) -> None:
    features = random_features(2, 9, 12)
    rois = np.array(
        [[-reach, -9, 12, 9], [-5, -reach, 9, 7], [-reach, 2, reach, 4], [3, 3, 5, reach]],
        np.float32,
    )
    for sampling_ratio in (0, 2, 64):
        options: dict[str, Any] = {
            "spatial_scale": 0.5,
            "sampling_ratio": sampling_ratio,
            "aligned": False,
        }
        np.testing.assert_allclose(
            align(place, features, rois, (3, 2), **options),
            torchvision_align(features, rois, (3, 2), **options),
            rtol=0,
            atol=2e-5,  # torchvision sums up to 64 * 64 samples one by one
        )


def test_each_image_of_the_batch_has_its_rois(place: Place) -> None:
    features, rois = random_features(3, 5, 9, 9), place.some(random_rois(40, (9, 9)))
    batch_ids = np.random.default_rng(2).integers(0, 3, len(rois)).astype(np.int32)
    together = align(place, features, rois, (7, 7), spatial_scale=1.0, batch_ids=batch_ids)
    for image in range(3):
        chosen = batch_ids == image
        alone = align(place, features[image], rois[chosen], (7, 7), spatial_scale=1.0)
        np.testing.assert_array_equal(together[chosen], alone)


def test_more_rois_than_the_processor_tabulates_at_once() -> None:
    features, rois = random_features(1, 5, 6), random_rois(5000, (5, 6))
    actual = roi_align(features, rois, (2, 2), spatial_scale=1.0)
    np.testing.assert_array_equal(
        actual[::500], roi_align(features, rois[::500], (2, 2), spatial_scale=1.0)
    )
    assert np.isfinite(actual).all()


def test_only_the_cells_of_a_roi_are_read(place: Place) -> None:
    # The samples of the box lie on cells 2 and 3 exactly: cells of weight 0 do not spread NaN.
    features = np.full((17, 6, 6), np.nan, np.float32)
    features[:, 2:4, 2:4] = 1
    roi = np.array([[2, 2, 4, 4]], np.float32)
    np.testing.assert_array_equal(align(place, features, roi, (2, 2), spatial_scale=1.0), 1)


def test_reads_views() -> None:
    features, rois = random_features(6, 12, 14)[::2, ::-1, ::2], random_rois(8, (12, 7))[::-2]
    np.testing.assert_array_equal(
        roi_align(features, rois, (3, 3), spatial_scale=1.0),
        roi_align(features.copy(), rois.copy(), (3, 3), spatial_scale=1.0),
    )


def test_allocates_its_output(place: Place) -> None:
    features, rois = random_features(3, 12, 7), random_rois(8, (12, 7))
    there = place.array(features), place.array(rois)
    actual = roi_align(*there, (3, 3), spatial_scale=1.0, implementation=place.implementation)
    np.testing.assert_array_equal(
        place.numpy(actual), align(place, features, rois, (3, 3), spatial_scale=1.0)
    )


def test_no_rois_and_no_channels(place: Place) -> None:
    features, rois = random_features(3, 4, 4), random_rois(2, (4, 4))
    assert align(place, features, rois[:0], (7, 5), spatial_scale=1.0).shape == (0, 3, 7, 5)
    assert align(place, features[:0], rois, (7, 5), spatial_scale=1.0).shape == (2, 0, 7, 5)


def test_rois_by_image(place: Place) -> None:
    features, rois = random_features(3, 5, 9, 9), random_rois(12, (9, 9))
    options: dict[str, Any] = {"spatial_scale": 1.0, "sampling_ratio": 2}
    ids = np.repeat(np.arange(3, dtype=np.int32), 4)
    by_image = align(place, features, rois.reshape(3, 4, 4), (7, 7), **options)
    listed = align(place, features, rois, (7, 7), batch_ids=ids, **options)
    np.testing.assert_array_equal(by_image, listed.reshape(3, 4, 5, 7, 7))
    empty = align(place, features, rois[:0].reshape(3, 0, 4), (7, 7), **options)
    assert empty.shape == (3, 0, 5, 7, 7)


def test_kernel_gives_zero_for_an_image_or_level_that_is_not_there() -> None:
    features, rois = random_features(2, 3, 8, 8), np.tile(np.float32([1, 1, 7, 7]), (4, 1))
    out = np.full((4, 3, 2, 2), np.nan, np.float32)
    roi_align_cpu(
        [features],
        [1.0],
        rois,
        batch_ids=np.array([-1, 2, 1, 1], np.int32),
        level_ids=np.array([0, 0, -1, 0], np.int32),
        sampling_ratio=0,
        aligned=True,
        out=out,
    )
    np.testing.assert_array_equal(out[:3], 0)
    assert (out[3] != 0).all()


GOOD: dict[str, Any] = {
    "features": np.zeros((2, 3, 4, 4), np.float32),
    "rois_xyxy": np.zeros((5, 4), np.float32),
    "output_size_hw": (7, 7),
    "spatial_scale": 0.25,
    "batch_ids": np.zeros(5, np.int32),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.zeros((4, 4), np.float32)}, r"`features` must have shape \(B, C, H, W\)"),
        ({"features": np.zeros((2, 3, 0, 4), np.float32)}, "`features` must have at least 1 cell"),
        ({"rois_xyxy": np.zeros((5, 5), np.float32)}, r"`rois_xyxy` must have shape \(R, 4\)"),
        ({"output_size_hw": (0, 7)}, "`output_size_hw` must be at least 1, got 0"),
        ({"spatial_scale": 0.0}, "`spatial_scale` must be positive and finite, got 0.0"),
        ({"spatial_scale": float("nan")}, "`spatial_scale` must be positive and finite, got nan"),
        ({"sampling_ratio": -1}, r"`sampling_ratio` must be in \[0, 1024\], got -1. 0 adapts"),
        ({"sampling_ratio": 1025}, r"`sampling_ratio` must be in \[0, 1024\], got 1025"),
        ({"batch_ids": None}, "`batch_ids` must be given for features of 2 images, got None"),
        ({"batch_ids": np.zeros(4, np.int32)}, r"`batch_ids` must have shape \(5,\)"),
        ({"batch_ids": np.full(5, 2, np.int32)}, r"`batch_ids` must be in \[0, 2\), got 2 to 2"),
        ({"batch_ids": np.full(5, -1, np.int32)}, r"`batch_ids` must be in \[0, 2\), got -1 to"),
        ({"out": np.zeros((5, 3, 7, 6), np.float32)}, r"`out` must have shape \(5, 3, 7, 7\)"),
        ({"out": np.zeros((5, 3, 7, 7), np.float32)[:, :, ::-1]}, "`out` must be C-contiguous"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^roi_align: {message}"):
        roi_align(**GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.zeros((2, 3, 4, 4))}, "`features` must be float32, got float64"),
        ({"features": [1.0]}, "`features` must be a NumPy array, got list"),
        ({"rois_xyxy": np.zeros((5, 4), np.int32)}, "`rois_xyxy` must be float32, got int32"),
        ({"batch_ids": np.zeros(5, np.int64)}, "`batch_ids` must be int32, got int64"),
        ({"out": np.zeros((5, 3, 7, 7))}, "`out` must be float32, got float64"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^roi_align: {message}"):
        roi_align(**GOOD | options)
