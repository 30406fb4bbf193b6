"""Batches of images by class: the right labels, the same ones again, every image once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgecv.data import open_classification  # noqa: E402
from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.data.augment.recipe import Mixup, Recipe  # noqa: E402
from edgecv.data.batches import LabelledBatches  # noqa: E402
from edgecv.errors import InputError  # noqa: E402
from edgecv.images import read_image  # noqa: E402
from edgecv.kernels import letterbox  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

WANTED = InputSpec("images", (32, 40), mean=(0.5,) * 3, std=(0.25,) * 3, fit="centre-crop")


def batches(shapes: Path, **changes: Any) -> LabelledBatches:
    settings = {"batch_size": 12, "seed": 0, "workers": 0} | changes
    return LabelledBatches(open_classification(str(shapes), "train"), WANTED, **settings)


def test_an_epoch_holds_every_image_once_as_the_model_would_see_it(shapes: Path) -> None:
    dataset = open_classification(str(shapes), "train")
    expected = {}
    for sample in dataset.samples:
        pixels = read_image(sample.image_path)
        options = {"mean": WANTED.mean, "std": WANTED.std, "format": "rgb24"}
        fitted, _ = letterbox(pixels, WANTED.size_hw, fit=WANTED.fit, **options)
        expected[fitted.round(4).tobytes()] = sample.class_id
    seen = 0
    for batch in batches(shapes, recipe=read_recipe("none")).epoch(0):
        assert batch.images.shape == (12, 3, 32, 40)
        assert batch.targets.dtype == torch.int64
        for image, class_id in zip(batch.images, batch.targets.tolist(), strict=True):
            seen += expected.pop(image.numpy().round(4).tobytes()) == class_id
    assert seen == len(dataset.samples)
    assert not expected


def test_the_same_epoch_comes_again_and_the_next_differs(shapes: Path) -> None:
    drawn = batches(shapes)
    first, again, other = (
        torch.cat([batch.images for batch in drawn.epoch(number)]) for number in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first[12:], torch.cat([b.images for b in drawn.epoch(3, first_batch=1)]))


def test_processes_share_a_batch(shapes: Path) -> None:
    whole = next(batches(shapes).epoch(0)).targets
    parts = [next(batches(shapes, share=(rank, 2)).epoch(0)).targets for rank in (0, 1)]
    assert torch.equal(whole[0::2], parts[0])
    assert torch.equal(whole[1::2], parts[1])


def test_a_blend_of_classes_is_refused(shapes: Path) -> None:
    recipe = Recipe("mine", (Mixup(),))
    with pytest.raises(InputError, match="the recipe `mine` has `mixup`, which is made for images"):
        batches(shapes, recipe=recipe)


def test_the_usual_augmentation_leaves_values_of_pixels(shapes: Path) -> None:
    images = next(batches(shapes).epoch(0)).images.numpy()
    values = images * 0.25 + 0.5
    assert values.min() >= -1e-6
    assert values.max() <= 1 + 1e-6
    assert np.ptp(values) > 0.5
