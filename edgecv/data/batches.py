"""Batches of augmented, fitted training images; each sample reproducible by itself."""

import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgecv.data.augment import (
    annotated,
    colour_augmentation,
    geometric_augmentation,
    seed_for,
)
from edgecv.data.samples import DetectionDataset, Sample
from edgecv.data.targets import Target
from edgecv.images import read_image
from edgecv.kernels import letterbox
from edgecv.spec import InputSpec

_CACHE_BYTES = 2 << 30  # decoded images kept in memory, so that small sets are decoded once


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, H, W] float32 as the model wants them, and the objects of each."""

    images: Tensor
    targets: tuple[Target, ...]


class TrainingBatches:
    """The batches of each epoch, the same ones whenever they are asked for again."""

    def __init__(
        self,
        dataset: DetectionDataset,
        wanted: InputSpec,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare to draw from `dataset`; images are read when a batch needs them.

        Args:
            dataset: the training split.
            wanted: the network's input.
            batch_size: images a batch; the last batch of an epoch is dropped if it is short.
            seed: of order and augmentation.
            workers: processes that prepare batches, 0 for none.
            share: (rank, number of ranks): of each batch, the images that this process gets.

        """
        self._samples = _AugmentedSamples(dataset.samples, wanted, seed=seed)
        self._order = _EpochOrder(
            len(dataset.samples), batch_size=batch_size, seed=seed, share=share
        )
        self._loader = DataLoader(
            self._samples,
            batch_sampler=self._order,
            collate_fn=_collate,
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


class _AugmentedSamples(Dataset[tuple[Tensor, Target]]):
    def __init__(self, samples: Sequence[Sample], wanted: InputSpec, *, seed: int) -> None:
        self._samples = samples
        self._wanted = wanted
        self._seed = seed
        self._geometric = geometric_augmentation(fill=wanted.pad)
        self._colour = colour_augmentation()
        self._cache: dict[int, NDArray[np.uint8]] = {}
        self._cached_bytes = 0
        self._mean = torch.tensor(wanted.mean)[:, None, None]
        self._std = torch.tensor(wanted.std)[:, None, None]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Target]:
        """Return the image and objects of (epoch, sample)."""
        epoch, row = key
        sample = self._samples[row]
        objects = ~sample.is_crowd
        item = annotated(
            torch.from_numpy(self._pixels(row)).permute(2, 0, 1),
            torch.from_numpy(sample.boxes_xyxy[objects]),
            torch.from_numpy(sample.class_ids[objects].astype(np.int64)),
        )
        with torch.random.fork_rng(devices=[]):
            seed_for(self._seed, epoch, row)
            item = self._geometric(item)
            # Fitted by the kernel that the deployed model meets. Colours change after it, on the
            # fewer pixels, so it gives 0..1 here and the normalisation follows below.
            frame = item["image"].permute(1, 2, 0).contiguous().numpy()
            fitted, placement = letterbox(
                frame,
                self._wanted.size_hw,
                format="rgb24",
                fit=self._wanted.fit,
                pad=self._wanted.pad,
            )
            image = self._colour(torch.from_numpy(fitted))
        boxes = placement.to_input(item["boxes"].numpy().astype(np.float32))
        image = image.sub_(self._mean).div_(self._std)
        return image, Target(torch.from_numpy(boxes), item["labels"])

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        found = self._cache.get(row)
        if found is not None:
            return found
        pixels = read_image(self._samples[row].image_path)
        if self._cached_bytes + pixels.nbytes <= _CACHE_BYTES:
            self._cache[row] = pixels
            self._cached_bytes += pixels.nbytes
        return pixels


def _leave_interrupts_to_parent(worker: int) -> None:
    """Ignore CTRL-C, which the terminal sends to every process: the parent ends the workers."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[tuple[Tensor, Target]]) -> Batch:
    images, targets = zip(*items, strict=True)
    return Batch(torch.stack(images), targets)
