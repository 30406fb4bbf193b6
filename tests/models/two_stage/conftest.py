"""Torchvision's two-stage detectors with random weights, and ours with the same weights."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torchvision.models import resnet18  # noqa: E402
from torchvision.models.detection import FasterRCNN, MaskRCNN  # noqa: E402
from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor  # noqa: E402
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead  # noqa: E402
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor  # noqa: E402
from torchvision.ops import MultiScaleRoIAlign  # noqa: E402

from edgecv.models import two_stage  # noqa: E402
from edgecv.models.backbone import Backbone  # noqa: E402

NUM_CLASSES = 3
EVERYTHING = 1_000_000  # more than there are: a sample without chance
SIZES = two_stage.TwoStageSizes(
    hidden=64,
    num_candidates=200,
    num_proposals=100,
    num_sampled_anchors=EVERYTHING,
    num_sampled_regions=EVERYTHING,
)


class Pair(NamedTuple):
    theirs: Any
    ours: Any


@pytest.fixture(scope="session")
def pair_of() -> Callable[..., Pair]:
    """Build a pair with the same weights, in evaluation, once for each size."""

    @cache
    def build(size_hw: tuple[int, int], *, with_masks: bool) -> Pair:
        theirs = torchvision_model(size_hw, with_masks=with_masks)
        return Pair(theirs, twin_of(theirs, size_hw, with_masks=with_masks))

    return build


@pytest.fixture(scope="session")
def noise() -> Callable[[int, tuple[int, int]], Tensor]:
    """Make images [batch, 3, H, W]."""
    return images


def torchvision_model(size_hw: tuple[int, int], *, with_masks: bool) -> nn.Module:
    """A model over resnet18 that neither resizes nor normalises its input."""
    torch.manual_seed(0)
    trunk = _resnet_fpn_extractor(resnet18(weights=None, norm_layer=nn.BatchNorm2d), 5)
    options: dict[str, Any] = {
        "min_size": min(size_hw),
        "max_size": max(size_hw),
        "image_mean": [0.0] * 3,
        "image_std": [1.0] * 3,
        "rpn_anchor_generator": AnchorGenerator(
            tuple((8 * stride,) for stride in (4, 8, 16, 32, 64)), ((0.5, 1.0, 2.0),) * 5
        ),
        "rpn_pre_nms_top_n_test": SIZES.num_candidates,
        "rpn_post_nms_top_n_test": SIZES.num_proposals,
        "rpn_pre_nms_top_n_train": SIZES.num_candidates,
        "rpn_post_nms_top_n_train": SIZES.num_proposals,
        "rpn_batch_size_per_image": EVERYTHING,
        "box_batch_size_per_image": EVERYTHING,
        "box_head": TwoMLPHead(256 * 7 * 7, SIZES.hidden),
        "box_predictor": FastRCNNPredictor(SIZES.hidden, 1 + NUM_CLASSES),
        "box_score_thresh": 0.05,
        "box_nms_thresh": 0.5,
    }
    if with_masks:
        options |= {
            "mask_head": MaskRCNNHeads(256, (256,) * 4, 1),
            "mask_predictor": MaskRCNNPredictor(256, 256, 1 + NUM_CLASSES),
            "mask_roi_pool": MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2),
        }
    model: nn.Module = (MaskRCNN if with_masks else FasterRCNN)(trunk, None, **options)
    with torch.no_grad():  # random weights spread out: scores and offsets that differ
        for name, parameter in model.named_parameters():
            if "predictor" in name or "rpn.head" in name:
                parameter.mul_(20 if "cls_score" in name else 1 if "mask" in name else 4)
    # Statistics of norms that are those of the images, or deep layers would hardly differ.
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model.backbone(images(2, size_hw))  # type: ignore[operator]
    return model.eval()


def images(batch: int, size_hw: tuple[int, int]) -> Tensor:
    """Blobs of noise at several scales, so that no two places look alike."""
    generator = torch.Generator().manual_seed(batch)
    parts = [
        nn.functional.interpolate(
            torch.randn(batch, 3, size_hw[0] // side, size_hw[1] // side, generator=generator),
            size=size_hw,
            mode="bilinear",
        )
        for side in (1, 4, 16, 64)
    ]
    return torch.stack(parts).sum(dim=0)


def twin_of(
    model: nn.Module, size_hw: tuple[int, int], *, with_masks: bool
) -> two_stage.FasterRCNN:
    """Our model with the weights of torchvision's."""
    kind = two_stage.MaskRCNN if with_masks else two_stage.FasterRCNN
    ours = kind(Backbone("resnet18", SIZES.strides), NUM_CLASSES, size_hw, SIZES)
    renamed = {
        "backbone.body.": "trunk.trunk.",
        "backbone.fpn.": "neck.pyramid.",
        "rpn.head.conv.0.0.": "rpn.conv.",
        "rpn.head.cls_logits.": "rpn.objectness.",
        "rpn.head.bbox_pred.": "rpn.offsets.",
        "roi_heads.box_head.fc6.": "box_head.fc1.",
        "roi_heads.box_head.fc7.": "box_head.fc2.",
        "roi_heads.box_predictor.cls_score.": "box_head.logits.",
        "roi_heads.box_predictor.bbox_pred.": "box_head.offsets.",
        **{f"roi_heads.mask_head.{index}.0.": f"mask_head.convs.{index}." for index in range(4)},
        "roi_heads.mask_predictor.conv5_mask.": "mask_head.up.",
        "roi_heads.mask_predictor.mask_fcn_logits.": "mask_head.logits.",
    }
    state = {}
    for key, value in model.state_dict().items():
        old = next(prefix for prefix in renamed if key.startswith(prefix))
        # torchvision has offsets and masks of the background too, which nothing reads.
        skipped = {"box_head.offsets.": 4, "mask_head.logits.": 1}.get(renamed[old], 0)
        state[renamed[old] + key.removeprefix(old)] = value[skipped:] if skipped else value
    ours.load_state_dict(state)
    return ours.eval()
