"""Mosaics and blends: where the parts lie, whose objects they bring, and when they stay away."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgecv.data.augment.mixing import blend, compose_mosaic  # noqa: E402
from edgecv.data.augment.pipeline import Augmentation  # noqa: E402
from edgecv.data.augment.recipe import (  # noqa: E402
    Colour,
    HorizontalFlip,
    Mixup,
    Mosaic,
    Recipe,
)
from edgecv.data.augment.scene import Scene, scene_of  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

from .pictures import grown, picture, region, without_objects  # noqa: E402

WANTED = InputSpec("images", (96, 128))


def scene(which: int) -> Scene:
    return scene_of(*picture(which), with_masks=True, with_keypoints=True)


def augmentation(*transforms: Any, wanted: InputSpec = WANTED) -> Augmentation:
    return Augmentation(Recipe("test", transforms), wanted, scene, 4)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), low=st.floats(0.1, 0.9), spread=st.floats(0, 1))
def test_each_quarter_of_a_mosaic_shows_its_frame(seed: int, low: float, spread: float) -> None:
    centre = (low, min(low + spread * (0.9 - low), 0.9))
    torch.manual_seed(seed)
    image, target = compose_mosaic(
        [scene(which) for which in range(4)], Mosaic((0.2, 2.0), centre), WANTED
    )
    assert image.shape == (3, 96, 128)
    first, last = centre
    top, bottom = slice(0, int(first * 96)), slice(round(last * 96), None)
    left, right = slice(0, int(first * 128)), slice(round(last * 128), None)
    quarters = [(top, left), (top, right), (bottom, left), (bottom, right)]
    for which, (rows, columns) in enumerate(quarters):
        for class_id in range(24):
            if class_id // 6 != which:
                found = region(image[:, rows, columns], class_id)
                assert grown(~found, 1, beyond=True).all()  # at edges colours mix into others
    # What is left of an object lies in its quarter.
    for box, class_id in zip(target.boxes_xyxy.tolist(), target.class_ids.tolist(), strict=True):
        is_right, is_low = class_id // 6 % 2, class_id // 12
        assert box[0] >= int(low * 128) if is_right else box[2] <= round(centre[1] * 128)
        assert box[1] >= int(low * 96) if is_low else box[3] <= round(centre[1] * 96)


def test_scale_one_shows_frames_as_large_as_alone() -> None:
    torch.manual_seed(0)
    _, target = compose_mosaic([scene(0)] * 4, Mosaic((1.0, 1.0), (0.5, 0.5)), WANTED)
    _, alone = augmentation()(0, is_mixing=False)
    sizes = alone.boxes_xyxy[:, 2:] - alone.boxes_xyxy[:, :2]
    compared = 0
    for box, class_id in zip(target.boxes_xyxy, target.class_ids.tolist(), strict=True):
        is_whole = all(value not in {0, 48, 64, 96, 128} for value in box.tolist())
        if is_whole:
            compared += 1
            torch.testing.assert_close(box[2:] - box[:2], sizes[class_id], atol=0.02, rtol=0)
    assert compared > 0


def test_a_blend_lies_between_its_images_and_has_the_objects_of_both() -> None:
    first, second = (augmentation()(row, is_mixing=False) for row in (0, 1))
    torch.manual_seed(0)
    image, target = blend(first, second, alpha=2.0)
    share = (image - second[0]) / (first[0] - second[0])
    share = share[(first[0] - second[0]).abs() > 0.2]
    assert float(share.min()) > 0
    assert float(share.max()) < 1
    assert float(share.max() - share.min()) < 1e-4
    assert target.class_ids.tolist() == [*range(12)]
    for name in ("boxes_xyxy", "masks", "keypoints"):
        both = torch.cat([getattr(first[1], name), getattr(second[1], name)])
        assert torch.equal(getattr(target, name), both), name


def test_a_large_alpha_blends_evenly() -> None:
    target = augmentation()(0, is_mixing=False)[1]
    zero, one = ((torch.full((3, 4, 4), value), target) for value in (0.0, 1.0))
    torch.manual_seed(0)
    shares = torch.stack([blend(one, zero, alpha=1000.0)[0][0, 0, 0] for _ in range(50)])
    assert float((shares - 0.5).abs().max()) < 0.06  # the deviation is 0.011
    shares = torch.stack([blend(one, zero, alpha=1.0)[0][0, 0, 0] for _ in range(200)])
    assert float(shares.std()) == pytest.approx(12**-0.5, abs=0.05)  # even in 0..1


def test_mixing_can_be_switched_off() -> None:
    mixing = augmentation(Mosaic(probability=1.0), Mixup(probability=1.0))
    torch.manual_seed(0)
    image, target = mixing(2, is_mixing=False)
    plain, still = augmentation()(2, is_mixing=False)
    assert torch.equal(image, plain)
    assert torch.equal(target.boxes_xyxy, still.boxes_xyxy)


@pytest.mark.parametrize("is_above", [True, False])
def test_a_partner_goes_through_what_stands_above(*, is_above: bool) -> None:
    # Halves the brightness of each image by itself, or once of their blend.
    one = (1.0, 1.0)
    darker = Colour((0.5, 0.5), one, one, (0.0, 0.0), probability=1.0)
    mixup = Mixup(probability=1.0)
    flip = HorizontalFlip(1.0)
    order = (flip, darker, mixup) if is_above else (flip, mixup)
    torch.manual_seed(1)
    image, target = augmentation(*order)(0, is_mixing=True)
    assert (float(image.max()) < 0.51) == is_above
    # All objects are mirrored, the partner's too.
    _, plain = augmentation()(0, is_mixing=False)
    mirrored = plain.boxes_xyxy[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
    mirrored += torch.tensor([128, 0, 128, 0])
    torch.testing.assert_close(target.boxes_xyxy, mirrored.repeat(2, 1))


def test_targets_without_shapes_are_joined_without() -> None:
    plain = scene_of(*picture())
    augment = Augmentation(Recipe("t", (Mosaic(probability=1.0),)), WANTED, lambda _: plain, 1)
    _, target = augment(0, is_mixing=True)
    assert target.masks is None
    assert target.keypoints is None


@pytest.mark.parametrize("transform", [Mosaic(probability=1.0), Mixup(probability=1.0)])
def test_frames_without_objects_can_be_mixed(transform: Any) -> None:
    sample, pixels = picture()
    empty = scene_of(without_objects(sample), pixels, with_masks=True)
    augment = Augmentation(Recipe("t", (transform,)), WANTED, lambda _: empty, 1)
    image, target = augment(0, is_mixing=True)
    assert image.shape == (3, 96, 128)
    assert target.boxes_xyxy.shape == (0, 4)
    assert target.masks.shape == (0, 96, 128)
