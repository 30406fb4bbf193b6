"""From a sample to the network's input, as a recipe says."""

from collections.abc import Callable
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from edgecv.data.augment.frame import drop_lost, frame_transform
from edgecv.data.augment.mixing import blend, compose_mosaic
from edgecv.data.augment.pixels import PixelTransform, pixel_transform
from edgecv.data.augment.recipe import FRAME, INPUT, Mixup, Mosaic, Recipe
from edgecv.data.augment.scene import Scene, place
from edgecv.data.targets import Target
from edgecv.kernels import letterbox
from edgecv.spec import InputSpec

_MOSAIC_FRAMES = 4


class Augmentation:
    """Draws samples: the same ones whenever torch's generator was seeded the same.

    Args:
        recipe: what is done.
        wanted: the network's input; values are left in 0..1, its mean and std are not applied.
        load: returns the frame of a row, with its objects.
        num_rows: how many there are, for mosaics and blends.

    """

    def __init__(
        self, recipe: Recipe, wanted: InputSpec, load: Callable[[int], Scene], num_rows: int
    ) -> None:
        """Build the transforms.

        Raises:
            MissingDependencyError: if the recipe needs a library that is not installed.

        """
        self._wanted = wanted
        self._load = load
        self._num_rows = num_rows
        self._on_frame = [
            frame_transform(transform, fill=wanted.pad, size_hw=wanted.size_hw)
            for transform in recipe.transforms
            if transform.STAGE == FRAME
        ]
        mosaics = [entry for entry in recipe.transforms if isinstance(entry, Mosaic)]
        self._mosaic = mosaics[0] if mosaics else None
        self._on_input: list[Mixup | PixelTransform] = [
            transform if isinstance(transform, Mixup) else pixel_transform(transform)
            for transform in recipe.transforms
            if transform.STAGE == INPUT
        ]

    def __call__(self, row: int, *, is_mixing: bool) -> tuple[Tensor, Target]:
        """Return an image, float32 [3, H, W] in 0..1, and its objects.

        Args:
            row: of the sample.
            is_mixing: whether mosaics and blends may be drawn.

        """
        return self._drawn(row, len(self._on_input), is_mixing=is_mixing)

    def _drawn(self, row: int, num_steps: int, *, is_mixing: bool) -> tuple[Tensor, Target]:
        """Return a sample after the first `num_steps` transforms of the input."""
        image, target = self._composed(row, is_mixing=is_mixing)
        for index, step in enumerate(self._on_input[:num_steps]):
            if not isinstance(step, Mixup):
                image = step(image)
            elif is_mixing and torch.rand(()) < step.probability:
                other = self._drawn(self._another_row(), index, is_mixing=is_mixing)
                image, target = blend((image, target), other, alpha=step.alpha)
        return image, target

    def _composed(self, row: int, *, is_mixing: bool) -> tuple[Tensor, Target]:
        """Return the frame fitted into the input, or a mosaic that it is part of."""
        mosaic, wanted = self._mosaic, self._wanted
        if mosaic is not None and is_mixing and torch.rand(()) < mosaic.probability:
            rows = [row, *(self._another_row() for _ in range(_MOSAIC_FRAMES - 1))]
            return compose_mosaic([self._framed(row) for row in rows], mosaic, wanted)
        scene = self._framed(row)
        # Fitted by the kernel that the deployed model meets. Colours change after it, on the
        # fewer pixels, so it gives 0..1 here and the normalisation is the caller's.
        fitted, placement = letterbox(
            scene.pixels(), wanted.size_hw, format="rgb24", fit=wanted.fit, pad=wanted.pad
        )
        return torch.from_numpy(fitted.astype(np.float32, copy=False)), place(scene, placement)

    def _framed(self, row: int) -> Scene:
        scene = reduce(lambda scene, change: change(scene), self._on_frame, self._load(row))
        return drop_lost(scene)

    def _another_row(self) -> int:
        return int(torch.randint(self._num_rows, ()))
