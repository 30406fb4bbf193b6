"""A region proposal network: where in the image there may be an object, of whatever class."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torchvision.ops import box_convert

from edgecv.data.targets import Target
from edgecv.models.matching import encode_offsets, match_regions, sample_matches
from edgecv.models.operators import suppress
from edgecv.models.regions import (
    ASPECT_RATIOS,
    decode_regions,
    region_anchors,
    scores_of_proper,
)

_VARIANCES = (1.0, 1.0)
_IOU_THRESHOLD = 0.7  # proposals that overlap a better one by more are dropped
_POSITIVE_FROM, _NEGATIVE_BELOW = 0.7, 0.3
_POSITIVE_FRACTION = 0.5
_LEAST_SIDE = 1e-3

# Where smooth L1 turns from quadratic to linear, as in Detectron: sigma 3.
SMOOTH_L1_BETA = 1 / 9

Level = tuple[Tensor, Tensor]


class RegionProposals(nn.Module):
    """Anchors on every level of a pyramid, each with an objectness and offsets.

    Source:
        Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1; on a pyramid: Lin et al., "Feature
        Pyramid Networks", CVPR 2017, section 4.1. Results are those of torchvision's
        `RegionProposalNetwork` with the same weights.

    """

    def __init__(
        self,
        width: int,
        strides: Sequence[int],
        size_hw: tuple[int, int],
        *,
        anchor_scale: float,
        num_anchor_sizes: int = 1,
        num_candidates: int,
        num_proposals: int,
        num_sampled: int,
    ) -> None:
        """Build with random weights.

        Args:
            width: channels of the maps.
            strides: input pixels per cell of each map.
            size_hw: height and width of the input in pixels.
            anchor_scale: side of the smallest square anchors in strides.
            num_anchor_sizes: of each shape of anchor, each twice the one before.
            num_candidates: the best anchors of each level that are decoded and suppressed.
            num_proposals: rows that leave the network an image.
            num_sampled: anchors an image that the loss looks at.

        """
        super().__init__()
        self.size_hw = size_hw
        self.num_candidates = num_candidates
        self.num_proposals = num_proposals
        self.num_sampled = num_sampled
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        num_anchors = num_anchor_sizes * len(ASPECT_RATIOS)  # of a cell
        self.objectness = nn.Conv2d(width, num_anchors, 1)
        self.offsets = nn.Conv2d(width, 4 * num_anchors, 1)
        for layer in (self.conv, self.objectness, self.offsets):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # each has a bias
        levels = region_anchors(strides, size_hw, scale=anchor_scale, num_sizes=num_anchor_sizes)
        self._rows_of_level = [len(anchors) for anchors in levels]
        self.register_buffer("anchors", torch.cat(levels), persistent=False)

    anchors: Tensor

    def forward(self, maps: Sequence[Tensor]) -> list[Level]:
        """Return objectness logits [B, n] and offsets [B, n, 4] of each level's anchors."""
        levels = []
        for x in maps:
            mixed = F.relu(self.conv(x))
            # Channels are shape by shape, rows are cell by cell.
            objectness = self.objectness(mixed).permute(0, 2, 3, 1).flatten(1)
            offsets = self.offsets(mixed).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4)
            levels.append((objectness.float(), offsets.float()))
        return levels

    @torch.no_grad()
    def propose(self, levels: Sequence[Level]) -> tuple[Tensor, Tensor]:
        """Return the best regions of each image, without gradient.

        Args:
            levels: what `forward` returned.

        Returns:
            num_proposals [B] int32 and boxes [B, `num_proposals`, 4] xyxy in input pixels, best
            first; rows past the number are 0.

        """
        boxes, scores = [], []
        num_levels = len(levels)
        all_anchors = torch.split(self.anchors, self._rows_of_level)
        for level, ((objectness, offsets), anchors) in enumerate(
            zip(levels, all_anchors, strict=True)
        ):
            best, rows = objectness.topk(min(self.num_candidates, len(anchors)), dim=1)
            chosen = offsets.gather(1, rows[..., None].expand(-1, -1, 4))
            found = decode_regions(chosen, anchors[rows], _VARIANCES, self.size_hw)
            # In the order of the logits, in (0, 1) as suppression wants it. A sigmoid, which would
            # do too, rounds to 1 above 17: sure proposals would tie and their order hang on noise.
            score = scores_of_proper(0.5 + 0.5 * F.softsign(best), found, least_side=_LEAST_SIDE)
            boxes.append(found)
            # A class of its own for each level: levels do not suppress each other.
            scores.append(F.pad(score[..., None], (level, num_levels - 1 - level)))
        counts, kept, _, _ = suppress(
            torch.cat(boxes, dim=1),
            torch.cat(scores, dim=1),
            0.0,
            _IOU_THRESHOLD,
            max_detections=self.num_proposals,
        )
        return counts, kept

    def losses(self, levels: Sequence[Level], targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the terms `objectness` and `region` over a sample of anchors.

        Args:
            levels: what `forward` returned.
            targets: the objects of each image.

        Source:
            Ren et al. 2015, section 3.1.2, equation 1.

        """
        objectness = torch.cat([level[0] for level in levels], dim=1)
        offsets = torch.cat([level[1] for level in levels], dim=1)
        anchors_cxcywh = box_convert(self.anchors, "xyxy", "cxcywh")
        logits, labels, found, wanted = [], [], [], []
        for image, target in enumerate(targets):
            matched = match_regions(
                self.anchors,
                target.boxes_xyxy,
                positive_from=_POSITIVE_FROM,
                negative_below=_NEGATIVE_BELOW,
                keep_best=True,
            )
            positive, negative = sample_matches(
                matched, count=self.num_sampled, positive_fraction=_POSITIVE_FRACTION
            )
            rows = torch.cat([positive, negative])
            logits.append(objectness[image, rows])
            labels.append((matched[rows] >= 0).float())
            found.append(offsets[image, positive])
            wanted.append(
                encode_offsets(
                    target.boxes_xyxy[matched[positive]], anchors_cxcywh[positive], _VARIANCES
                )
            )
        all_logits = torch.cat(logits)
        box_loss = F.smooth_l1_loss(
            torch.cat(found), torch.cat(wanted), beta=SMOOTH_L1_BETA, reduction="sum"
        )
        return {
            "objectness": F.binary_cross_entropy_with_logits(all_logits, torch.cat(labels)),
            "region": box_loss / len(all_logits),
        }
