"""Proposals move like boxes, and are no objects."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace  # noqa: E402

from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.data.augment.pipeline import Augmentation  # noqa: E402
from edgecv.data.augment.recipe import (  # noqa: E402
    HorizontalFlip,
    Mosaic,
    Recipe,
    ScaleJitter,
    Transform,
    VerticalFlip,
    ZoomOut,
)
from edgecv.data.augment.scene import place, scene_of  # noqa: E402
from edgecv.placement import Placement  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

from .pictures import picture  # noqa: E402

WANTED = InputSpec("images", (64, 96))


def sample_with_its_boxes(seed: int) -> tuple[Any, Any]:
    """A sample whose proposals are its objects' own boxes."""
    sample, pixels = picture(seed)
    return replace(sample, proposals_xyxy=sample.boxes_xyxy), pixels


@pytest.mark.parametrize(
    "transforms",
    [
        (),
        (HorizontalFlip(1.0),),
        (HorizontalFlip(1.0), VerticalFlip(1.0)),
        (ZoomOut(2.0, 1.0),),
        (ScaleJitter((0.5, 0.9), 1.0), HorizontalFlip(0.5)),
    ],
    ids=["none", "mirror", "turn", "zoom", "jitter"],
)
def test_they_end_where_the_boxes_do(transforms: tuple[Transform, ...]) -> None:
    samples = [sample_with_its_boxes(seed) for seed in range(4)]

    def load(row: int) -> Any:
        return scene_of(*samples[row], with_proposals=True)

    augment = Augmentation(Recipe("own", transforms), WANTED, load, len(samples))
    for row in range(4):
        torch.manual_seed(row)
        _, target = augment(row, is_mixing=False)
        assert target.proposals is not None
        assert len(target.boxes_xyxy) == 6
        # Some boxes may be below a pixel and are no proposal any more.
        gaps = (target.boxes_xyxy[:, None] - target.proposals[None]).abs().amax(dim=2)
        assert (gaps.amin(dim=0) < 1e-3).all()
        sides = (target.boxes_xyxy[:, 2:] - target.boxes_xyxy[:, :2]).amin(dim=1)
        assert (gaps.amin(dim=1)[sides > 1.01] < 1e-3).all()


def test_mosaics_hold_the_proposals_of_their_parts() -> None:
    samples = [sample_with_its_boxes(seed) for seed in range(4)]

    def load(row: int) -> Any:
        return scene_of(*samples[row], with_proposals=True)

    recipe = Recipe("own", (Mosaic(probability=1.0),))
    augment = Augmentation(recipe, WANTED, load, len(samples))
    torch.manual_seed(0)
    _, target = augment(0, is_mixing=True)
    assert target.proposals is not None
    gaps = (target.boxes_xyxy[:, None] - target.proposals[None]).abs().amax(dim=2)
    sides = (target.boxes_xyxy[:, 2:] - target.boxes_xyxy[:, :2]).amin(dim=1)
    assert (gaps.amin(dim=1)[sides > 1.01] < 1e-3).all()
    assert target.to(torch.device("cpu")).proposals is not None


def test_they_are_cut_to_what_is_seen() -> None:
    """Of a frame of 40 x 40 the middle 20 columns are seen, twice as large."""
    sample, _ = picture(0)
    boxes = np.array([[0, 0, 40, 40], [0, 0, 9, 40], [15, 10, 18, 12]], np.float32)
    sample = replace(
        sample,
        size_hw=(40, 40),
        boxes_xyxy=np.zeros((0, 4), np.float32),
        class_ids=np.zeros(0, np.int32),
        is_crowd=np.zeros(0, bool),
        proposals_xyxy=boxes,
    )
    scene = scene_of(sample, np.zeros((40, 40, 3), np.uint8), with_proposals=True)
    placement = Placement((40, 40), (80, 40), (80, 80), (-20, 0))
    target = place(scene, placement)
    assert target.proposals is not None
    assert target.proposals.tolist() == [[0, 0, 40, 80], [10, 20, 16, 24]]


def test_the_other_fields_are_as_without_them() -> None:
    recipe = read_recipe("default")
    sample, pixels = sample_with_its_boxes(1)
    found = []
    for with_proposals in (False, True):
        scene = scene_of(sample, pixels.copy(), with_proposals=with_proposals)
        augment = Augmentation(recipe, WANTED, lambda _, scene=scene: scene, 1)
        torch.manual_seed(3)
        found.append(augment(0, is_mixing=False))
    (first, plain), (second, target) = found
    assert torch.equal(first, second)
    assert torch.equal(plain.boxes_xyxy, target.boxes_xyxy)
    assert torch.equal(plain.class_ids, target.class_ids)
    assert plain.proposals is None
    assert target.masks is None


def test_they_are_needed_where_they_are_wanted() -> None:
    sample, pixels = picture(0)
    with pytest.raises(ValueError, match="must have proposals, got none"):
        scene_of(sample, pixels, with_proposals=True)
