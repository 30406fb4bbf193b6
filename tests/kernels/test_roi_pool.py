"""roi_pool against the reference, torchvision and its own properties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import reference, roi_pool

from .conftest import Place
from .test_roi_align import random_rois

Floats = NDArray[np.float32]

LOWEST = np.finfo(np.float32).min

# Around the blocks of 16 channels and their vectors of 4, 8 or 16.
CHANNELS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33]
# Around the 4 columns and the 16 bins or cells taken at a time.
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67]


def random_features(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pool(
    place: Place, features: Floats, rois: Floats, size_hw: tuple[int, int], **options: Any
) -> Floats:
    """The public function on a poisoned output: a value that it forgets stays NaN."""
    out = place.poisoned((*rois.shape[:-1], features.shape[-3], *size_hw), np.float32)
    if "batch_ids" in options:
        options["batch_ids"] = place.array(options["batch_ids"])
    found = roi_pool(place.array(features), place.array(rois), size_hw, out=out, **options)
    assert found is out
    return place.numpy(out)


@pytest.mark.parametrize("channels", CHANNELS)
def test_matches_reference_at_every_number_of_channels(place: Place, channels: int) -> None:
    features, rois = random_features(channels, 9, 11), random_rois(12, (9, 11))
    np.testing.assert_array_equal(
        pool(place, features, rois, (3, 5), spatial_scale=1.0),
        reference.roi_pool(features, rois, (3, 5), spatial_scale=1.0),
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_matches_reference_at_every_size_of_map(place: Place, width: int) -> None:
    features, rois = random_features(2, 5, width), random_rois(12, (5, width))
    for feature, box in ((features, rois), (features.swapaxes(1, 2), rois[:, [1, 0, 3, 2]])):
        np.testing.assert_array_equal(
            pool(place, feature, box, (2, 3), spatial_scale=1.0),
            reference.roi_pool(feature, box, (2, 3), spatial_scale=1.0),
        )


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 15), (16, 1), (3, 5), (7, 7), (14, 14), (1, 17)])
def test_matches_reference_at_every_grid(place: Place, size_hw: tuple[int, int]) -> None:
    features, rois = random_features(3, 22, 30), random_rois(12, (22, 30)) * 4
    np.testing.assert_array_equal(
        pool(place, features, rois, size_hw, spatial_scale=0.25),
        reference.roi_pool(features, rois, size_hw, spatial_scale=0.25),
    )


@given(
    features=arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0, np.nan, np.inf, -np.inf]),
    ),
    # Halves, which round away from 0.
    rois=arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.just(4)),
        elements=st.integers(-10, 30).map(lambda k: k / 2),
    ),
    size_hw=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    spatial_scale=st.sampled_from([0.25, 1.0, 1.7]),
)
def test_matches_reference_on_any_value(
    place: Place, features: Floats, rois: Floats, size_hw: tuple[int, int], spatial_scale: float
) -> None:
    np.testing.assert_array_equal(
        pool(place, features, rois, size_hw, spatial_scale=spatial_scale),
        reference.roi_pool(features, rois, size_hw, spatial_scale=spatial_scale),
    )


@pytest.mark.parametrize("size_hw", [(7, 7), (14, 14), (3, 5), (1, 1)])
@pytest.mark.parametrize("spatial_scale", [1.0, 0.125, 0.3])
def test_equals_torchvision(place: Place, size_hw: tuple[int, int], spatial_scale: float) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    features = random_features(2, 19, 40, 48)
    features[features > 2] = np.nan
    rois = (random_rois(80, (40, 48)) / spatial_scale).astype(np.float32)
    batch_ids = (np.arange(80) % 2).astype(np.int32)
    rows = torch.from_numpy(np.hstack([batch_ids[:, None].astype(np.float32), rois]))
    expected = ops.roi_pool(torch.from_numpy(features), rows, size_hw, spatial_scale)
    actual = pool(place, features, rois, size_hw, spatial_scale=spatial_scale, batch_ids=batch_ids)
    np.testing.assert_array_equal(actual, expected.numpy())


@pytest.mark.parametrize("num_bins", [*range(1, 20), 49])
def test_bins_of_every_size_equal_torchvision(place: Place, num_bins: int) -> None:
    # The product of a float32 quotient may exceed the whole number that it should be.
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    features = random_features(1, 1, 130)
    rois = np.array([[0, 0, last, 0] for last in range(128)], np.float32)
    rows = torch.from_numpy(np.hstack([np.zeros((128, 1), np.float32), rois]))
    expected = ops.roi_pool(torch.from_numpy(features[None]), rows, (1, num_bins), 1.0)
    actual = pool(place, features, rois, (1, num_bins), spatial_scale=1.0)
    np.testing.assert_array_equal(actual, expected.numpy())


@given(rois=arrays(np.float32, (4, 4), elements=st.integers(-4, 14).map(float)))
def test_a_coarser_grid_is_the_maximum_of_a_finer_one(place: Place, rois: Floats) -> None:
    # True of bins of whole cells: halves of halves of a side of 4 n cells.
    features = random_features(2, 8, 8) + 10  # above the 0 of empty bins
    rois[:, 2:] = rois[:, :2] + 3 + 4 * (np.abs(rois[:, 2:]) % 2)
    fine = pool(place, features, rois, (4, 4), spatial_scale=1.0)
    coarse = pool(place, features, rois, (2, 2), spatial_scale=1.0)
    np.testing.assert_array_equal(coarse, fine.reshape(4, 2, 2, 2, 2, 2).max((3, 5)))


def test_worked_example(place: Place) -> None:
    features = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    rois = np.array([[0, 0, 3, 3], [0, 0, 2, 2], [9, 9, 12, 12]], np.float32)
    actual = pool(place, features, rois, (2, 2), spatial_scale=1.0)
    # Three cells in two bins: both take the one in the middle. Outside the map: empty.
    assert actual[:, 0].tolist() == [[[5, 7], [13, 15]], [[5, 6], [9, 10]], [[0, 0], [0, 0]]]


def test_halves_are_rounded_away_from_zero(place: Place) -> None:
    features = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    below = np.nextafter(np.float32(0.5), np.float32(0))
    rois = np.array([[0.5, 0, 0.5, 0], [below, 0, below, 0], [2.5, 0, 2.5, 0]], np.float32)
    assert pool(place, features, rois, (1, 1), spatial_scale=1.0).ravel().tolist() == [1, 0, 3]
    outside = np.array([[-0.5, 0, -0.5, 0], [-below, 0, -below, 0]], np.float32)
    assert pool(place, features + 1, outside, (1, 1), spatial_scale=1.0).ravel().tolist() == [0, 1]


def test_a_bin_of_nothing_that_counts_is_the_lowest_float(place: Place) -> None:
    features = np.array([[[np.nan, -np.inf, LOWEST, 1]]], np.float32)
    rois = np.array([[x, 0, x, 0] for x in range(4)], np.float32)
    actual = pool(place, features, rois, (1, 1), spatial_scale=1.0)
    assert actual.ravel().tolist() == [LOWEST, LOWEST, LOWEST, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**30])
@pytest.mark.parametrize("column", range(4))
def test_coordinates_out_of_this_world_give_zero(place: Place, value: float, column: int) -> None:
    features, rois = random_features(3, 8, 8), random_rois(5, (8, 8))
    expected = pool(place, features, rois, (7, 7), spatial_scale=1.0)
    rois[2, column] = value
    expected[2] = 0
    np.testing.assert_array_equal(pool(place, features, rois, (7, 7), spatial_scale=1.0), expected)


def test_giant_rois_see_the_whole_map(place: Place) -> None:
    features = random_features(3, 8, 8)
    rois = np.array([[-1e9, -1e9, 1e9, 1e9]], np.float32)
    actual = pool(place, features, rois, (1, 1), spatial_scale=1.0)
    np.testing.assert_array_equal(actual[0, :, 0, 0], features.max((1, 2)))


def test_each_image_of_the_batch_has_its_rois(place: Place) -> None:
    features, rois = random_features(3, 5, 9, 9), random_rois(40, (9, 9))
    batch_ids = np.random.default_rng(2).integers(0, 3, 40).astype(np.int32)
    together = pool(place, features, rois, (7, 7), spatial_scale=1.0, batch_ids=batch_ids)
    for image in range(3):
        chosen = batch_ids == image
        alone = pool(place, features[image], rois[chosen], (7, 7), spatial_scale=1.0)
        np.testing.assert_array_equal(together[chosen], alone)


def test_reads_views() -> None:
    features, rois = random_features(6, 12, 14)[::2, ::-1, ::2], random_rois(8, (12, 7))[::-2]
    np.testing.assert_array_equal(
        roi_pool(features, rois, (3, 3), spatial_scale=1.0),
        roi_pool(features.copy(), rois.copy(), (3, 3), spatial_scale=1.0),
    )


def test_allocates_its_output(place: Place) -> None:
    features, rois = random_features(3, 12, 7), random_rois(8, (12, 7))
    actual = roi_pool(place.array(features), place.array(rois), (3, 3), spatial_scale=1.0)
    np.testing.assert_array_equal(
        place.numpy(actual), pool(place, features, rois, (3, 3), spatial_scale=1.0)
    )


def test_rois_by_image(place: Place) -> None:
    features, rois = random_features(3, 5, 9, 9), random_rois(12, (9, 9))
    ids = np.repeat(np.arange(3, dtype=np.int32), 4)
    by_image = pool(place, features, rois.reshape(3, 4, 4), (7, 7), spatial_scale=1.0)
    listed = pool(place, features, rois, (7, 7), spatial_scale=1.0, batch_ids=ids)
    np.testing.assert_array_equal(by_image, listed.reshape(3, 4, 5, 7, 7))


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
        ({"rois_xyxy": np.zeros((5, 5), np.float32)}, r"`rois_xyxy` must have shape \(R, 4\)"),
        ({"output_size_hw": (7, -1)}, "`output_size_hw` must be at least 1, got -1"),
        ({"spatial_scale": float("inf")}, "`spatial_scale` must be positive and finite, got inf"),
        ({"batch_ids": np.full(5, 2, np.int32)}, r"`batch_ids` must be in \[0, 2\), got 2 to 2"),
        ({"out": np.zeros((4, 3, 7, 7), np.float32)}, r"`out` must have shape \(5, 3, 7, 7\)"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^roi_pool: {message}"):
        roi_pool(**GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.zeros((2, 3, 4, 4))}, "`features` must be float32, got float64"),
        ({"rois_xyxy": [[0, 0, 1, 1]]}, "`rois_xyxy` must be a NumPy array, got list"),
        ({"batch_ids": np.zeros(5, np.int64)}, "`batch_ids` must be int32, got int64"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^roi_pool: {message}"):
        roi_pool(**GOOD | options)
