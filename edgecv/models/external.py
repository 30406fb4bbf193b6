"""Detectors of regions that come with the image: Fast R-CNN and R-CNN.

Girshick, "Fast R-CNN", ICCV 2015, arXiv 1504.08083; Girshick et al., "Rich Feature Hierarchies for
Accurate Object Detection and Semantic Segmentation", CVPR 2014, arXiv 1311.2524 (its appendices are
those of the arXiv version). Written from the papers, of the parts of Faster R-CNN.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from edgecv.data.targets import Target
from edgecv.errors import DatasetError, InputError
from edgecv.models.backbone import Backbone
from edgecv.models.detector import ProposalDetector
from edgecv.models.network import Losses
from edgecv.models.region_detector import (
    ONE_MAP,
    Features,
    RegionDetector,
    RegionSizes,
    trunk_of,
)
from edgecv.models.region_reader import ContextReader, RoiOperator
from edgecv.models.registry import register_model
from edgecv.models.roi_heads import PooledBoxHead, SampledRegions
from edgecv.models.svm import margin_loss, margin_scores
from edgecv.spec import ProposalsSpec

Classifier = Literal["softmax", "svm"]

_CROP_STRIDE = 32  # of the trunk's last map, which a crop is averaged over


@register_model
def fast_rcnn(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    features: Features = "single",
    roi: RoiOperator = "pool",
    num_proposals: int = 300,
) -> "FastRCNN":
    """Build Fast R-CNN: the paper's max pooling on one map, or what Faster R-CNN does.

    Args:
        num_classes: C.
        size_hw: height and width of the input in pixels.
        backbone: see `edgecv.models.backbone.Backbone`; the paper's is `vgg16`.
        features: see `edgecv.models.region_detector.Features`.
        roi: see `edgecv.models.region_reader.RegionReader`.
        num_proposals: regions an image that an exported network looks at.

    """
    sizes = RegionSizes(num_proposals=_at_least_1("num_proposals", num_proposals))
    if features != "fpn":
        sizes = replace(sizes, strides=ONE_MAP)
    return FastRCNN(trunk_of(backbone, features, sizes), num_classes, size_hw, sizes, roi=roi)


@register_model
def rcnn(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    classifier: Classifier = "softmax",
    num_proposals: int = 100,
    crop: int = 112,
    context: int = 8,
) -> "RCNN":
    """Build R-CNN; every region passes the whole trunk, so that time grows with their number.

    Args:
        num_classes: C.
        size_hw: height and width of the input in pixels.
        backbone: see `edgecv.models.backbone.Backbone`.
        classifier: see `RCNN`.
        num_proposals: regions an image that an exported network looks at.
        crop: side in pixels that each region is warped to; the paper's is 227.
        context: pixels of the crop around the region on each side; the paper's are 16 of 227.

    """
    sizes = RegionSizes(
        strides=(1,),
        num_proposals=_at_least_1("num_proposals", num_proposals),
        num_sampled_regions=32,
    )
    trunk = Backbone(backbone, (_CROP_STRIDE,))
    return RCNN(
        trunk, num_classes, size_hw, sizes, classifier=classifier, crop=crop, context=context
    )


class ExternalRegionDetector(RegionDetector, ProposalDetector):
    """A detector of regions whose proposals are an input, see `ProposalDetector`."""

    def forward(self, images: Tensor, proposals_xyxy: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] and [B, R, 4] float32 to proposals, logits and offsets."""
        return self.heads(self.maps(images), proposals_xyxy)

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Run the network on a batch and return its loss, see `Detector.losses`.

        The parts are `class` and `box`. The whole image takes part as if it had been proposed, so
        that there is always something to look at.

        Raises:
            DatasetError: if the targets have no proposals.

        """
        height, width = self.size_hw
        whole = images.new_tensor([[0, 0, width, height]], dtype=torch.float32)
        proposals = [torch.cat([whole, _proposals_of(target)]) for target in targets]
        parts = self.region_losses(self.maps(images), proposals, targets)
        return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts)

    def proposals_spec(self) -> ProposalsSpec:
        """Return the second input."""
        return ProposalsSpec(count=self.sizes.num_proposals)


class FastRCNN(ExternalRegionDetector):
    """Faster R-CNN without its region proposal network.

    Different from the paper: two fully connected layers start from random weights rather than from
    those of VGG-16's, boxes are sampled as in Faster R-CNN, so that any background counts and not
    only that which overlaps an object a little.
    """

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        sizes: RegionSizes,
        *,
        roi: RoiOperator = "align",
    ) -> None:
        """Build with random weights, see `RegionDetector`."""
        super().__init__(trunk, num_classes, size_hw, sizes, roi=roi)
        self.box_head = self.new_box_head()


class RCNN(ExternalRegionDetector):
    """Each region is cut out with some context, warped to a square and classified by itself.

    `classifier`: `softmax` over the classes and the background, or `svm`, a linear one-vs-rest
    classifier of each class, whose margins become scores by `edgecv.models.svm.margin_scores`;
    `logits` are [B, R, C] then. The crop is bilinear and beyond the image it is the mean colour, as
    in the paper.

    Different from the paper: all is trained together, end to end, while there trunk, SVMs and box
    regression were three stages, the trunk always with softmax. So the SVMs have no fixed features
    to find the hardest negatives of the whole data set in, only those of the batch, see
    `edgecv.models.svm.margin_loss`; the regression reads what the classifier reads; and batch norms
    see the crops of a batch.
    """

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        sizes: RegionSizes,
        *,
        classifier: Classifier = "softmax",
        crop: int = 112,
        context: int = 8,
    ) -> None:
        """Build with random weights.

        Args:
            trunk: with one map.
            num_classes: C.
            size_hw: height and width of the input in pixels.
            sizes: of the parts; regions are read from the image, a map of stride 1.
            classifier: of a region's features.
            crop: side of the crop in pixels, at least 64.
            context: pixels of it on each side that show the region's surroundings.

        Raises:
            InputError: if the crop is too small, or is all context.

        """
        super().__init__(trunk, num_classes, size_hw, sizes)
        if crop < 2 * _CROP_STRIDE or not 0 <= 2 * context < crop:
            raise InputError(
                f"rcnn: `crop` must be at least {2 * _CROP_STRIDE} and `context` in [0, crop / 2), "
                f"got {crop} and {context}."
            )
        self.reader = ContextReader(
            sizes.strides, aligned=True, enlargement=crop / (crop - 2 * context)
        )
        self.classifier = classifier
        self._crop_hw = crop, crop
        self.box_head = self.new_box_head()

    def new_box_head(self) -> nn.Module:
        """Return a new head on the trunk's averaged features."""
        (channels,) = self.trunk.channels
        has_background = self.classifier == "softmax"
        return PooledBoxHead(channels, self.num_classes, has_background=has_background)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the images themselves, which regions are cut out of."""
        return [images]

    @property
    def bins_hw(self) -> tuple[int, int]:
        """Height and width of a crop."""
        return self._crop_hw

    def features(self, bins: Tensor) -> Tensor:
        """Run the trunk on every crop [..., 3, h, w] by itself."""
        (found,) = self.trunk(bins.flatten(0, -4))
        features: Tensor = found.view(*bins.shape[:-3], *found.shape[1:])
        return features

    def scores(self, logits: Tensor) -> Tensor:
        """Return the scores [..., C] in [0, 1] of the classes."""
        return margin_scores(logits) if self.classifier == "svm" else super().scores(logits)

    def class_loss(
        self, logits: Tensor, sampled: SampledRegions, targets: Sequence[Target]
    ) -> Tensor:
        """Return the term `class` of the logits of sampled regions."""
        if self.classifier == "svm":
            return margin_loss(logits, sampled, targets)
        return super().class_loss(logits, sampled, targets)


def _proposals_of(target: Target) -> Tensor:
    if target.proposals is None:
        raise DatasetError(
            "this model learns from regions that are proposed outside of it, and the images have "
            "none. Make them with `edgecv data propose` and name the file with `--proposals`, or "
            "choose `faster_rcnn`."
        )
    return target.proposals


def _at_least_1(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"`{name}` must be at least 1, got {value}.")
    return value
