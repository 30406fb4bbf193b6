"""Torchvision's two-stage detectors with random weights, and ours with the same weights."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torchvision.models import resnet18  # noqa: E402
from torchvision.models._utils import IntermediateLayerGetter  # noqa: E402
from torchvision.models.detection import FasterRCNN, MaskRCNN  # noqa: E402
from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor  # noqa: E402
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead  # noqa: E402
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor  # noqa: E402
from torchvision.ops import MultiScaleRoIAlign, roi_pool  # noqa: E402

from edgecv.models import two_stage  # noqa: E402
from edgecv.models.region_detector import Features, trunk_of  # noqa: E402
from edgecv.models.region_reader import RoiOperator  # noqa: E402

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
    """Build a pair with the same weights, in evaluation, once for each size and design."""

    @cache
    def build(
        size_hw: tuple[int, int],
        *,
        with_masks: bool,
        features: Features = "fpn",
        roi: RoiOperator = "align",
    ) -> Pair:
        design: Any = {"with_masks": with_masks, "features": features, "roi": roi}
        theirs = torchvision_model(size_hw, **design)
        return Pair(theirs, twin_of(theirs, size_hw, **design))

    return build


@pytest.fixture(scope="session")
def noise() -> Callable[[int, tuple[int, int]], Tensor]:
    """Make images [batch, 3, H, W]."""
    return images


class MultiScaleRoIPool(nn.Module):
    """Max pooling on the level that FPN's equation 1 names, box by box."""

    def __init__(self, names: list[str], bins: int) -> None:
        super().__init__()
        self.names, self.bins = names, bins

    def forward(
        self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        found = []
        for image, own in enumerate(boxes):
            for x1, y1, x2, y2 in own.detach().tolist():
                side = max(((x2 - x1) * (y2 - y1)) ** 0.5, 1e-9)
                level = math.floor(4 + math.log2(side / 224) + 1e-6)
                x = maps[self.names[min(max(level - 2, 0), len(self.names) - 1)]]
                roi = torch.tensor([[0, x1, y1, x2, y2]])
                scale = 2.0 ** round(math.log2(x.shape[2] / sizes[image][0]))
                found.append(roi_pool(x[image : image + 1], roi, self.bins, scale))
        return torch.cat(found)


def torchvision_model(
    size_hw: tuple[int, int], *, with_masks: bool, features: Features, roi: RoiOperator
) -> nn.Module:
    """A model over resnet18 that neither resizes nor normalises its input."""
    torch.manual_seed(0)
    whole = resnet18(weights=None, norm_layer=nn.BatchNorm2d)
    layer4 = whole.layer4
    names = ["0", "1", "2", "3"]
    sizes: tuple[tuple[int, ...], ...] = tuple((8 * stride,) for stride in (4, 8, 16, 32, 64))
    channels, seen, bins = 256, 256, 7
    trunk: Any
    if features == "fpn":
        trunk = _resnet_fpn_extractor(whole, 5)
    else:
        trunk = nn.Sequential(IntermediateLayerGetter(whole, {"layer3": "0"}))
        trunk.out_channels = channels
        names, sizes = ["0"], ((32, 64, 128, 256, 512),)
    if features == "c4":
        box_head: nn.Module = nn.Sequential(layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        seen, bins, hidden = 512, 14, 512
    else:
        box_head, hidden = TwoMLPHead(channels * 7 * 7, SIZES.hidden), SIZES.hidden

    def reader(bins: int) -> nn.Module:
        if roi == "pool":
            return MultiScaleRoIPool(names, bins)
        return MultiScaleRoIAlign(names, bins, 2)

    options: dict[str, Any] = {
        "min_size": min(size_hw),
        "max_size": max(size_hw),
        "image_mean": [0.0] * 3,
        "image_std": [1.0] * 3,
        "rpn_anchor_generator": AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        "rpn_pre_nms_top_n_test": SIZES.num_candidates,
        "rpn_post_nms_top_n_test": SIZES.num_proposals,
        "rpn_pre_nms_top_n_train": SIZES.num_candidates,
        "rpn_post_nms_top_n_train": SIZES.num_proposals,
        "rpn_batch_size_per_image": EVERYTHING,
        "box_batch_size_per_image": EVERYTHING,
        "box_head": box_head,
        "box_predictor": FastRCNNPredictor(hidden, 1 + NUM_CLASSES),
        "box_score_thresh": 0.05,
        "box_nms_thresh": 0.5,
    }
    if with_masks:
        behind = features == "c4"
        options |= {
            "mask_head": nn.Sequential(layer4) if behind else MaskRCNNHeads(256, (256,) * 4, 1),
            "mask_predictor": MaskRCNNPredictor(seen, 256, 1 + NUM_CLASSES),
        }
    model: Any = (MaskRCNN if with_masks else FasterRCNN)(trunk, None, **options)
    model.roi_heads.box_roi_pool = reader(bins)
    if with_masks:
        model.roi_heads.mask_roi_pool = reader(14)  # the constructor takes its own alone
    _spread(model, size_hw, layer4 if features == "c4" else None)
    evaluated: nn.Module = model.eval()
    return evaluated


def _spread(model: Any, size_hw: tuple[int, int], last: nn.Module | None) -> None:
    """Let the random weights give scores and offsets that differ."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "predictor" in name or "rpn.head" in name:
                parameter.mul_(20 if "cls_score" in name else 1 if "mask" in name else 4)
    # Statistics of norms that are those of the images, or deep layers would hardly differ.
    model.train()
    with torch.no_grad():
        for _ in range(20):
            maps = model.backbone(images(2, size_hw))
            if last is not None:
                last(next(iter(maps.values())))


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
    model: nn.Module,
    size_hw: tuple[int, int],
    *,
    with_masks: bool,
    features: Features,
    roi: RoiOperator,
) -> two_stage.FasterRCNN:
    """Our model with the weights of torchvision's."""
    kind = two_stage.MaskRCNN if with_masks else two_stage.FasterRCNN
    sizes = replace(SIZES.over(features), num_candidates=SIZES.num_candidates)
    trunk = trunk_of("resnet18", features, sizes)
    ours = kind(trunk, NUM_CLASSES, size_hw, sizes, roi=roi)
    renamed = {
        "backbone.body.": "trunk.trunk.",
        "backbone.0.": "trunk.trunk.",
        "backbone.fpn.": "neck.pyramid.",
        "rpn.head.conv.0.0.": "rpn.conv.",
        "rpn.head.cls_logits.": "rpn.objectness.",
        "rpn.head.bbox_pred.": "rpn.offsets.",
        "roi_heads.box_head.0.": "trunk.last.layer4.",
        "roi_heads.box_head.fc6.": "box_head.fc1.",
        "roi_heads.box_head.fc7.": "box_head.fc2.",
        "roi_heads.box_predictor.cls_score.": "box_head.logits.",
        "roi_heads.box_predictor.bbox_pred.": "box_head.offsets.",
        **{f"roi_heads.mask_head.{index}.0.": f"mask_head.convs.{index}." for index in range(4)},
        "roi_heads.mask_predictor.conv5_mask.": "mask_head.up.",
        "roi_heads.mask_predictor.mask_fcn_logits.": "mask_head.logits.",
    }
    if features == "c4":
        renamed = {"roi_heads.mask_head.0.": "trunk.last.layer4.", **renamed}
    state = {}
    for key, value in model.state_dict().items():
        old = next(prefix for prefix in renamed if key.startswith(prefix))
        # torchvision has offsets and masks of the background too, which nothing reads.
        skipped = {"box_head.offsets.": 4, "mask_head.logits.": 1}.get(renamed[old], 0)
        state[renamed[old] + key.removeprefix(old)] = value[skipped:] if skipped else value
    ours.load_state_dict(state)
    return ours.eval()
