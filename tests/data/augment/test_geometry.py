"""Boxes, outlines and keypoints move with the pixels, through every transform that moves them.

The oracle is the picture itself: each object has a colour of its own, and where that colour lies
in the result is where its box, mask and keypoints must lie.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgecv.data.augment.frame import drop_lost, frame_transform  # noqa: E402
from edgecv.data.augment.mixing import compose_mosaic  # noqa: E402
from edgecv.data.augment.pipeline import Augmentation  # noqa: E402
from edgecv.data.augment.recipe import (  # noqa: E402
    HorizontalFlip,
    IouCrop,
    Mosaic,
    Recipe,
    ResizedCrop,
    ScaleJitter,
    VerticalFlip,
    ZoomOut,
)
from edgecv.data.augment.scene import Scene, scene_of  # noqa: E402
from edgecv.data.batches import mirrored_keypoints  # noqa: E402
from edgecv.placement import FITS  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

from .pictures import BOXES, KEYPOINT_NAMES, SIZE_HW, bounds, grown, picture, region  # noqa: E402

# A colour is found up to the pixels that bilinear interpolation mixes: half a frame pixel, which
# is at most 1.4 pixels of the input here, and what the whole pixels of a fit round.
TOLERANCE_PX = 2

WANTED = InputSpec("images", (192, 224))
MOVES = {
    "nothing": (),
    "horizontal flip": (HorizontalFlip(1.0),),
    "vertical flip": (VerticalFlip(1.0),),
    "zoom out": (ZoomOut(2.0, 1.0),),
    "IoU crop": (IouCrop(0.4),),
    "scale jitter": (ScaleJitter((0.6, 1.6)),),
    "resized crop": (ResizedCrop((0.4, 1.0)),),
    "everything": (
        *(HorizontalFlip(), VerticalFlip(), ZoomOut(1.5, 0.5), IouCrop(0.6)),
        *(ScaleJitter((0.8, 1.2)), HorizontalFlip()),
    ),
}


def scene(which: int = 0, **options: str) -> Scene:
    sample, pixels = picture(which, **options)
    mirrored = torch.tensor(mirrored_keypoints(KEYPOINT_NAMES))
    return scene_of(sample, pixels, with_masks=True, with_keypoints=True, mirrored=mirrored)


def assert_follows(image: Any, target: Any, *, shape: str) -> None:
    """Every box, mask and keypoint lies where its colour does."""
    image = image.numpy()
    size_hw = image.shape[1:]
    for box, class_id, mask, keypoints in zip(
        target.boxes_xyxy.numpy(),
        target.class_ids.tolist(),
        target.masks.numpy(),
        target.keypoints.numpy(),
        strict=True,
    ):
        found = region(image, class_id)
        if shape == "box":
            np.testing.assert_allclose(box, bounds(found), atol=TOLERANCE_PX)
        assert not (found & ~grown(mask, TOLERANCE_PX)).any()
        assert not (~grown(~mask, TOLERANCE_PX, beyond=True) & ~found).any()
        for x, y, visibility in keypoints:
            if visibility:
                column, row = min(int(x), size_hw[1] - 1), min(int(y), size_hw[0] - 1)
                assert grown(found, TOLERANCE_PX)[row, column]
            else:
                assert (x, y) == (0, 0)


@pytest.mark.parametrize("outline", ["polygons", "runs"])
@pytest.mark.parametrize("shape", ["box", "L"])
@pytest.mark.parametrize("moves", MOVES)
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), fit=st.sampled_from(FITS))
def test_objects_follow_the_pixels(
    moves: str, shape: str, outline: str, seed: int, fit: Any
) -> None:
    wanted = InputSpec("images", WANTED.size_hw, fit=fit)
    augment = Augmentation(
        Recipe("test", MOVES[moves]), wanted, lambda _: scene(shape=shape, outline=outline), 1
    )
    torch.manual_seed(seed)
    image, target = augment(0, is_mixing=True)
    assert_follows(image, target, shape=shape)


@pytest.mark.parametrize("outline", ["polygons", "runs"])
@pytest.mark.parametrize("shape", ["box", "L"])
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_objects_follow_into_a_mosaic(shape: str, outline: str, seed: int) -> None:
    torch.manual_seed(seed)
    scenes = [scene(which, shape=shape, outline=outline) for which in range(4)]
    image, target = compose_mosaic(scenes, Mosaic((0.5, 1.4)), WANTED)
    assert_follows(image, target, shape=shape)
    assert not (image == 114 / 255).all(dim=0).any()  # no bars


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_no_object_that_is_seen_whole_is_lost(seed: int) -> None:
    augment = Augmentation(Recipe("test", MOVES["everything"]), WANTED, lambda _: scene(), 1)
    torch.manual_seed(seed)
    image, target = augment(0, is_mixing=True)
    kept = set(target.class_ids.tolist())
    for class_id in range(6):
        found = region(image.numpy(), class_id)
        if class_id not in kept and found.any():  # then it was cut
            left, top, right, bottom = bounds(found)
            background = region_of_background(image.numpy())
            sides = [
                (found[:, int(left)], background[:, : int(left)]),
                (found[:, int(right) - 1], background[:, int(right) :]),
                (found[int(top)], background[: int(top)].T),
                (found[int(bottom) - 1], background[int(bottom) :].T),
            ]
            assert any(not beyond[edge].any() for edge, beyond in sides)


def region_of_background(image: Any) -> Any:
    return (np.abs(image - 90 / 255) < 0.03).all(axis=0)


@pytest.mark.parametrize("flip", [HorizontalFlip(1.0), VerticalFlip(1.0)])
def test_two_flips_change_nothing(flip: Any) -> None:
    change = frame_transform(flip, fill=114, size_hw=(64, 64))
    before = scene(shape="L", outline="polygons")
    after = change(change(before))
    for name, tensor in before.item.items():
        assert torch.equal(after.item[name], tensor), name
    once = change(before)
    assert not torch.equal(once.item["image"], before.item["image"])
    assert not torch.equal(once.item["boxes"], before.item["boxes"])


@pytest.mark.parametrize(
    ("flips", "is_mirror"),
    [
        ((HorizontalFlip(1.0),), True),
        ((VerticalFlip(1.0),), True),
        ((HorizontalFlip(1.0), VerticalFlip(1.0)), False),
        ((HorizontalFlip(1.0), HorizontalFlip(1.0)), False),
    ],
)
def test_left_becomes_right_in_a_mirror_only(flips: Any, *, is_mirror: bool) -> None:
    wanted = InputSpec("images", SIZE_HW)
    augment = Augmentation(Recipe("test", flips), wanted, lambda _: scene(), 1)
    _, target = augment(0, is_mixing=False)
    moved = scene().item["points"][-18:].reshape(6, 3, 2).clone()
    height, width = SIZE_HW
    for flip in flips:
        axis, side = (0, width) if isinstance(flip, HorizontalFlip) else (1, height)
        moved[..., axis] = side - moved[..., axis]
    expected = moved[:, [1, 0, 2]] if is_mirror else moved
    torch.testing.assert_close(target.keypoints[..., :2], expected.float())
    assert target.keypoints[..., 2].tolist() == [[2, 2, 1]] * 6


def test_names_tell_which_keypoints_change_places() -> None:
    names = ("nose", "left_eye", "right_eye", "left_ear", "leftmost", "right_hand", "left_hand")
    assert mirrored_keypoints(names) == [0, 2, 1, 3, 4, 6, 5]
    assert mirrored_keypoints(()) == []


def test_keypoints_out_of_sight_are_not_labelled() -> None:
    sample, pixels = picture()
    given_scene = scene_of(sample, pixels, with_keypoints=True)
    augment = Augmentation(
        Recipe("test"), InputSpec("images", (240, 240), fit="centre-crop"), lambda _: given_scene, 1
    )
    _, target = augment(0, is_mixing=False)
    # 40 pixels are lost on the left: of the first object, 20..90, its left end and not its right.
    assert target.keypoints[0].tolist() == [[0, 0, 0], [42, 42.5, 2], [15, 38.5, 1]]


def test_a_fit_that_crops_drops_what_it_loses() -> None:
    sample, pixels = picture()
    wanted = InputSpec("images", (240, 60), fit="centre-crop")  # of 320 columns the middle 60
    augment = Augmentation(Recipe("test"), wanted, lambda _: scene_of(sample, pixels), 1)
    _, target = augment(0, is_mixing=False)
    assert target.class_ids.tolist() == [1, 4]
    assert target.boxes_xyxy.tolist() == [[0, 20, 50, 110], [20, 140, 60, 200]]


def test_a_quarter_of_an_object_is_enough_to_stay() -> None:
    wanted = InputSpec("images", (240, 160), fit="centre-crop")  # of 320 columns 80..240
    augment = Augmentation(Recipe("test"), wanted, lambda _: scene(), 1)
    _, target = augment(0, is_mixing=False)
    # Left of the six: 10/70, all, 30/90, 40/80, all and 20/90 of their width.
    assert target.class_ids.tolist() == [1, 2, 3, 4]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_scale_jitter_keeps_what_is_left_by_a_quarter(seed: int) -> None:
    before = scene()
    torch.manual_seed(seed)
    after = frame_transform(ScaleJitter((1.3, 3.0)), fill=114, size_hw=(64, 64))(before)
    height, width = after.size_hw
    shift = (after.item["points"][2] - before.item["points"][2]).numpy()
    cut = (BOXES.reshape(-1, 2, 2) + shift).clip(0, (width, height))
    shares = np.diff(cut, axis=1).prod(axis=2) / np.diff(BOXES.reshape(-1, 2, 2), axis=1).prod(2)
    expected = np.flatnonzero(shares.ravel() >= 0.25)
    assert drop_lost(after).item["rows"].tolist() == expected.tolist()


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_a_resized_crop_keeps_what_is_left_by_a_quarter(seed: int) -> None:
    before = scene()
    torch.manual_seed(seed)
    after = frame_transform(ResizedCrop((0.2, 0.9)), fill=114, size_hw=(96, 128))(before)
    assert after.size_hw == (96, 128)
    # Two opposite corners of the frame tell the map, where all points follow.
    old, new = (made.item["points"][2:].numpy() for made in (before, after))
    scale = np.ptp(new, axis=0) / np.ptp(old, axis=0)
    shift = new[0] - old[0] * scale
    moved = BOXES.reshape(-1, 2, 2) * scale + shift
    cut = moved.clip(0, (128, 96))
    shares = np.diff(cut, axis=1).prod(axis=2) / np.diff(moved, axis=1).prod(axis=2)
    assume(np.abs(shares - 0.25).min() > 1e-4)  # at the limit itself rounding decides
    expected = np.flatnonzero(shares.ravel() >= 0.25)
    kept = drop_lost(after).item
    assert kept["rows"].tolist() == expected.tolist()
    np.testing.assert_allclose(kept["boxes"].numpy(), cut[expected].reshape(-1, 4), atol=0.01)


def test_objects_too_small_to_learn_are_dropped() -> None:
    sample, pixels = picture()
    boxes = sample.boxes_xyxy.copy()
    boxes[2, 2] = boxes[2, 0] + 1.9
    small = scene_of(type(sample)(**{**vars(sample), "boxes_xyxy": boxes}), pixels, with_masks=True)
    assert drop_lost(small).item["labels"].tolist() == [0, 1, 3, 4, 5]
    assert drop_lost(small).item["rows"].tolist() == [0, 1, 3, 4, 5]


def test_crowds_are_left_out() -> None:
    sample, pixels = picture(outline="runs")
    sample.is_crowd[1] = True
    made = scene_of(sample, pixels, with_masks=True, with_keypoints=True)
    assert made.item["labels"].tolist() == [0, 2, 3, 4, 5]
    assert len(made.item["bitmaps"]) == 5


def test_a_scene_is_refused_shapes_that_it_does_not_have() -> None:
    sample, pixels = picture()
    bare = type(sample)(**{**vars(sample), "segments": None, "keypoints": None})
    with pytest.raises(ValueError, match="object 0 must have an outline"):
        scene_of(bare, pixels, with_masks=True)
    with pytest.raises(ValueError, match="must have keypoints"):
        scene_of(bare, pixels, with_keypoints=True)
