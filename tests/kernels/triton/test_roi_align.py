"""The Triton roi_align against the reference, the CPU kernels and its own properties."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.kernels import reference  # noqa: E402
from edgecv.kernels import roi_align as roi_align_cpu  # noqa: E402
from edgecv.kernels import roi_align_pyramid as roi_align_pyramid_cpu  # noqa: E402
from edgecv.kernels._native import assign_pyramid_levels_cpu  # noqa: E402
from edgecv.kernels.triton.roi_align import _least_areas, roi_align  # noqa: E402

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

EPS = 2.0**-24
# As in tests/kernels/test_roi_align.py: sums of at most 4 * 64 samples whose weights sum to 1, and
# positions below 128 cells, which take 8 roundings and change the value by 2 per cell and axis.
TOLERANCE = (4 * 64 + 8) * EPS
POSITION_TOLERANCE = TOLERANCE + 2 * 2 * 8 * 128 * EPS

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
IMAGE_HW = (128, 160)


def random_features(*shape: int, seed: int = 0) -> Floats:
    """Features in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def random_pyramid(batch: int, channels: int) -> list[Floats]:
    height, width = IMAGE_HW
    return [
        random_features(batch, channels, int(height * s), int(width * s), seed=k)
        for k, s in enumerate(SCALES)
    ]


