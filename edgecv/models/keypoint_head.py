"""The keypoint head of Mask R-CNN: heatmaps of a region, their loss, and the points they show.

He et al., "Mask R-CNN", ICCV 2017, arXiv 1703.06870, section 5. Written from the paper; loss and
coordinates are those of torchvision (BSD-3-Clause), whose conventions the paper leaves open.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from edgecv.models.roi_heads import SampledRegions

KEYPOINT_BINS = (14, 14)
HEATMAP_SIDE = 56  # cells: twice the bins by the transposed convolution, twice by interpolation

_FLATTEST = 1e-6  # of a parabola that has a peak; equal neighbours leave the point in the middle


class KeypointHead(nn.Module):
    """Convolutions, a transposed one and bilinear enlargement: a heatmap of each keypoint.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 5, implementation details.

    """

    def __init__(self, channels: int, num_keypoints: int, *, width: int, num_convs: int) -> None:
        """Build with random weights.

        Args:
            channels: of the regions' features.
            num_keypoints: J.
            width: channels of the convolutions.
            num_convs: how many there are.

        """
        super().__init__()
        widths = (channels, *(width for _ in range(num_convs)))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.heatmaps = nn.ConvTranspose2d(widths[-1], num_keypoints, 4, stride=2, padding=1)
        for layer in (*self.convs, self.heatmaps):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, bins: Tensor) -> Tensor:
        """Map [M, channels, 14, 14] to logits [M, J, 56, 56] float32."""
        x = bins
        for conv in self.convs:
            x = F.relu(conv(x))
        coarse: Tensor = self.heatmaps(x)
        return F.interpolate(coarse.float(), scale_factor=2, mode="bilinear", align_corners=False)


def keypoint_loss(logits: Tensor, sampled: SampledRegions, keypoints: Sequence[Tensor]) -> Tensor:
    """Return the mean cross-entropy over the cells, of each labelled point inside its region.

    Args:
        logits: [M, J, S, S] float32.
        sampled: the M regions, each with an object.
        keypoints: (K, J, 3) float32 of each image, as `edgecv.data.targets.Target` has them.

    Returns:
        [] float32, 0 where no region holds a labelled point.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 5: a softmax over the m² cells, one of which is
        right.

    """
    num_regions, num_keypoints, side = logits.shape[:3]
    own = logits.new_zeros(num_regions, num_keypoints, 3)
    for image, points in enumerate(keypoints):
        here = torch.nonzero(sampled.batch_ids == image).flatten()
        own[here] = points.to(own.dtype)[sampled.objects[here]]
    cells, is_inside = heatmap_cells(own[..., :2], sampled.boxes_xyxy, side)
    rows = torch.nonzero((is_inside & (own[..., 2] > 0)).flatten()).flatten()
    wanted = (cells[..., 1] * side + cells[..., 0]).flatten()[rows]
    # The sum over nothing is 0 and its gradient too, so that every parameter has one.
    total = F.cross_entropy(logits.flatten(0, 1).flatten(1)[rows], wanted, reduction="sum")
    return total / max(1, len(rows))


def heatmap_cells(points_xy: Tensor, boxes_xyxy: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the cell of each point in the heatmap of its region, and whether it lies in it.

    Args:
        points_xy: [M, J, 2] float32 in input pixels.
        boxes_xyxy: [M, 4] float32, the regions.
        side: of the heatmaps in cells.

    Returns:
        Column and row [M, J, 2] int64, and [M, J] bool. A point on the region's lower or right edge
        belongs to the last cell.

    """
    low, high = boxes_xyxy[:, None, :2], boxes_xyxy[:, None, 2:]
    cells = ((points_xy - low) * (side / (high - low))).floor().long()
    cells = torch.where(points_xy == high, side - 1, cells)
    is_inside = ((cells >= 0) & (cells < side)).all(dim=-1)
    return cells, is_inside


def decode_heatmaps(logits: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Return the point that each heatmap shows.

    It lies in the cell of the greatest logit, along each axis at the peak of the parabola through
    it and its two neighbours. Such a peak is never more than half a cell from the middle; a cell at
    the edge has no second neighbour, and its point stays in the middle on that axis. torchvision
    enlarges each heatmap to its region's pixels by bicubic interpolation and takes the greatest of
    those: a map of another shape for every region, which no engine takes. The two differ by less
    than a cell where the heatmap has one clear peak.

    The score is the probability, by the softmax that the head is trained with, that the point lies
    in that cell or in one of the eight around it. Unlike the logit itself, which torchvision
    returns, it means the same for every point of every object.

    Args:
        logits: [M, J, S, S] float32.
        boxes_xyxy: [M, 4] float32, the regions in input pixels.

    Returns:
        [M, J, 3] float32: x and y in input pixels, and the score in [0, 1].

    Source:
        Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR
        2020, section 3.2, without the mixed derivative, so that no point leaves its cell.

    """
    side = logits.shape[-1]
    flat = logits.flatten(2)
    best = flat.argmax(dim=-1, keepdim=True)
    centre = torch.cat([best % side, best // side], dim=-1)  # [M, J, 2], column and row
    steps = torch.arange(9, device=logits.device)
    around = centre[:, :, None] + torch.stack([steps % 3 - 1, steps // 3 - 1], dim=-1)
    is_inside = ((around >= 0) & (around < side)).all(dim=-1)
    around = around.clamp(0, side - 1)
    cells = around[..., 1] * side + around[..., 0]  # [M, J, 9], row by row
    near = flat.gather(-1, cells)
    # Left and right, above and below.
    before, after = _pair(near, 3, 1), _pair(near, 5, 7)
    slope, bend = after - before, 2 * near[..., 4:5] - before - after
    has_both = _pair(is_inside, 3, 1) & _pair(is_inside, 5, 7)
    shift = torch.where(has_both, slope / (2 * bend.clamp(min=_FLATTEST)), 0.0).clamp(-0.5, 0.5)
    low, high = boxes_xyxy[:, None, :2], boxes_xyxy[:, None, 2:]
    points = low + (centre + 0.5 + shift) * ((high - low) / side)
    score = (flat.softmax(dim=-1).gather(-1, cells) * is_inside).sum(dim=-1, keepdim=True)
    return torch.cat([points, score.clamp(max=1.0)], dim=-1)


def _pair(x: Tensor, first: int, second: int) -> Tensor:
    """Return two entries of the last axis; a list as index would be copied to a GPU each time."""
    return torch.stack([x[..., first], x[..., second]], dim=-1)
