"""Contact sheets show the samples of a training as they are, and repeat by their seed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgecv.colour import PALETTE_RGB  # noqa: E402
from edgecv.contact_sheet import contact_sheet  # noqa: E402
from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.data.coco import read_coco  # noqa: E402
from edgecv.data.preview import preview_sheet  # noqa: E402
from edgecv.data.samples import DetectionDataset  # noqa: E402
from edgecv.data.sheet import (  # noqa: E402
    draw_target,
    enlargement,
    shown_pixels,
)
from edgecv.data.targets import Target  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

WANTED = InputSpec("images", (96, 128), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def rendered(scenes: Path) -> DetectionDataset:
    return read_coco(scenes, "train")


def test_the_normalisation_is_undone_exactly() -> None:
    pixels = np.arange(96 * 128 * 3, dtype=np.int64).reshape(96, 128, 3).astype(np.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (WANTED.mean, WANTED.std))
    image = (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - mean) / std
    np.testing.assert_array_equal(shown_pixels(image, WANTED), pixels)


def test_boxes_masks_and_keypoints_are_drawn_in_the_colour_of_their_class() -> None:
    mask = torch.zeros(1, 60, 80, dtype=torch.bool)
    mask[0, 30:50, 30:60] = True
    keypoints = torch.tensor([[[40.0, 40.0, 2.0], [50.0, 40.0, 1.0], [0.0, 0.0, 0.0]]])
    target = Target(torch.tensor([[20.0, 20, 70, 55]]), torch.tensor([1]), mask, keypoints)
    black = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_target(black, target, ("cat", "dog"))
    assert not black.any()
    colour = PALETTE_RGB[1]
    np.testing.assert_array_equal(drawn[54, 25:65], np.broadcast_to(colour, (40, 3)))  # the box
    np.testing.assert_array_equal(drawn[30, 45], colour)  # the edge of the mask
    np.testing.assert_allclose(drawn[45, 35], 0.35 * colour, atol=2)  # its tint
    np.testing.assert_array_equal(drawn[40, 40], colour)  # a visible keypoint is full
    np.testing.assert_allclose(drawn[40, 50], 0.35 * colour, atol=2)  # a hidden one is a ring
    np.testing.assert_array_equal(drawn[40, 47], colour)
    assert not drawn[:10, :10].any()  # a keypoint that is not labelled
    larger = draw_target(black, target, ("cat", "dog"), enlarged=3)
    assert larger.shape == (180, 240, 3)
    np.testing.assert_array_equal(larger[164, 90], colour)


def test_a_sheet_repeats_by_its_seed(rendered: DetectionDataset) -> None:
    sheets = [
        np.asarray(preview_sheet(rendered, WANTED, read_recipe("strong"), count=3, seed=seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert sheets[0].shape != sheets[2].shape or (sheets[0] != sheets[2]).any()


def test_a_sheet_may_hold_more_samples_than_the_split(rendered: DetectionDataset) -> None:
    few = DetectionDataset(**(vars(rendered) | {"samples": rendered.samples[:2]}))
    five = preview_sheet(few, WANTED, read_recipe("none"), count=5, seed=0)
    two = preview_sheet(few, WANTED, read_recipe("none"), count=2, seed=0)
    assert five.size[0] * five.size[1] > two.size[0] * two.size[1]


@pytest.mark.parametrize("count", [1, 2, 7, 16, 23])
def test_every_tile_has_its_place(count: int) -> None:
    rng = np.random.default_rng(count)
    tiles = [
        np.full((40, 60, 3), colour, np.uint8)
        for colour in rng.choice(np.arange(30, 250), count, replace=False)
    ]
    sheet = np.asarray(
        contact_sheet(
            tiles,
            [f"tile {index} with a caption that is longer than its tile" for index in range(count)],
            title="title",
            subtitle="subtitle",
            legend=[(f"class {index}", (255, 0, 0)) for index in range(40)],
        )
    )
    for tile in tiles:
        assert ((sheet == tile[0, 0]).all(axis=2)).sum() >= 40 * 60


@pytest.mark.parametrize(
    ("size_hw", "factor"), [((320, 416), 1), ((300, 100), 1), ((96, 128), 3), ((64, 64), 5)]
)
def test_small_inputs_are_enlarged(size_hw: tuple[int, int], factor: int) -> None:
    assert enlargement(size_hw) == factor
