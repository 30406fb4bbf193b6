"""What looks at each region of a two-stage detector: the box head, the mask head, their losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torchvision.ops import box_convert, roi_align

from edgecv.data.targets import Target
from edgecv.models.losses import MaskLoss, dice_loss
from edgecv.models.matching import BACKGROUND, encode_offsets, match_regions, sample_matches
from edgecv.models.rpn import SMOOTH_L1_BETA

BOX_VARIANCES = (0.1, 0.2)
BOX_BINS, MASK_BINS = (7, 7), (14, 14)
STAGE_BINS = (14, 14)  # of which a trunk's last stage makes 7 x 7
_MATCH_THRESHOLD = 0.5
_POSITIVE_FRACTION = 0.25


class BoxHead(nn.Module):
    """Two fully connected layers, then a class and offsets of each class for every region.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, section 2; two layers of equal width: Lin et al.,
        "Feature Pyramid Networks", CVPR 2017, section 4.2.

    """

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        """Build with random weights for regions of `channels` and `BOX_BINS`."""
        super().__init__()
        self.fc1 = nn.Linear(channels * BOX_BINS[0] * BOX_BINS[1], hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.logits = nn.Linear(hidden, 1 + num_classes)
        self.offsets = nn.Linear(hidden, 4 * num_classes)
        _start_small(self.logits, self.offsets)

    def forward(self, bins: Tensor) -> tuple[Tensor, Tensor]:
        """Map [..., channels, 7, 7] to logits [..., 1 + C], background first, and [..., 4 C]."""
        x = F.relu(self.fc1(bins.flatten(-3)))
        x = F.relu(self.fc2(x))
        return self.logits(x).float(), self.offsets(x).float()


class PooledBoxHead(nn.Module):
    """The average of what a trunk's last stage makes of a region, then class and offsets.

    Source:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, appendix A.

    """

    def __init__(self, channels: int, num_classes: int, *, has_background: bool = True) -> None:
        """Build with random weights.

        Args:
            channels: of the regions' features.
            num_classes: C.
            has_background: whether the background has a logit, in front of the others.

        """
        super().__init__()
        self.logits = nn.Linear(channels, has_background + num_classes)
        self.offsets = nn.Linear(channels, 4 * num_classes)
        _start_small(self.logits, self.offsets)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map [..., channels, h, w] to logits [..., 1 + C] and offsets [..., 4 C]."""
        x = features.mean(dim=(-2, -1))
        return self.logits(x).float(), self.offsets(x).float()


def _start_small(logits: nn.Linear, offsets: nn.Linear) -> None:
    for layer, deviation in ((logits, 0.01), (offsets, 0.001)):
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)


class MaskHead(nn.Module):
    """Convolutions and a transposed one: a mask of every class for each region.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 3 and figure 4: right with four convolutions,
        left with none, behind a trunk's last stage.

    """

    def __init__(
        self, channels: int, num_classes: int, *, width: int | None = None, num_convs: int = 4
    ) -> None:
        """Build with random weights.

        Args:
            channels: of the regions' features.
            num_classes: C.
            width: channels behind the transposed convolution; None for `channels`.
            num_convs: convolutions in front of it.

        """
        super().__init__()
        width = width or channels
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(num_convs)
        )
        self.up = nn.ConvTranspose2d(channels, width, 2, stride=2)
        self.logits = nn.Conv2d(width, num_classes, 1)
        for layer in (*self.convs, self.up, self.logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, bins: Tensor) -> Tensor:
        """Map [M, channels, h, w] to logits [M, C, 2 h, 2 w]."""
        x = bins
        for conv in self.convs:
            x = F.relu(conv(x))
        logits: Tensor = self.logits(F.relu(self.up(x)))
        return logits.float()


@dataclass(frozen=True)
class SampledRegions:
    """Regions of a batch that the losses of the heads look at, image by image.

    Args:
        boxes_xyxy: (M, 4) float32.
        batch_ids: (M,) int64, the image of each.
        labels: (M,) int64, 0 for the background, else 1 + class.
        objects: (M,) int64, the row of its object among those of its image, -1 without one.
        offsets: (M, 4) float32 towards that object, 0 without one.

    """

    boxes_xyxy: Tensor
    batch_ids: Tensor
    labels: Tensor
    objects: Tensor
    offsets: Tensor

    def at(self, rows: Tensor) -> "SampledRegions":
        """Return the regions of some rows, (R,) int64."""
        return SampledRegions(**{name: value[rows] for name, value in vars(self).items()})


