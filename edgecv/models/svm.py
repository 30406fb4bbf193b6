"""Linear support vector machines on the features of regions, one for each class."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torchvision.ops import box_iou

from edgecv.data.targets import Target
from edgecv.models.roi_heads import SampledRegions

_POSITIVE_FROM, _NEGATIVE_BELOW = 0.7, 0.3
_NEGATIVES_PER_POSITIVE = 3


def margin_labels(sampled: SampledRegions, targets: Sequence[Target], num_classes: int) -> Tensor:
    """Return for each region and class 1 (of the class), -1 (not of it) or 0 (teaches nothing).

    A region is of a class if it overlaps an object of it by an IoU of 0.7 or more, and not of it
    if it overlaps each by less than 0.3.

    Args:
        sampled: M regions.
        targets: the objects of each image.
        num_classes: C.

    Returns:
        [M, C] float32.

    Source:
        Girshick et al., "R-CNN", CVPR 2014, section 2.3 and appendix B, where only the objects' own
        boxes are positive; a sample of a batch holds few of these.

    """
    overlap = sampled.boxes_xyxy.new_zeros(len(sampled.boxes_xyxy), num_classes)
    for image, target in enumerate(targets):
        here = torch.nonzero(sampled.batch_ids == image).flatten()
        iou = box_iou(sampled.boxes_xyxy[here], target.boxes_xyxy)
        for class_id in set(target.class_ids.tolist()):
            own = iou[:, target.class_ids == class_id]
            overlap[here, class_id] = own.max(dim=1).values
    return (overlap >= _POSITIVE_FROM).float() - (overlap < _NEGATIVE_BELOW).float()


def margin_loss(margins: Tensor, sampled: SampledRegions, targets: Sequence[Target]) -> Tensor:
    """Return the squared hinge loss of one-vs-rest classifiers, averaged over the classes.

    Of each class the positives and the hardest negatives count, three for each positive and at
    least three; either side is averaged by itself, so that the few positives weigh as much. The
    optimiser's weight decay is the machines' regulariser.

    Args:
        margins: [M, C] float32.
        sampled: the M regions.
        targets: the objects of each image.

    Source:
        Girshick et al., "R-CNN", CVPR 2014, section 2.3, hard negative mining; squared hinge: Fan
        et al., "LIBLINEAR", JMLR 2008, L2-loss SVM.

    """
    labels = margin_labels(sampled, targets, margins.shape[1])
    hinge = F.relu(1 - labels * margins).square()
    terms = []
    for found, label in zip(hinge.T, labels.T, strict=True):
        positive, negative = found[label > 0], found[label < 0]
        most = _NEGATIVES_PER_POSITIVE * max(1, len(positive))
        hardest = negative.topk(min(most, len(negative))).values
        terms += [part.sum() / max(1, len(part)) for part in (positive, hardest)]
    return torch.stack(terms).sum() / margins.shape[1]


def margin_scores(margins: Tensor) -> Tensor:
    """Return (1 + tanh(margin)) / 2, in [0, 1] and in the order of the margins.

    The squared hinge loss is least where the margin is 2 p - 1 for a probability p (Zhang, Annals
    of Statistics 2004), so (1 + margin) / 2 estimates it. This follows that line around the
    boundary and never ties where it would be cut off.
    """
    return 0.5 + 0.5 * margins.tanh()
