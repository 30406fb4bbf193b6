"""What makes one image of several: mosaics and blends."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Beta

from edgecv.data.augment.recipe import Mosaic
from edgecv.data.augment.scene import Scene, place
from edgecv.data.targets import Target
from edgecv.kernels import letterbox
from edgecv.placement import Placement
from edgecv.spec import InputSpec


def compose_mosaic(
    scenes: Sequence[Scene], mosaic: Mosaic, wanted: InputSpec
) -> tuple[Tensor, Target]:
    """Return an input, float32 [3, H, W] in 0..1, filled by parts of four frames.

    Each part is cut from its frame before it is resized, so that a mosaic costs no more pixels
    than a single image.

    Args:
        scenes: the four, top left, top right, bottom left, bottom right.
        mosaic: scales and centre.
        wanted: the network's input.

    Source:
        Bochkovskiy et al., "YOLOv4", 2020, section 3.3; here without a canvas of four times the
        input.

    """
    height, width = wanted.size_hw
    low, high = mosaic.centre
    x, y = (low + (high - low) * torch.rand(2)).tolist()
    middle_x, middle_y = round(x * width), round(y * height)
    image = torch.empty(3, height, width)
    targets = []
    for index, scene in enumerate(scenes):
        left, right = ((0, middle_x), (middle_x, width))[index % 2]
        top, bottom = ((0, middle_y), (middle_y, height))[index // 2]
        corner_xy, part_hw = _cut(scene.size_hw, (bottom - top, right - left), mosaic, wanted)
        (part_x, part_y), (part_h, part_w) = corner_xy, part_hw
        part = scene.pixels()[part_y : part_y + part_h, part_x : part_x + part_w]
        fitted, _ = letterbox(part, (bottom - top, right - left), format="rgb24", fit="stretch")
        image[:, top:bottom, left:right] = torch.from_numpy(fitted)
        placement = Placement(part_hw, wanted.size_hw, (bottom - top, right - left), (left, top))
        targets.append(place(scene, placement, corner_xy))
    return image, joined(targets)


def blend(
    first: tuple[Tensor, Target], second: tuple[Tensor, Target], *, alpha: float
) -> tuple[Tensor, Target]:
    """Return both images over each other, with the objects of both.

    Args:
        first: image, float32 [3, H, W], and objects.
        second: likewise, of the same size.
        alpha: of the symmetric beta distribution of the first one's share.

    Source:
        Zhang et al., "mixup", 2018; for detection Zhang et al., "Bag of Freebies for Training
        Object Detection Neural Networks", 2019, section 3.1.

    """
    share = float(Beta(alpha, alpha).sample())
    return torch.lerp(second[0], first[0], share), joined([first[1], second[1]])


def joined(targets: Sequence[Target]) -> Target:
    """Return the objects of several targets, all with masks, or proposals, or none, as one."""
    masks = [target.masks for target in targets if target.masks is not None]
    keypoints = [target.keypoints for target in targets if target.keypoints is not None]
    proposals = [target.proposals for target in targets if target.proposals is not None]
    return Target(
        torch.cat([target.boxes_xyxy for target in targets]),
        torch.cat([target.class_ids for target in targets]),
        torch.cat(masks) if masks else None,
        torch.cat(keypoints) if keypoints else None,
        torch.cat(proposals) if proposals else None,
    )


def _cut(
    frame_hw: tuple[int, int], part_hw: tuple[int, int], mosaic: Mosaic, wanted: InputSpec
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return corner (x, y) and size (h, w) of what is cut from a frame for a part of the input."""
    alone = Placement.of(frame_hw, wanted.size_hw, wanted.fit)
    low, high = mosaic.scale
    drawn = low + (high - low) * float(torch.rand(()))
    covering = max(part / frame for part, frame in zip(part_hw, frame_hw, strict=True))
    scale = max(min(alone.scale_xy) * drawn, covering)
    height, width = (
        min(max(round(part / scale), 1), frame)
        for part, frame in zip(part_hw, frame_hw, strict=True)
    )
    x, y = torch.rand(2).tolist()
    corner_xy = int((frame_hw[1] - width) * x), int((frame_hw[0] - height) * y)
    return corner_xy, (height, width)
