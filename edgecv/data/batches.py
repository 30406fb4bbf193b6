"""Batches of augmented, fitted training images; each sample reproducible by itself."""

import math
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgecv.data.augment.files import read_recipe
from edgecv.data.augment.pipeline import Augmentation
from edgecv.data.augment.recipe import IouCrop, Mixup, Mosaic, Recipe
from edgecv.data.augment.scene import Scene, annotated, scene_of
from edgecv.data.labelled import ClassificationDataset
from edgecv.data.samples import DetectionDataset
from edgecv.data.targets import Target
from edgecv.errors import DatasetError, InputError
from edgecv.images import read_image
from edgecv.spec import InputSpec

_CACHE_BYTES = 2 << 30  # decoded images kept in memory, so that small sets are decoded once


Targets: TypeAlias = Sequence[Target] | Tensor
_Item: TypeAlias = tuple[Tensor, Any]  # an image and its target


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, H, W] float32 as the model wants them, and what each should yield.

    The targets are the objects of each image for a detector, [B] int64 class ids for a classifier.
    """

    images: Tensor
    targets: Targets


class Batches:
    """The batches of each epoch, the same ones whenever they are asked for again."""

    def __init__(
        self,
        samples: "_AugmentedSamples",
        collate: Callable[[list[_Item]], Batch],
        *,
        batch_size: int,
        seed: int,
        workers: int,
        share: tuple[int, int],
    ) -> None:
        """Prepare to draw; images are read when a batch needs them."""
        self._samples = samples
        self._order = _EpochOrder(len(samples), batch_size=batch_size, seed=seed, share=share)
        self._loader = DataLoader(
            samples,
            batch_sampler=self._order,
            collate_fn=collate,
            num_workers=workers,
            worker_init_fn=_leave_interrupts_to_parent,
        )

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._order.num_batches

    def epoch(self, number: int, *, first_batch: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch, from `first_batch` on."""
        self._order.epoch = number
        self._order.first_batch = first_batch
        # The loader draws a seed for its workers: keep it out of the caller's generator.
        with torch.random.fork_rng(devices=[]):
            yield from self._loader