def sample_regions(
    proposals: Sequence[Tensor], targets: Sequence[Target], *, count: int
) -> SampledRegions:
    """Return a random sample of `count` regions an image, a quarter with an object at the most.

    Args:
        proposals: (R, 4) float32 xyxy of each image; its objects take part as if proposed.
        targets: the objects of each image.
        count: regions an image.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, section 2.3.

    """
    boxes, ids, labels, objects, offsets = [], [], [], [], []
    for image, (proposed, target) in enumerate(zip(proposals, targets, strict=True)):
        regions = torch.cat([proposed, target.boxes_xyxy])
        matched = match_regions(
            regions,
            target.boxes_xyxy,
            positive_from=_MATCH_THRESHOLD,
            negative_below=_MATCH_THRESHOLD,
            keep_best=False,
        )
        positive, negative = sample_matches(
            matched, count=count, positive_fraction=_POSITIVE_FRACTION
        )
        rows = torch.cat([positive, negative])
        chosen = matched[positive]
        boxes.append(regions[rows])
        ids.append(torch.full_like(rows, image))
        labels.append(F.pad(1 + target.class_ids[chosen], (0, len(negative))))
        objects.append(F.pad(chosen, (0, len(negative)), value=BACKGROUND))
        towards = encode_offsets(
            target.boxes_xyxy[chosen],
            box_convert(regions[positive], "xyxy", "cxcywh"),
            BOX_VARIANCES,
        )
        offsets.append(F.pad(towards, (0, 0, 0, len(negative))))
    return SampledRegions(*(torch.cat(parts) for parts in (boxes, ids, labels, objects, offsets)))


def class_loss(logits: Tensor, sampled: SampledRegions) -> Tensor:
    """Return the cross-entropy of logits [M, 1 + C] float32, background first.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, section 2.3.

    """
    total = F.cross_entropy(logits, sampled.labels, reduction="sum")
    return total / max(1, len(sampled.labels))


def box_loss(offsets: Tensor, sampled: SampledRegions) -> Tensor:
    """Return the smooth L1 loss of the offsets [M, 4 C] float32 of each region's own class.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, section 2.3, equation 1.

    """
    rows = torch.nonzero(sampled.labels > 0).flatten()
    found = offsets.view(len(offsets), -1, 4)[rows, sampled.labels[rows] - 1]
    wanted = sampled.offsets[rows]
    total = F.smooth_l1_loss(found, wanted, beta=SMOOTH_L1_BETA, reduction="sum")
    return total / max(1, len(sampled.labels))


def mask_loss(
    logits: Tensor, sampled: SampledRegions, masks: Sequence[Tensor], kind: MaskLoss = "bce"
) -> Tensor:
    """Return the loss of the masks of each region's own class.

    Args:
        logits: [M, C, h, w] float32.
        sampled: the M regions, each with an object.
        masks: (K, H, W) bool of each image over the whole input.
        kind: the paper's binary cross-entropy, `edgecv.models.losses.dice_loss`, or their sum.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 3; targets are cut out as torchvision does.

    """
    if len(logits) == 0:
        return logits.sum()
    wanted = torch.empty_like(logits[:, 0])
    for image, whole in enumerate(masks):
        here = torch.nonzero(sampled.batch_ids == image).flatten()
        rois = torch.cat(
            [sampled.objects[here, None].to(logits.dtype), sampled.boxes_xyxy[here]], dim=1
        )
        cut = roi_align(whole[:, None].to(logits.dtype), rois, wanted.shape[1:])
        wanted[here] = cut[:, 0]
    own = logits[torch.arange(len(logits), device=logits.device), sampled.labels - 1]
    loss = logits.new_zeros(())
    if kind != "dice":
        loss = loss + F.binary_cross_entropy_with_logits(own, wanted)
    if kind != "bce":
        loss = loss + dice_loss(own, wanted)
    return loss
