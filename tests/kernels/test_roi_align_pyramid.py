"""roi_align_pyramid against the reference, torchvision and roi_align on each level."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import reference, roi_align, roi_align_pyramid
from edgecv.kernels._native import assign_pyramid_levels_cpu

from .conftest import Place, heavy

IN_TRITON = True

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
IMAGE_HW = (256, 320)

# As in test_roi_align: sums of 128 terms whose weights sum to 1, and positions below 128 cells,
# each of which takes about 8 roundings and changes the value by 2 per cell and axis.
TOLERANCE = (128 + 8 + 2 * 2 * 8 * 128) * 2.0**-24


def random_pyramid(batch: int, channels: int) -> list[Floats]:
    """Features in [-1, 1], a level per scale."""
    rng = np.random.default_rng(0)
    height, width = IMAGE_HW
    return [
        rng.uniform(-1, 1, (batch, channels, int(height * s), int(width * s))).astype(np.float32)
        for s in SCALES
    ]


def random_rois(count: int) -> Floats:
    """Boxes of all levels, within the image or nearly."""
    rng = np.random.default_rng(1)
    side = np.exp(rng.uniform(np.log(8), np.log(900), count))[:, None]
    extent = side * np.exp(rng.uniform(-0.5, 0.5, (count, 2)))
    centre = rng.uniform(0, 1, (count, 2)) * IMAGE_HW[::-1]
    return np.hstack([centre - extent / 2, centre + extent / 2]).astype(np.float32)


def align(
    place: Place, features: list[Floats], rois: Floats, size_hw: tuple[int, int], **options: Any
) -> Floats:
    """The public function on a poisoned output: a value that it forgets stays NaN."""
    out = place.poisoned((*rois.shape[:-1], features[0].shape[-3], *size_hw), np.float32)
    options["implementation"] = place.implementation
    if "batch_ids" in options:
        options["batch_ids"] = place.array(options["batch_ids"])
    levels = [place.array(level) for level in features]
    assert roi_align_pyramid(levels, place.array(rois), size_hw, out=out, **options) is out
    return place.numpy(out)


def level_ids(rois: Floats, **options: Any) -> list[int]:
    """Levels 2 to 5, from 0, unless told otherwise."""
    found = np.full(len(rois), 77, np.int32)
    defaults = {"finest_level": 2, "num_levels": 4, "canonical_size": 224, "canonical_level": 4}
    assign_pyramid_levels_cpu(rois, level_ids=found, **defaults | options)
    return [int(level) for level in found]


def squares(*sides: float) -> Floats:
    return np.array([[0, 0, side, side] for side in sides], np.float32)


def test_boxes_of_whole_octaves_open_their_level() -> None:
    assert level_ids(squares(0, 1, 111.9, 112, 223.9, 224, 447.9, 448, 1e4)) == [
        0, 0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip


def test_the_last_bits_below_an_octave_are_forgiven() -> None:
    # A millionth of an octave: 224 * (1 - 2**-1e-6) = 0.00016 pixels.
    assert level_ids(squares(224 - 0.0001, 224 - 0.0004)) == [2, 1]


def test_levels_are_clamped_to_the_pyramid() -> None:
    boxes = squares(1, 224, 448, 1e9, 1e30)  # the last area is infinite
    assert level_ids(boxes) == [0, 2, 3, 3, 3]
    assert level_ids(boxes, num_levels=1) == [0] * 5
    assert level_ids(boxes, finest_level=4, num_levels=2) == [0, 0, 1, 1, 1]
    assert level_ids(boxes, canonical_level=2) == [0, 0, 1, 3, 3]
    assert level_ids(boxes, canonical_size=448) == [0, 1, 2, 3, 3]


def test_a_negative_area_has_no_level() -> None:
    boxes = np.array([[9, 0, 0, 9], [9, 9, 0, 0], [np.nan, 0, 9, 9], [0, 0, 0, 9]], np.float32)
    assert level_ids(boxes) == [-1, 0, -1, 0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_matches_reference(place: Place, sampling_ratio: int, *, aligned: bool) -> None:
    features, rois = random_pyramid(2, 3), place.some(random_rois(12))
    options: dict[str, Any] = {
        "spatial_scales": SCALES,
        "sampling_ratio": sampling_ratio,
        "aligned": aligned,
        "batch_ids": np.arange(len(rois), dtype=np.int32) % 2,
    }
    np.testing.assert_allclose(
        align(place, features, rois, (3, 2), **options),
        reference.roi_align_pyramid(features, rois, (3, 2), **options),
        rtol=0,
        atol=TOLERANCE,
    )


@heavy
def test_is_roi_align_on_each_level(place: Place) -> None:
    features, rois = random_pyramid(3, 17), random_rois(60)
    batch_ids = np.random.default_rng(2).integers(0, 3, 60).astype(np.int32)
    actual = align(place, features, rois, (7, 7), spatial_scales=SCALES, batch_ids=batch_ids)
    levels = np.array(level_ids(rois))
    assert set(levels) == {0, 1, 2, 3}
    for level, scale in enumerate(SCALES):
        chosen = levels == level
        alone = roi_align(
            place.array(features[level]),
            place.array(rois[chosen]),
            (7, 7),
            spatial_scale=scale,
            batch_ids=place.array(batch_ids[chosen]),
            implementation=place.implementation,
        )
        np.testing.assert_array_equal(actual[chosen], place.numpy(alone))


@heavy
def test_each_level_begins_at_the_area_that_the_rule_says(place: Place) -> None:
    # Each map holds the number of its level.
    steps = np.arange(-4, 5) * 1e-4
    sides = [np.geomspace(60, 900, 40), *(octave + steps for octave in (112, 224, 448))]
    half = np.concatenate(sides)[:, None].astype(np.float32) / 2
    rois = np.hstack([100 - half, 100 - half, 100 + half, 100 + half])  # sampled at (100, 100)
    features = [
        np.full((1, int(256 * scale), int(256 * scale)), level, np.float32)
        for level, scale in enumerate(SCALES)
    ]
    actual = align(place, features, rois, (1, 1), spatial_scales=SCALES, sampling_ratio=1)
    np.testing.assert_array_equal(actual.ravel(), level_ids(rois))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_agrees_with_torchvision(place: Place, sampling_ratio: int) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    features, rois = random_pyramid(2, 5), random_rois(80)
    rois[:4] = [[0, 0, 112, 112], [9, 9, 233, 233], [0, 0, 448, 448], [5, 5, 5, 9]]
    rois = place.some(rois)
    share = 5 * len(rois) // 8
    pooler = ops.MultiScaleRoIAlign(list("0123"), (7, 7), sampling_ratio)
    named = OrderedDict((str(k), torch.from_numpy(level)) for k, level in enumerate(features))
    boxes = [torch.from_numpy(rois[:share]), torch.from_numpy(rois[share:])]
    expected = pooler(named, boxes, [IMAGE_HW, IMAGE_HW]).numpy()
    actual = align(
        place,
        features,
        rois,
        (7, 7),
        spatial_scales=SCALES,
        sampling_ratio=sampling_ratio,
        aligned=False,
        batch_ids=(np.arange(len(rois)) >= share).astype(np.int32),
    )
    # Positions are the same; both sum at most 400 terms whose weights sum to 1.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_a_roi_without_a_level_is_zero(place: Place) -> None:
    features, rois = random_pyramid(1, 3), random_rois(6)
    expected = align(place, features, rois, (7, 7), spatial_scales=SCALES)
    rois[[1, 3]] = [[90, 0, 0, 90], [0, np.nan, 9, 9]]
    expected[[1, 3]] = 0
    np.testing.assert_array_equal(
        align(place, features, rois, (7, 7), spatial_scales=SCALES), expected
    )


def test_takes_a_pyramid_of_one_image(place: Place) -> None:
    features, rois = random_pyramid(1, 3), random_rois(6)
    actual = roi_align_pyramid(
        [place.array(level[0]) for level in features],
        place.array(rois),
        (7, 7),
        spatial_scales=SCALES,
        implementation=place.implementation,
    )
    np.testing.assert_array_equal(
        place.numpy(actual), align(place, features, rois, (7, 7), spatial_scales=SCALES)
    )


GOOD: dict[str, Any] = {
    "features": [np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 3, 4, 4), np.float32)],
    "rois_xyxy": np.zeros((5, 4), np.float32),
    "output_size_hw": (7, 7),
    "spatial_scales": (0.25, 0.125),
    "batch_ids": np.zeros(5, np.int32),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": []}, r"`len\(features\)` must be at least 1, got 0"),
        (
            {"features": [GOOD["features"][0], np.zeros((2, 4, 4, 4), np.float32)]},
            r"`features\[1\]` must have the images and channels of `features\[0\]`, \(2, 3\)",
        ),
        (
            {"features": [GOOD["features"][0], np.zeros((4, 4), np.float32)]},
            r"`features\[1\]` must have shape \(B, C, H, W\)",
        ),
        ({"spatial_scales": (0.25,)}, "`spatial_scales` must hold one number per level, 2, got 1"),
        ({"spatial_scales": (0.25, 0.25)}, "`spatial_scales` must be powers of two, each half"),
        ({"spatial_scales": (0.3, 0.15)}, "`spatial_scales` must be powers of two, each half"),
        ({"spatial_scales": (0.0, 0.0)}, r"`spatial_scales\[0\]` must be positive and finite"),
        ({"canonical_size": 0}, "`canonical_size` must be positive and finite, got 0"),
        ({"sampling_ratio": -1}, r"`sampling_ratio` must be in \[0, 1024\], got -1"),
        ({"batch_ids": None}, "`batch_ids` must be given for features of 2 images"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^roi_align_pyramid: {message}"):
        roi_align_pyramid(**GOOD | options)


def test_refuses_types() -> None:
    features = [GOOD["features"][0], np.zeros((2, 3, 4, 4))]
    with pytest.raises(TypeError, match=r"^roi_align_pyramid: `features\[1\]` must be float32"):
        roi_align_pyramid(**GOOD | {"features": features})
