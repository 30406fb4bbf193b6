"""Batches: each sample repeats by seed, epoch and row, whoever draws it and whatever came before.

The recipe `default` is compared with the code that it replaced, kept here, bit by bit.
"""

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from edgecv.data import open_dataset  # noqa: E402
from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.data.augment.recipe import Mixup, Mosaic, Recipe  # noqa: E402
from edgecv.data.batches import TrainingBatches  # noqa: E402
from edgecv.data.coco import read_coco  # noqa: E402
from edgecv.data.samples import DetectionDataset  # noqa: E402
from edgecv.data.segments import Polygons, RunLengths  # noqa: E402
from edgecv.errors import DatasetError  # noqa: E402
from edgecv.images import read_image  # noqa: E402
from edgecv.kernels import letterbox  # noqa: E402
from edgecv.spec import InputSpec  # noqa: E402

from .augment.pictures import KEYPOINT_NAMES, picture  # noqa: E402

WANTED = InputSpec("images", (64, 96), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Eight images with outlines and keypoints, one of them without objects."""
    folder = tmp_path_factory.mktemp("pictures")
    samples = []
    for row in range(8):
        sample, pixels = picture(row % 4, outline="runs" if row % 2 else "polygons")
        path = folder / f"{row}.png"
        Image.fromarray(pixels).save(path)
        samples.append(replace(sample, image_path=path, is_crowd=np.full(6, row == 5)))
    names = tuple(f"class {index}" for index in range(24))
    ids = tuple(range(24))
    return DetectionDataset("pictures", "train", names, ids, tuple(samples), (), KEYPOINT_NAMES)


def batches_of(dataset: DetectionDataset, **options: Any) -> TrainingBatches:
    settings = {"batch_size": 2, "seed": 5, "workers": 0} | options
    return TrainingBatches(dataset, WANTED, **settings)


def samples_of(batches: Iterator[Any]) -> list[tuple[Any, ...]]:
    """Every tensor of every sample, in order."""
    return [
        (image, target.boxes_xyxy, target.class_ids, target.masks, target.keypoints)
        for batch in batches
        for image, target in zip(batch.images, batch.targets, strict=True)
    ]


def assert_same(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> None:
    assert len(left) == len(right) > 0
    for ours, theirs in zip(left, right, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one is None and other is None) or torch.equal(one, other)


def as_before(dataset: DetectionDataset, wanted: InputSpec, *, seed: int, epoch: int) -> Any:
    """Images and objects of an epoch as they were drawn before there were recipes."""
    geometric = v2.Compose(
        [
            v2.RandomZoomOut(fill=wanted.pad, side_range=(1.0, 2.0), p=0.3),
            v2.RandomIoUCrop(min_scale=0.4),
            v2.RandomHorizontalFlip(p=0.5),
            v2.SanitizeBoundingBoxes(min_size=2, labels_getter=lambda item: item["labels"]),
        ]
    )
    colour = v2.RandomPhotometricDistort(
        brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.03, 0.03), p=0.5
    )
    mean, std = (torch.tensor(values)[:, None, None] for values in (wanted.mean, wanted.std))
    for row in np.random.default_rng((seed, epoch)).permutation(len(dataset.samples)):
        sample = dataset.samples[row]
        objects = ~sample.is_crowd
        image = torch.from_numpy(read_image(sample.image_path)).permute(2, 0, 1)
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(sample.boxes_xyxy[objects]),
            format="XYXY",
            canvas_size=image.shape[-2:],
        )
        labels = torch.from_numpy(sample.class_ids[objects].astype(np.int64))
        number = 0
        for part in (seed, epoch, int(row)):
            number = (number * 1_000_003 + part) % (1 << 63)
        torch.manual_seed(number)
        item = geometric({"image": tv_tensors.Image(image), "boxes": boxes, "labels": labels})
        frame = item["image"].permute(1, 2, 0).contiguous().numpy()
        fitted, placement = letterbox(
            frame, wanted.size_hw, format="rgb24", fit=wanted.fit, pad=wanted.pad
        )
        changed = colour(torch.from_numpy(fitted)).sub_(mean).div_(std)
        fitted_boxes = placement.to_input(item["boxes"].numpy().astype(np.float32))
        yield changed, torch.from_numpy(fitted_boxes), item["labels"]


def test_default_is_bit_by_bit_what_it_was(pictures: DetectionDataset) -> None:
    ours = samples_of(batches_of(pictures).epoch(2))
    for (image, boxes, class_ids, *_), expected in zip(
        ours, as_before(pictures, WANTED, seed=5, epoch=2), strict=True
    ):
        assert torch.equal(image, expected[0])
        assert torch.equal(boxes, expected[1])
        assert torch.equal(class_ids, expected[2])


def test_default_is_what_it_was_on_real_images(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_DATA", str(shared_data))
    dataset = open_dataset("bccd", "train")
    wanted = InputSpec("images", (160, 208), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    batches = TrainingBatches(dataset, wanted, batch_size=16, seed=3, workers=0)
    digest = hashlib.sha256()
    statistics = []
    for batch, _ in zip(batches.epoch(1), range(3), strict=False):
        for target in batch.targets:
            digest.update(target.boxes_xyxy.numpy().tobytes())
            digest.update(target.class_ids.numpy().tobytes())
        images = batch.images.double()
        statistics.append((images.mean().item(), images.std().item()))
    # Of the code that recipes replaced. Sums over pixels may round otherwise on another CPU.
    assert digest.hexdigest() == "915ca69a381dbfad598a4a56dadc5d4d3b219c67ea274f27d69271e5ef834140"
    expected = [
        (0.8314151491402288, 0.7499624870690963),
        (0.9563124771723455, 0.6098526789737212),
        (0.8173947862639318, 0.7055516161442025),
    ]
    np.testing.assert_allclose(statistics, expected, rtol=1e-5)


@pytest.mark.parametrize("recipe", ["default", "strong"])
def test_workers_change_nothing(pictures: DetectionDataset, recipe: str) -> None:
    options: dict[str, Any] = {
        "recipe": read_recipe(recipe),
        "with_masks": True,
        "with_keypoints": True,
    }
    alone = samples_of(batches_of(pictures, **options).epoch(1))
    assert_same(alone, samples_of(batches_of(pictures, workers=2, **options).epoch(1)))
    # The same samples too, however they are cut into batches.
    assert_same(alone, samples_of(batches_of(pictures, batch_size=4, **options).epoch(1)))
    assert all(masks.dtype == torch.bool for *_, masks, _ in alone)
    assert all(points.shape[1:] == (3, 3) for *_, points in alone)


@pytest.mark.parametrize("recipe", ["default", "strong"])
def test_workers_that_are_spawned_can_take_everything_along(
    pictures: DetectionDataset, recipe: str
) -> None:
    batches = batches_of(pictures, recipe=read_recipe(recipe), with_masks=True)
    copy = pickle.loads(pickle.dumps(batches._samples))  # noqa: S301  # ours
    image, target = copy[0, 1]
    expected_image, expected = batches._samples[0, 1]
    assert torch.equal(image, expected_image)
    assert torch.equal(target.masks, expected.masks)


def test_a_resume_continues_with_the_same_batches(pictures: DetectionDataset) -> None:
    recipe = read_recipe("strong")
    whole = samples_of(batches_of(pictures, recipe=recipe).epoch(3))
    resumed = batches_of(pictures, recipe=recipe)
    assert_same(whole[4:], samples_of(resumed.epoch(3, first_batch=2)))


def test_epochs_and_seeds_differ(pictures: DetectionDataset) -> None:
    recipe = read_recipe("strong")
    batches = batches_of(pictures, recipe=recipe)
    first, second = samples_of(batches.epoch(0)), samples_of(batches.epoch(1))
    other = samples_of(batches_of(pictures, recipe=recipe, seed=6).epoch(0))
    assert not torch.equal(first[0][0], second[0][0])
    assert not torch.equal(first[0][0], other[0][0])


def test_the_callers_generator_is_left_alone(pictures: DetectionDataset) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(batches_of(pictures, recipe=read_recipe("strong")).epoch(0))
    assert torch.equal(torch.rand(3), expected)


def test_masks_and_keypoints_come_only_if_asked(pictures: DetectionDataset) -> None:
    plain = samples_of(batches_of(pictures).epoch(0))
    assert all(masks is None and points is None for *_, masks, points in plain)
    rich = samples_of(batches_of(pictures, with_masks=True, with_keypoints=True).epoch(0))
    assert_same([entry[:3] for entry in plain], [entry[:3] for entry in rich])
    for _, boxes, _, masks, points in rich:
        assert masks.shape == (len(boxes), *WANTED.size_hw)
        assert points.shape == (len(boxes), 3, 3)


def test_the_closing_epochs_see_single_images(pictures: DetectionDataset) -> None:
    mixing = (Mosaic(probability=1.0), Mixup(probability=1.0))
    batches = batches_of(pictures, recipe=Recipe("mix", mixing, mixing_until=0.8), num_epochs=10)
    plain = batches_of(pictures, recipe=read_recipe("none"))
    assert_same(samples_of(batches.epoch(8)), samples_of(plain.epoch(8)))
    assert_same(samples_of(batches.epoch(9)), samples_of(plain.epoch(9)))
    mixed, single = samples_of(batches.epoch(7)), samples_of(plain.epoch(7))
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(mixed, single, strict=True))
    endless = batches_of(pictures, recipe=Recipe("mix", mixing, mixing_until=0.8))
    assert not torch.equal(samples_of(endless.epoch(9))[0][0], samples_of(plain.epoch(9))[0][0])


# pycocotools itself is older than NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_are_those_of_pycocotools_where_nothing_moves(shared_data: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    reference = coco_module.COCO(shared_data / "coco" / "instances_train2017.json")
    dataset = read_coco(shared_data / "coco", "train")
    compared = 0
    for sample in dataset.samples[:25]:
        wanted = InputSpec("images", sample.size_hw)
        one = replace(dataset, samples=(sample,))
        batches = TrainingBatches(
            one, wanted, batch_size=1, seed=0, workers=0, recipe=Recipe("none"), with_masks=True
        )
        (batch,) = batches.epoch(0)
        (target,) = batch.targets
        annotations = [
            annotation
            for annotation in reference.imgToAnns[sample.image_id]
            if not annotation["iscrowd"] and min(annotation["bbox"][2:]) >= 2
        ]
        assert len(annotations) == len(target.masks)
        for annotation, mask in zip(annotations, target.masks, strict=True):
            np.testing.assert_array_equal(mask, reference.annToMask(annotation))
            compared += 1
    assert compared > 100


def test_data_without_outlines_or_keypoints_is_refused(pictures: DetectionDataset) -> None:
    first, second, *_ = pictures.samples
    assert second.segments is not None
    bare = replace(second, segments=(*second.segments[:5], None))
    lacking = replace(pictures, samples=(first, bare), keypoint_names=())
    assert pictures.has_outlines
    assert not lacking.has_outlines
    with pytest.raises(DatasetError, match=r"must have an outline .* got 1 without in `.*1.png`"):
        batches_of(lacking, with_masks=True)
    with pytest.raises(DatasetError, match="split train must have keypoints, got none"):
        batches_of(lacking, with_keypoints=True)
    none = replace(pictures, samples=(replace(first, segments=None),))
    assert not none.has_outlines
    with pytest.raises(DatasetError, match="got 6 without"):
        batches_of(none, with_masks=True)


def test_pictures_hold_both_kinds_of_outline(pictures: DetectionDataset) -> None:
    kinds = {type(segment) for sample in pictures.samples for segment in sample.segments or ()}
    assert kinds == {Polygons, RunLengths}
