"""Transforms of the frame as decoded: pixels, boxes, outlines and keypoints move together."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from edgecv.data.augment.albumentations_pipeline import AlbumentationsPipeline
from edgecv.data.augment.recipe import (
    Albumentations,
    HorizontalFlip,
    IouCrop,
    ResizedCrop,
    ScaleJitter,
    Transform,
    VerticalFlip,
    ZoomOut,
)
from edgecv.data.augment.scene import LEAST_SHARE, Item, Scene

FrameTransform = Callable[[Scene], Scene]

_MIN_SIDE_PX = 2  # of an object that is kept, in pixels of the frame


def frame_transform(  # noqa: PLR0911  # a case a transform
    transform: Transform, *, fill: int, size_hw: tuple[int, int]
) -> FrameTransform:
    """Return what carries out a transform of the frame.

    Args:
        transform: an entry of a recipe.
        fill: pixel value 0..255 of what the frame does not cover.
        size_hw: height and width of the network's input in pixels.

    """
    fills = {tv_tensors.Image: fill, "others": 0}
    match transform:
        case HorizontalFlip(probability):
            return _Torchvision(v2.RandomHorizontalFlip(probability))
        case VerticalFlip(probability):
            return _Torchvision(v2.RandomVerticalFlip(probability))
        case ZoomOut(max_side, probability):
            return _Torchvision(v2.RandomZoomOut(fills, (1.0, max_side), probability))
        case IouCrop(min_scale, min_aspect, probability):
            crop = v2.RandomIoUCrop(
                min_scale, min_aspect_ratio=min_aspect, max_aspect_ratio=1 / min_aspect
            )
            return _Torchvision(crop, probability)
        case ScaleJitter(scale, probability):
            return _Torchvision(_JitterScale(scale, fills), probability)
        case ResizedCrop(area, aspect, probability):
            part = _ResizedCrop(size_hw, area, (aspect, 1 / aspect), antialias=True)
            return _Torchvision(part, probability)
        case Albumentations(definition=definition):
            return AlbumentationsPipeline(definition)
    raise ValueError(f"frame_transform: `{transform.FORMAT}` must move pixels of the frame.")


def drop_lost(scene: Scene) -> Scene:
    """Return the scene without the boxes that transforms emptied or made too small to learn."""
    item = dict(scene.item)
    bitmaps = item.pop("bitmaps", None)  # of all objects, not in step with the boxes
    item = _SANITIZE(item)
    if bitmaps is not None:
        item["bitmaps"] = bitmaps
    return scene.with_item(item)


def _object_columns(item: Item) -> list[Tensor]:
    return [item[name] for name in ("labels", "rows") if name in item]


_SANITIZE = v2.SanitizeBoundingBoxes(min_size=_MIN_SIDE_PX, labels_getter=_object_columns)


class _Torchvision:
    """A transform of torchvision's on a scene, by chance."""

    def __init__(self, transform: v2.Transform, probability: float = 1.0) -> None:
        self._transform = transform
        self._probability = probability

    def __call__(self, scene: Scene) -> Scene:
        if self._probability < 1 and torch.rand(()) >= self._probability:
            return scene
        if "points" not in scene.item:
            return scene.with_item(self._transform(scene.item))
        # torchvision counts the centre of the first pixel as 0 when it mirrors points.
        centred = scene.item["points"] - 0.5
        points = tv_tensors.KeyPoints(centred, canvas_size=scene.size_hw)
        item = self._transform({**scene.item, "points": points})
        moved = item["points"].as_subclass(torch.Tensor) + 0.5
        height, width = item["image"].shape[-2:]
        moved[:2] = moved[:2].clamp(torch.zeros(2), torch.tensor([width, height]))
        return scene.with_item({**item, "points": moved})


class _JitterScale(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Cut a part, or put the frame into a canvas; the fit into the input makes a scale of it."""

    def __init__(self, scale: tuple[float, float], fills: dict[Any, int]) -> None:
        super().__init__()
        self._log_scale = torch.tensor(scale).log()
        self._pad = v2.RandomZoomOut(fills, p=1.0)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        low, high = self._log_scale.tolist()
        scale = float((low + (high - low) * torch.rand(())).exp())
        new_height, new_width = max(round(height / scale), 1), max(round(width / scale), 1)
        x, y = torch.rand(2).tolist()
        left, top = int(abs(new_width - width) * x), int(abs(new_height - height) * y)
        if scale <= 1:
            right, bottom = new_width - width - left, new_height - height - top
            return {"padding": [left, top, right, bottom]}
        return {"crop": {"top": top, "left": left, "height": new_height, "width": new_width}}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401
        if "padding" in params:
            return self._pad.transform(inpt, params)
        cut = params["crop"]
        output = self._call_kernel(functional.crop, inpt, **cut)
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            _empty_lost(inpt, output)
        return output


class _ResizedCrop(v2.RandomResizedCrop):  # type: ignore[misc]  # torchvision has no types
    """The same, which also empties the boxes that it cuts off."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401
        output = super().transform(inpt, params)
        height, width = self.size
        scale_x, scale_y = width / params["width"], height / params["height"]
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            # Rounding may put an edge past the frame's, which `drop_lost` would not forgive.
            output = functional.clamp_bounding_boxes(output)
            _empty_lost(inpt, output, scale_x * scale_y)
        elif isinstance(inpt, tv_tensors.KeyPoints):
            # torchvision scales points about the centre of the first pixel, and the image about
            # the pixel's corner.
            output = output + 0.5 * (torch.tensor([scale_x, scale_y]) - 1)
        return output


def _empty_lost(before: Tensor, after: Tensor, enlarged: float = 1.0) -> None:
    """Empty the boxes of which too little is left of their area times `enlarged`."""
    areas = (
        (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        for boxes in (before.as_subclass(torch.Tensor), after.as_subclass(torch.Tensor))
    )
    old, new = areas
    after[new < LEAST_SHARE * enlarged * old] = 0  # for `drop_lost`
