"""Transforms of pixel values, held to their definitions; objects stay where they are."""

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torchvision.transforms import v2  # noqa: E402

from edgecv.data.augment import pixels  # noqa: E402
from edgecv.data.augment.pipeline import Augmentation  # noqa: E402
from edgecv.data.augment.pixels import pixel_transform  # noqa: E402
from edgecv.data.augment.recipe import (  # noqa: E402
    CameraNoise,
    Colour,
    GaussianBlur,
    HorizontalFlip,
    Jpeg,
    MotionBlur,
    Recipe,
)
from edgecv.data.augment.scene import scene_of  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

from .pictures import SIZE_HW, picture  # noqa: E402

CHANGES = [
    Colour(probability=1.0),
    Colour(shuffle_channels=True, probability=1.0),
    GaussianBlur((1.0, 2.0), 1.0),
    MotionBlur((3.0, 9.0), 1.0),
    CameraNoise((0.001, 0.01), (0.01, 0.05), 1.0),
    Jpeg((20, 60), 1.0),
]


def noise(*size_hw: int) -> Any:
    return torch.rand(3, *size_hw, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("change", CHANGES)
def test_pixels_change_within_their_range_and_objects_do_not(change: Any) -> None:
    sample, frame = picture()
    made = scene_of(sample, frame, with_masks=True, with_keypoints=True)
    wanted = InputSpec("images", (120, 160))
    plain, still = Augmentation(Recipe("a"), wanted, lambda _: made, 1)(0, is_mixing=True)
    torch.manual_seed(3)
    image, target = Augmentation(Recipe("b", (change,)), wanted, lambda _: made, 1)(
        0, is_mixing=True
    )
    assert image.shape == plain.shape
    assert image.dtype == torch.float32
    assert image.min() >= -1e-6
    assert image.max() <= 1 + 1e-6
    assert (image - plain).abs().max() > 0.01
    for name in ("boxes_xyxy", "class_ids", "masks", "keypoints"):
        assert torch.equal(getattr(target, name), getattr(still, name)), name


@pytest.mark.parametrize("change", CHANGES)
def test_a_seed_repeats_a_change_and_workers_can_take_it_along(change: Any) -> None:
    transform = pixel_transform(change)
    copy = pickle.loads(pickle.dumps(transform))  # noqa: S301  # ours
    results = []
    for each, seed in ((transform, 5), (copy, 5), (transform, 6)):
        torch.manual_seed(seed)
        results.append(each(noise(40, 50)))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_improbable_does_not_happen(change: Any) -> None:
    never = type(change)(**{**vars(change), "probability": 0.0})
    if isinstance(change, Colour) and change.shuffle_channels:
        return  # torchvision's own draw, compared below
    assert torch.equal(pixel_transform(never)(noise(20, 30)), noise(20, 30))


def test_colours_are_those_of_torchvision() -> None:
    ranges = ((0.6, 1.4), (0.7, 1.3), (0.5, 1.5), (-0.1, 0.1))
    torch.manual_seed(9)
    expected = v2.RandomPhotometricDistort(*ranges, p=0.5)(noise(20, 30))
    torch.manual_seed(9)
    found = pixel_transform(Colour(*ranges, shuffle_channels=True, probability=0.5))(noise(20, 30))
    assert torch.equal(found, expected)


def test_channels_are_shuffled_only_if_asked() -> None:
    still = Colour((1, 1), (1, 1), (1, 1), (0, 0), probability=1.0)
    shuffled = Colour((1, 1), (1, 1), (1, 1), (0, 0), shuffle_channels=True, probability=1.0)
    torch.manual_seed(2)
    torch.testing.assert_close(pixel_transform(still)(noise(20, 30)), noise(20, 30))
    found = pixel_transform(shuffled)(noise(20, 30))
    assert not torch.allclose(found, noise(20, 30), atol=0.01)
    torch.testing.assert_close(found.sum(dim=0), noise(20, 30).sum(dim=0))


def test_a_gaussian_spreads_a_point_by_its_sigma() -> None:
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    blurred = pixels._blurred(point, 2.0)[0].double()
    offsets = torch.arange(41) - 20.0
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    # Cut off after three sigmas: 1.2 % of the variance is missing.
    assert float((blurred.sum(dim=0) * offsets**2).sum()) == pytest.approx(4, rel=0.05)


def test_a_blur_wider_than_the_image_is_possible() -> None:
    assert pixels._blurred(noise(8, 9), 10.0).shape == (3, 8, 9)


@settings(max_examples=30)
@given(length=st.floats(1, 30), angle=st.floats(0, math.pi))
def test_motion_spreads_a_point_along_a_line(length: float, angle: float) -> None:
    point = torch.zeros(3, 81, 81)
    point[:, 40, 40] = 1
    smeared = pixels._smeared(point, length, angle)[0].double().numpy()
    assert smeared.sum() == pytest.approx(1, abs=1e-5)
    y, x = np.mgrid[-40:41, -40:41]
    assert (smeared * x).sum() == pytest.approx(0, abs=1e-4)
    assert (smeared * y).sum() == pytest.approx(0, abs=1e-4)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = -x * math.sin(angle) + y * math.cos(angle)
    # A line from end to end has the variance L² / 12; interpolation adds 1/4 pixel² at most.
    assert (smeared * across**2).sum() <= 0.26
    span = (length - 1) ** 2 / 12
    assert span - 0.01 <= (smeared * along**2).sum() <= 1.1 * span + 0.26


def test_motion_along_a_row_is_the_mean_of_the_row() -> None:
    image = noise(30, 40)
    smeared = pixels._smeared(image, 5.0, 0.0)
    taps = torch.tensor([0.5, 1, 1, 1, 0.5]) / 4  # from one pixel centre to another
    expected = sum(
        weight * image[:, :, 2 + shift : 38 + shift]
        for weight, shift in zip(taps, range(-2, 3), strict=True)
    )
    torch.testing.assert_close(smeared[:, :, 2:38], expected)


def test_noise_has_the_variance_of_its_model() -> None:
    torch.manual_seed(4)
    shot, read = 0.002, 0.015
    for level in (0.2, 0.5, 0.8):
        noisy = pixels._noisy(torch.full((3, 200, 200), level), shot, read)
        # The standard error of a variance of 120000 samples is 0.4 % of it.
        assert float(noisy.var()) == pytest.approx(shot * level + read**2, rel=0.02)
        assert float(noisy.mean()) == pytest.approx(level, abs=1e-3)


def test_jpeg_is_coarser_at_lower_quality() -> None:
    image = noise(64, 64)
    errors = [float((pixels._compressed(image, q) - image).abs().mean()) for q in (10, 50, 100)]
    assert errors[0] > errors[1] > errors[2]


def test_a_transform_of_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="`horizontal-flip` must change pixels of the input"):
        pixel_transform(HorizontalFlip())


def test_pictures_have_the_size_that_they_say() -> None:
    assert picture()[1].shape == (*SIZE_HW, 3)