def random_rois(count: int, size_hw: tuple[int, int], *, seed: int = 1) -> Floats:
    """Boxes of all sizes in and around a map of `size_hw` cells; some inverted or empty."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * (width, height)
    extent = rng.uniform(-0.1, 1.2, (count, 2)) ** 2 * (width, height)
    extent[::11] = 0
    extent[1::11] *= -1
    return np.hstack([centre - extent / 2, centre + extent / 2]).astype(np.float32)


def pyramid_rois(count: int) -> Floats:
    """Boxes of all levels, within the image or nearly."""
    rng = np.random.default_rng(1)
    side = np.geomspace(16, 700, count)[:, None]
    extent = side * np.exp(rng.uniform(-0.3, 0.3, (count, 2)))
    centre = rng.uniform(0, 1, (count, 2)) * IMAGE_HW[::-1]
    return np.hstack([centre - extent / 2, centre + extent / 2]).astype(np.float32)


def align(
    device: str,
    levels: list[Floats],
    rois: Floats,
    size_hw: tuple[int, int],
    *,
    channels_last: bool = False,
    **options: Any,
) -> NDArray[Any]:
    """The result on a poisoned output: a value that the kernel forgets stays NaN."""
    maps = [torch.from_numpy(level).to(device) for level in levels]
    if channels_last:
        maps = [level.to(memory_format=torch.channels_last) for level in maps]
    for name in ("batch_ids", "level_ids"):
        if name in options:
            options[name] = torch.from_numpy(options[name]).to(device)
    shape = (len(rois), maps[0].shape[1], *size_hw)
    out = torch.full(shape, float("nan"), dtype=maps[0].dtype, device=device)
    boxes = torch.from_numpy(rois).to(device)
    with np.errstate(all="ignore"):  # interpreted, what a GPU does without a word is a warning
        assert roi_align(maps, boxes, size_hw, out=out, **options) is out
    found: NDArray[Any] = out.cpu().numpy()
    return found


def align_one(
    device: str, features: Floats, rois: Floats, size_hw: tuple[int, int], **options: Any
) -> NDArray[Any]:
    features = features.reshape(-1, *features.shape[-3:])
    return align(device, [features], rois, size_hw, **{"spatial_scales": [1.0]} | options)


dyadic_rois = st.lists(
    st.tuples(*[st.integers(-80, 200).map(lambda k: k / 8)] * 4), min_size=1, max_size=4
).map(lambda rows: np.array(rows, np.float32))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 16, 17, 40])
def test_matches_the_reference_at_every_number_of_channels(
    device: str, channels: int, *, channels_last: bool
) -> None:
    features, rois = random_features(channels, 9, 11), random_rois(3, (9, 11))
    np.testing.assert_allclose(
        align_one(device, features, rois, (3, 5), channels_last=channels_last),
        reference.roi_align(features, rois, (3, 5), spatial_scale=1.0),
        rtol=0,
        atol=POSITION_TOLERANCE,
    )


# One bin, a power of two, blocks of 64 bins filled in part, filled, and several of them.
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 15), (4, 4), (7, 7), (8, 8), (9, 8)])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
def test_matches_the_reference_at_every_grid(
    device: str, size_hw: tuple[int, int], sampling_ratio: int
) -> None:
    features, rois = random_features(3, 12, 10), random_rois(3, (12, 10))
    np.testing.assert_allclose(
        align_one(device, features, rois, size_hw, sampling_ratio=sampling_ratio),
        reference.roi_align(
            features, rois, size_hw, spatial_scale=1.0, sampling_ratio=sampling_ratio
        ),
        rtol=0,
        atol=POSITION_TOLERANCE,
    )


@settings(max_examples=15)
@given(
    rois=dyadic_rois,
    size_hw=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])),
    map_hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    spatial_scale=st.sampled_from([0.25, 0.5, 1.0]),
    sampling_ratio=st.sampled_from([0, 1, 2]),
    aligned=st.booleans(),
)
def test_matches_the_reference_at_the_border(
    device: str,
    rois: Floats,
    size_hw: tuple[int, int],
    map_hw: tuple[int, int],
    spatial_scale: float,
    **options: Any,
) -> None:
    # Positions are exact, or thirds of something: every sample is inside for both or for neither.
    features = random_features(2, *map_hw)
    np.testing.assert_allclose(
        align_one(device, features, rois, size_hw, spatial_scales=[spatial_scale], **options),
        reference.roi_align(features, rois, size_hw, spatial_scale=spatial_scale, **options),
        rtol=0,
        atol=TOLERANCE + 2 * 2 * 4 * 32 * EPS,
    )


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("sampling_ratio", "aligned"), [(0, True), (2, False)])
def test_matches_the_reference_on_a_pyramid(
    device: str, sampling_ratio: int, *, aligned: bool, channels_last: bool
) -> None:
    levels, rois = random_pyramid(2, 3), pyramid_rois(9)
    assert len({*_levels_of(rois)}) == len(SCALES)
    options: dict[str, Any] = {
        "spatial_scales": SCALES,
        "sampling_ratio": sampling_ratio,
        "aligned": aligned,
        "batch_ids": np.arange(9, dtype=np.int32) % 2,
    }
    np.testing.assert_allclose(
        align(device, levels, rois, (7, 7), channels_last=channels_last, **options),
        reference.roi_align_pyramid(levels, rois, (7, 7), **options),
        rtol=0,
        atol=POSITION_TOLERANCE,
    )


def test_agrees_with_the_cpu_kernel_on_many_rois(device: str) -> None:
    levels, rois = random_pyramid(3, 5), pyramid_rois(14)
    batch_ids = np.random.default_rng(2).integers(0, 3, 14).astype(np.int32)
    options: dict[str, Any] = {"spatial_scales": SCALES, "batch_ids": batch_ids}
    np.testing.assert_allclose(
        align(device, levels, rois, (7, 7), **options),
        roi_align_pyramid_cpu(levels, rois, (7, 7), **options),
        rtol=0,
        atol=TOLERANCE,  # positions are the same
    )


def test_half_floats_are_summed_in_float32(device: str) -> None:
    levels, rois = [level.astype(np.float16) for level in random_pyramid(1, 9)], pyramid_rois(6)
    found = align(device, levels, rois, (7, 7), spatial_scales=SCALES, sampling_ratio=2)
    assert found.dtype == np.float16
    exact = [level.astype(np.float32) for level in levels]
    expected = align(device, exact, rois, (7, 7), spatial_scales=SCALES, sampling_ratio=2)
    np.testing.assert_array_equal(found, expected.astype(np.float16))


def test_levels_may_be_given(device: str) -> None:
    levels, rois = random_pyramid(1, 2), pyramid_rois(20)[:8]
    level_ids = np.array([3, 2, 1, 0, 3, -1, 4, 0], np.int32)
    found = align(device, levels, rois, (3, 3), spatial_scales=SCALES, level_ids=level_ids)
    for roi, level in enumerate(level_ids):
        expected: Any = 0
        if 0 <= level < len(SCALES):
            one = rois[roi : roi + 1]
            expected = roi_align_cpu(levels[level], one, (3, 3), spatial_scale=SCALES[level])[0]
        np.testing.assert_allclose(found[roi], expected, rtol=0, atol=TOLERANCE)


def test_an_image_that_is_not_there_gives_zero(device: str) -> None:
    features, rois = random_features(2, 3, 6, 6), random_rois(4, (6, 6))
    batch_ids = np.array([0, 2, -1, 1], np.int32)
    found = align_one(device, features, rois, (2, 2), batch_ids=batch_ids)
    assert not found[1:3].any()
    assert np.isfinite(found).all()


def _levels_of(rois: Floats, **options: Any) -> list[int]:
    found = np.full(len(rois), 77, np.int32)
    defaults = {"finest_level": 2, "num_levels": 4, "canonical_size": 224, "canonical_level": 4}
    assign_pyramid_levels_cpu(rois, level_ids=found, **defaults | options)
    return found.tolist()


@pytest.mark.parametrize(
    "rule",
    [
        {"finest_level": 2, "num_levels": 4, "canonical_size": 224, "canonical_level": 4},
        {"finest_level": 3, "num_levels": 3, "canonical_size": 100.5, "canonical_level": 5},
        {"finest_level": 0, "num_levels": 2, "canonical_size": 1e-3, "canonical_level": 0},
    ],
)
def test_levels_change_at_the_areas_where_the_rule_does(rule: dict[str, Any]) -> None:
    areas = np.array(_least_areas(**rule), np.float32)
    assert (np.diff(areas) > 0).all()
    for level, area in enumerate(areas):
        around = np.array([np.nextafter(area, np.float32(0)), area], np.float32)
        boxes = np.stack([around * 0, around * 0, around, around * 0 + 1], axis=1)
        assert _levels_of(boxes, **rule) == [level, level + 1]


def test_a_roi_without_a_level_is_zero(device: str) -> None:
    levels, rois = random_pyramid(1, 3), pyramid_rois(6)
    expected = align(device, levels, rois, (7, 7), spatial_scales=SCALES)
    rois[[1, 3]] = [[90, 0, 0, 90], [0, np.nan, 9, 9]]
    expected[[1, 3]] = 0
    found = align(device, levels, rois, (7, 7), spatial_scales=SCALES)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("aligned", [True, False])
def test_samples_that_meet_the_border_count_as_on_the_cpu(device: str, *, aligned: bool) -> None:
    features = random_features(1, 6, 5)
    offset = 0.5 if aligned else 0.0
    steps = np.array([-1.0, 0.0, 4.0, 5.0, 6.0], np.float32)
    around = np.concatenate([np.nextafter(steps, -9), steps, np.nextafter(steps, 9)])
    # One sample, in the middle of a box of two cells; along one axis, then along the other.
    inside = np.full_like(around, 2)
    x, y = np.concatenate([around, inside]), np.concatenate([inside, around])
    rois = (np.stack([x - 1, y - 1, x + 1, y + 1], 1) + np.float32(offset)).astype(np.float32)
    options: dict[str, Any] = {"sampling_ratio": 1, "aligned": aligned}
    np.testing.assert_allclose(
        align_one(device, features, rois, (1, 1), **options),
        roi_align_cpu(features, rois, (1, 1), spatial_scale=1.0, **options),
        rtol=0,
        atol=8 * EPS,
    )


def test_inverted_and_empty_rois(device: str) -> None:
    features = random_features(3, 8, 8)
    rois = np.array([[6, 6, 2, 2], [4, 4, 4, 4], [2, 6, 6, 2]], np.float32)
    # Adaptive and aligned: a bin of no size has no samples. A fixed grid runs backwards.
    assert not align_one(device, features, rois, (2, 2)).any()
    flipped = align_one(device, features, rois[:1, [2, 3, 0, 1]], (2, 2), sampling_ratio=2)
    found = align_one(device, features, rois[:1], (2, 2), sampling_ratio=2)
    np.testing.assert_allclose(found, flipped[:, :, ::-1, ::-1], rtol=0, atol=TOLERANCE)
    # Not aligned: one cell at least.
    unit = np.hstack([rois[:, :2], rois[:, :2] + 1])
    np.testing.assert_array_equal(
        align_one(device, features, rois[:2], (2, 2), aligned=False),
        align_one(device, features, unit[:2], (2, 2), aligned=False),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 2.0**30])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_coordinates_out_of_this_world_give_zero(
    device: str, value: float, sampling_ratio: int
) -> None:
    features, rois = random_features(3, 8, 8), random_rois(6, (8, 8))
    expected = align_one(device, features, rois, (3, 3), sampling_ratio=sampling_ratio)
    for column in range(4):
        rois[column + 1, column] = value
    expected[1:5] = 0
    found = align_one(device, features, rois, (3, 3), sampling_ratio=sampling_ratio)
    np.testing.assert_array_equal(found, expected)


def test_giant_rois_end_and_agree_with_the_cpu_kernel(device: str) -> None:
    # Up to a thousand million samples per axis, of which those inside the map are visited.
    features = random_features(2, 8, 6)
    rois = np.array(
        [
            [3, -300, 9, 7],
            [0, 2, 1000, 5],
            [-1e9, 2, 1e9, 4],
            [3, 5, 1, -1e9],
        ],
        np.float32,
    )
    # Of a fixed number of samples only a thin box has few inside.
    for sampling_ratio, some in ((0, rois), (65, rois[2:3])):
        found = align_one(device, features, some, (3, 2), sampling_ratio=sampling_ratio)
        expected = roi_align_cpu(
            features, some, (3, 2), spatial_scale=1.0, sampling_ratio=sampling_ratio
        )
        # Up to 100 x 5 samples are summed one by one.
        np.testing.assert_allclose(found, expected, rtol=0, atol=500 * EPS)
        assert [roi.any() for roi in found] == [roi.any() for roi in expected]


def test_only_the_cells_of_a_roi_are_read(device: str) -> None:
    # The samples of the box lie on cells 2 and 3 exactly: cells of weight 0 do not spread NaN.
    features = np.full((17, 6, 6), np.nan, np.float32)
    features[:, 2:4, 2:4] = 1
    roi = np.array([[2, 2, 4, 4]], np.float32)
    np.testing.assert_array_equal(align_one(device, features, roi, (2, 2)), 1)


def test_reads_views_and_allocates_its_output(device: str) -> None:
    features = torch.from_numpy(random_features(2, 6, 12, 14)).to(device)[:, ::2, :, ::2]
    rois = torch.from_numpy(random_rois(8, (12, 7))).to(device)[::2]
    ids = torch.arange(8, dtype=torch.int32, device=device)[::2] // 4
    found = roi_align([features], rois, (3, 3), spatial_scales=[1.0], batch_ids=ids)
    expected = align_one(
        device,
        features.cpu().numpy().copy(),
        rois.cpu().numpy().copy(),
        (3, 3),
        batch_ids=ids.cpu().numpy().copy(),
    )
    np.testing.assert_array_equal(found.cpu().numpy(), expected)
    assert found.is_contiguous()


def test_nothing_to_align(device: str) -> None:
    none = np.zeros((0, 4), np.float32)
    assert align_one(device, random_features(3, 4, 4), none, (7, 5)).shape == (0, 3, 7, 5)
    one, empty = np.zeros((1, 4), np.float32), random_features(1, 0, 4, 4)
    assert align(device, [empty], one, (7, 5), spatial_scales=[1.0]).shape == (1, 0, 7, 5)


def good(device: str) -> dict[str, Any]:
    return {
        "levels": [torch.zeros(2, 3, 8, 8, device=device), torch.zeros(2, 3, 4, 4, device=device)],
        "rois_xyxy": torch.zeros(5, 4, device=device),
        "output_size_hw": (7, 7),
        "spatial_scales": (0.25, 0.125),
        "batch_ids": torch.zeros(5, dtype=torch.int32, device=device),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": []}, r"`len\(levels\)` must be at least 1, got 0"),
        ({"spatial_scales": (0.25,)}, "`spatial_scales` must hold one number per level, 2, got 1"),
        ({"spatial_scales": (0.25, 0.1)}, "`spatial_scales` must be powers of two"),
        ({"spatial_scales": (0.25, 0)}, r"`spatial_scales\[1\]` must be positive and finite"),
        ({"canonical_size": 0}, "`canonical_size` must be positive and finite, got 0"),
        ({"sampling_ratio": 1025}, r"`sampling_ratio` must be in \[0, 1024\], got 1025"),
        ({"output_size_hw": (0, 7)}, "`output_size_hw` must be at least 1, got 0"),
        ({"batch_ids": None}, "`batch_ids` must be given for features of 2 images, got None"),
        ({"rois_xyxy": (5, 5)}, r"`rois_xyxy` must have shape \(R, 4\), got \(5, 5\)"),
        ({"level_ids": (4,)}, r"`level_ids` must have shape \(5,\), got \(4,\)"),
        ({"out": (5, 3, 7, 6)}, r"`out` must have shape \(5, 3, 7, 7\), got \(5, 3, 7, 6\)"),
    ],
)
def test_refuses_values(device: str, options: dict[str, Any], message: str) -> None:
    made = dict(options)
    for name in ("rois_xyxy", "level_ids", "out"):
        if name in made:
            dtype = torch.int32 if name == "level_ids" else torch.float32
            made[name] = torch.zeros(made[name], dtype=dtype, device=device)
    with pytest.raises(ValueError, match=f"^roi_align: {message}"):
        roi_align(**good(device) | made)


def test_refuses_levels_that_differ(device: str) -> None:
    levels = good(device)["levels"]
    for other, kind, message in (
        (levels[1].half(), TypeError, "must be float32, got float16"),
        (levels[1][:, :2], ValueError, r"must have shape \(2, 3, H, W\), got \(2, 2, 4, 4\)"),
    ):
        with pytest.raises(kind, match=rf"^roi_align: `levels\[1\]` {message}"):
            roi_align(**good(device) | {"levels": [levels[0], other]})
    with pytest.raises(TypeError, match="`batch_ids` must be int32, got int64"):
        roi_align(**good(device) | {"batch_ids": torch.zeros(5, dtype=torch.int64, device=device)})