class TrainingBatches(Batches):
    """Batches of images with their objects."""

    def __init__(
        self,
        dataset: DetectionDataset,
        wanted: InputSpec,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        recipe: Recipe | None = None,
        num_epochs: int | None = None,
        with_masks: bool = False,
        with_keypoints: bool = False,
        with_proposals: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare to draw from `dataset`; images are read when a batch needs them.

        Args:
            dataset: the training split.
            wanted: the network's input.
            batch_size: images a batch; the last batch of an epoch is dropped if it is short.
            seed: of order and augmentation.
            workers: processes that prepare batches, 0 for none.
            recipe: of the augmentation; None for the recipe `default`.
            num_epochs: of the whole run, for a recipe whose mixing ends before it; None for no
                end.
            with_masks: fill `Target.masks`; that of a tiny object, or of one whose box is seen and
                whose outline is not, may be empty.
            with_keypoints: fill `Target.keypoints`.
            with_proposals: fill `Target.proposals`.
            share: (rank, number of ranks): of each batch, the images that this process gets.

        Raises:
            DatasetError: if masks, keypoints or proposals are wanted that the data set does not
                have.
            MissingDependencyError: if the recipe needs a library that is not installed.

        """
        if with_masks:
            _require_outlines(dataset)
        if with_keypoints and not dataset.keypoint_names:
            raise DatasetError(
                f"{dataset.name}: the split {dataset.split} must have keypoints, got none. "
                "Name them in the category, under `keypoints`."
            )
        if with_proposals and any(sample.proposals_xyxy is None for sample in dataset.samples):
            raise DatasetError(
                f"{dataset.name}: the model looks at regions that are proposed outside of it, and "
                f"the split {dataset.split} has none. Make them with `edgecv data propose` and "
                "name the file with `--proposals`."
            )
        recipe = recipe or read_recipe("default")
        last = math.inf if num_epochs is None else round(num_epochs * recipe.mixing_until)
        samples = _SceneSamples(
            dataset,
            wanted,
            recipe,
            seed=seed,
            num_mixing_epochs=last,
            with_masks=with_masks,
            with_keypoints=with_keypoints,
            with_proposals=with_proposals,
        )
        super().__init__(
            samples, _collate, batch_size=batch_size, seed=seed, workers=workers, share=share
        )


class LabelledBatches(Batches):
    """Batches of images with the class of each."""

    def __init__(
        self,
        dataset: ClassificationDataset,
        wanted: InputSpec,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        recipe: Recipe | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare to draw from `dataset`; images are read when a batch needs them.

        Args:
            dataset: the training split.
            wanted: the network's input.
            batch_size: images a batch; the last batch of an epoch is dropped if it is short.
            seed: of order and augmentation.
            workers: processes that prepare batches, 0 for none.
            recipe: of the augmentation; None for the recipe `classify`.
            share: (rank, number of ranks): of each batch, the images that this process gets.

        Raises:
            InputError: if the recipe needs boxes, or would mix classes.
            MissingDependencyError: if the recipe needs a library that is not installed.

        """
        recipe = recipe or read_recipe("classify")
        for transform in recipe.transforms:
            if isinstance(transform, _OF_OBJECTS):
                raise InputError(
                    f"the recipe `{recipe.name}` has `{transform.FORMAT}`, which is made for "
                    "images with objects in boxes. Train a classifier with `--augment classify`, "
                    "or a recipe without it."
                )
        super().__init__(
            _LabelledSamples(dataset, wanted, recipe, seed=seed),
            _collate_labels,
            batch_size=batch_size,
            seed=seed,
            workers=workers,
            share=share,
        )


_OF_OBJECTS = (IouCrop, Mosaic, Mixup)


class _EpochOrder(Sampler[list[tuple[int, int]]]):
    """Yield lists of (epoch, sample): a new order each epoch, drawn from seed and epoch alone."""

    def __init__(
        self, num_samples: int, *, batch_size: int, seed: int, share: tuple[int, int]
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = min(batch_size, num_samples)
        self.seed = seed
        self.share = share
        self.epoch = 0
        self.first_batch = 0
        self.num_batches = num_samples // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_samples)
        for batch in range(self.first_batch, self.num_batches):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            rank, num_ranks = self.share
            yield [(self.epoch, int(row)) for row in rows[rank::num_ranks]]

    def __len__(self) -> int:
        return self.num_batches - self.first_batch


class _AugmentedSamples(Dataset[_Item], ABC):
    """Images drawn from files, each reproducible by (epoch, row)."""

    def __init__(
        self,
        paths: Sequence[Path],
        wanted: InputSpec,
        recipe: Recipe,
        *,
        seed: int,
        num_mixing_epochs: float = math.inf,
    ) -> None:
        self._paths = paths
        self._seed = seed
        self._num_mixing_epochs = num_mixing_epochs
        self._augment = Augmentation(recipe, wanted, self._scene, len(paths))
        self._cache: dict[int, NDArray[np.uint8]] = {}
        self._cached_bytes = 0
        self._mean = torch.tensor(wanted.mean)[:, None, None]
        self._std = torch.tensor(wanted.std)[:, None, None]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: tuple[int, int]) -> _Item:
        """Return the image and the target of (epoch, sample)."""
        epoch, row = key
        with torch.random.fork_rng(devices=[]):
            seed_for(self._seed, epoch, row)
            image, target = self._augment(row, is_mixing=epoch < self._num_mixing_epochs)
        return image.sub_(self._mean).div_(self._std), self._target(row, target)

    @abstractmethod
    def _scene(self, row: int) -> Scene:
        """Return the frame of a row with what is in it."""

    @abstractmethod
    def _target(self, row: int, seen: Target) -> Any:  # noqa: ANN401  # of the task
        """Return what the image of a row should yield, of which `seen` is left in it."""

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        found = self._cache.get(row)
        if found is not None:
            return found
        pixels = read_image(self._paths[row])
        if self._cached_bytes + pixels.nbytes <= _CACHE_BYTES:
            self._cache[row] = pixels
            self._cached_bytes += pixels.nbytes
        return pixels


class _SceneSamples(_AugmentedSamples):
    def __init__(
        self,
        dataset: DetectionDataset,
        wanted: InputSpec,
        recipe: Recipe,
        *,
        seed: int,
        num_mixing_epochs: float,
        with_masks: bool,
        with_keypoints: bool,
        with_proposals: bool,
    ) -> None:
        paths = [sample.image_path for sample in dataset.samples]
        super().__init__(paths, wanted, recipe, seed=seed, num_mixing_epochs=num_mixing_epochs)
        self._samples = dataset.samples
        self._with_masks = with_masks
        self._with_keypoints = with_keypoints
        self._with_proposals = with_proposals
        self._mirrored = torch.tensor(mirrored_keypoints(dataset.keypoint_names), dtype=torch.int64)

    def _scene(self, row: int) -> Scene:
        return scene_of(
            self._samples[row],
            self._pixels(row),
            with_masks=self._with_masks,
            with_keypoints=self._with_keypoints,
            with_proposals=self._with_proposals,
            mirrored=self._mirrored,
        )

    def _target(self, row: int, seen: Target) -> Target:
        del row
        return seen


class _LabelledSamples(_AugmentedSamples):
    def __init__(
        self, dataset: ClassificationDataset, wanted: InputSpec, recipe: Recipe, *, seed: int
    ) -> None:
        paths = [sample.image_path for sample in dataset.samples]
        super().__init__(paths, wanted, recipe, seed=seed)
        self._class_ids = [sample.class_id for sample in dataset.samples]

    def _scene(self, row: int) -> Scene:
        pixels = torch.from_numpy(self._pixels(row)).permute(2, 0, 1)
        return Scene(annotated(pixels, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))

    def _target(self, row: int, seen: Target) -> int:
        del seen
        return self._class_ids[row]


def mirrored_keypoints(names: Sequence[str]) -> list[int]:
    """Return for each keypoint which one it becomes in a mirror: left_eye is then right_eye."""
    sides = {"left": "right", "right": "left"}
    mirrored = []
    for index, name in enumerate(names):
        side, underscore, rest = name.partition("_")
        other = f"{sides.get(side, side)}{underscore}{rest}"
        mirrored.append(names.index(other) if other in names else index)
    return mirrored


def _require_outlines(dataset: DetectionDataset) -> None:
    for sample in dataset.samples:
        if sample.num_without_outline:
            raise DatasetError(
                f"{dataset.name}: every object must have an outline to learn masks, got "
                f"{sample.num_without_outline} without in `{sample.image_path}`. Annotate "
                "`segmentation`."
            )


def seed_for(*numbers: int) -> None:
    """Seed torch's generator from several numbers, such as seed, epoch and sample.

    With a seed of its own, a sample looks the same whichever worker draws it, whatever was drawn
    before, and after a resume.
    """
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % (1 << 63)
    torch.manual_seed(seed)


def _leave_interrupts_to_parent(worker: int) -> None:
    """Ignore CTRL-C, which the terminal sends to every process: the parent ends the workers."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[_Item]) -> Batch:
    images, targets = zip(*items, strict=True)
    return Batch(torch.stack(images), targets)


def _collate_labels(items: list[_Item]) -> Batch:
    images, class_ids = zip(*items, strict=True)
    return Batch(torch.stack(images), torch.tensor(class_ids))
