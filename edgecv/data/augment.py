"""Augmentation of training images with their boxes, through torchvision.transforms.v2."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

Annotated = dict[str, Tensor]

# The paper (Liu et al. 2016, section 2.2, "Data augmentation" and section 3.6) shrinks the image
# into a canvas of up to 4 times its side; half of that suits the smaller inputs of edge models.
_MAX_ZOOM_OUT = 2.0


def geometric_augmentation(*, fill: int) -> v2.Transform:
    """Return the transform that moves boxes: zoom out, IoU crop, horizontal flip.

    It takes and returns `image` (uint8 [3, H, W]), `boxes` (BoundingBoxes xyxy) and `labels`;
    objects whose centre a crop loses, or which keep no area, are dropped.

    Args:
        fill: pixel value 0..255 of the canvas around a zoomed-out image.

    """
    return v2.Compose(
        [
            v2.RandomZoomOut(fill=fill, side_range=(1.0, _MAX_ZOOM_OUT), p=0.3),
            v2.RandomIoUCrop(min_scale=0.4),
            v2.RandomHorizontalFlip(p=0.5),
            v2.SanitizeBoundingBoxes(min_size=2, labels_getter=lambda sample: sample["labels"]),
        ]
    )


def colour_augmentation() -> v2.Transform:
    """Return the transform of pixel values: brightness, contrast, saturation and hue.

    It takes an RGB image, float32 in [0, 1] or uint8.
    """
    return v2.RandomPhotometricDistort(
        brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.03, 0.03), p=0.5
    )


def annotated(image: Tensor, boxes_xyxy: Tensor, class_ids: Tensor) -> Annotated:
    """Wrap an image [3, H, W] with its boxes (K, 4) and classes (K,) for the transforms."""
    height, width = image.shape[-2:]
    boxes = tv_tensors.BoundingBoxes(boxes_xyxy, format="XYXY", canvas_size=(height, width))
    return {"image": tv_tensors.Image(image), "boxes": boxes, "labels": class_ids}


def seed_for(*numbers: int) -> None:
    """Seed torch's generator from several numbers, such as seed, epoch and sample.

    With a seed of its own, a sample looks the same whichever worker draws it, whatever was drawn
    before, and after a resume.
    """
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % (1 << 63)
    torch.manual_seed(seed)
