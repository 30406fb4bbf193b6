"""Regions: the anchors of a region proposal network, and boxes decoded from regions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image

from edgecv.models.matching import decode_offsets

ASPECT_RATIOS = (0.5, 1.0, 2.0)  # height over width

# The farthest that a region may grow at once: exp() of what an untrained head says is bounded.
_MAX_LOG_GROWTH = math.log(1000 / 16)


def region_anchors(
    strides: Sequence[int], size_hw: tuple[int, int], *, scale: float, num_sizes: int = 1
) -> list[Tensor]:
    """Return the anchors of each level, [rows * columns * A, 4] float32 xyxy in input pixels.

    Cell by cell, each with three shapes in turn, each shape in `num_sizes` sizes: the smallest of
    area (`scale` * stride)², the next of twice the side; A is 3 * `num_sizes`. Rounded to whole
    pixels and centred on the cell's first corner.

    Args:
        strides: input pixels per cell, one per level.
        size_hw: height and width of the input in pixels.
        scale: side of the smallest square anchor in strides.
        num_sizes: of each shape.

    Source:
        Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1.1; one size a level: Lin et al.,
        "Feature Pyramid Networks", CVPR 2017, section 4.1. Places and rounding are those of
        torchvision's `AnchorGenerator`: cells lie `size // number of cells` apart, which is less
        than the stride where the stride does not divide the size.

    """
    levels = []
    for stride in strides:
        ratio = torch.tensor(ASPECT_RATIOS).sqrt()
        side = scale * stride * 2.0 ** torch.arange(num_sizes)
        width, height = (1 / ratio[:, None] * side).flatten(), (ratio[:, None] * side).flatten()
        shapes = (torch.stack([-width, -height, width, height], dim=1) / 2).round()
        rows, columns = (math.ceil(side / stride) for side in size_hw)
        y = torch.arange(rows) * (size_hw[0] // rows)
        x = torch.arange(columns) * (size_hw[1] // columns)
        corner = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
        levels.append((corner.repeat(1, 1, 2)[:, :, None] + shapes).view(-1, 4))
    return levels


def decode_regions(
    offsets: Tensor,
    regions_xyxy: Tensor,
    variances: tuple[float, float],
    size_hw: tuple[int, int],
) -> Tensor:
    """Return the boxes [..., 4] xyxy that `offsets` make of regions, cut at the input's edges.

    Args:
        offsets: [..., 4], see `edgecv.models.matching.encode_offsets`.
        regions_xyxy: [..., 4] float32 in input pixels; the two broadcast.
        variances: of the centre and of the size.
        size_hw: height and width of the input in pixels.

    """
    centre, size = torch.split(offsets, 2, dim=-1)
    bounded = torch.cat([centre, size.clamp(max=_MAX_LOG_GROWTH / variances[1])], dim=-1)
    boxes = decode_offsets(bounded, box_convert(regions_xyxy, "xyxy", "cxcywh"), variances)
    clipped: Tensor = clip_boxes_to_image(boxes, size_hw)
    return clipped


def scores_of_proper(scores: Tensor, boxes_xyxy: Tensor, *, least_side: float) -> Tensor:
    """Return `scores` [...], 0 where a side of the box [..., 4] is below `least_side` pixels."""
    sides = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return scores * (sides >= least_side).all(dim=-1)
