"""Faster R-CNN and Mask R-CNN against torchvision's with the same weights, and by themselves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torchvision.models.detection.roi_heads import paste_masks_in_image  # noqa: E402

from edgecv.data.targets import Target  # noqa: E402
from edgecv.errors import DatasetError, InputError  # noqa: E402
from edgecv.models import build_model, two_stage  # noqa: E402
from edgecv.models.backbone import Backbone  # noqa: E402
from edgecv.models.fused import FusedDetector  # noqa: E402
from edgecv.models.region_detector import Features, trunk_of  # noqa: E402
from edgecv.models.region_reader import RoiOperator  # noqa: E402
from edgecv.models.two_stage import (  # noqa: E402
    MaskRCNN,
    TwoStageSizes,
    faster_rcnn,
    faster_rcnn_lite,
    mask_rcnn,
)

# 160 is no multiple of 64: the coarsest anchors are not a stride apart.
SIZES_HW = [(128, 160), (192, 128)]

TINY = TwoStageSizes(
    strides=(8, 16, 32),
    width=32,
    hidden=64,
    anchor_scale=4,
    num_candidates=50,
    num_proposals=30,
    num_sampled_regions=32,
)


def detections_of(model: Any, images: Any, score: float, iou: float) -> Any:
    fused = FusedDetector(model, max_detections=100, class_agnostic=False)
    with torch.inference_mode():
        return fused(images, torch.tensor(score), torch.tensor(iou))


@pytest.mark.parametrize(
    ("size_hw", "design"),
    [
        (SIZES_HW[0], {"with_masks": False}),
        (SIZES_HW[1], {"with_masks": False}),
        (SIZES_HW[1], {"with_masks": True}),
        (SIZES_HW[1], {"with_masks": True, "roi": "pool"}),
        (SIZES_HW[0], {"with_masks": False, "features": "c4"}),
        (SIZES_HW[1], {"with_masks": True, "features": "c4"}),
        (SIZES_HW[1], {"with_masks": True, "features": "c4", "roi": "pool"}),
        (SIZES_HW[0], {"with_masks": False, "features": "single", "roi": "pool"}),
    ],
)
def test_detections_are_torchvisions(
    pair_of: Callable[..., Any], noise: Any, size_hw: tuple[int, int], design: dict[str, Any]
) -> None:
    pair = pair_of(size_hw, **design)
    images = noise(2, size_hw)
    with torch.inference_mode():
        expected = pair.theirs(list(images))
    counts, boxes, scores, classes, *masks = detections_of(pair.ours, images, 0.05, 0.5)
    assert min(counts) >= 5
    for image, wanted in enumerate(expected):
        count = int(counts[image])
        assert count == len(wanted["scores"])
        torch.testing.assert_close(boxes[image, :count], wanted["boxes"], rtol=0, atol=1e-3)
        torch.testing.assert_close(scores[image, :count], wanted["scores"], rtol=0, atol=1e-4)
        assert torch.equal(1 + classes[image, :count], wanted["labels"].int())
        for found in masks:
            pasted = paste_masks_in_image(found[image, :count, None], boxes[image, :count], size_hw)
            torch.testing.assert_close(pasted, wanted["masks"], rtol=0, atol=1e-3)


def objects(size_hw: tuple[int, int]) -> list[Target]:
    """A rectangle of class 2 and a smaller one of class 0; then an image without objects."""
    boxes = torch.tensor([[20.0, 30, 80, 90], [100, 20, 120, 60]])
    masks = torch.zeros(2, *size_hw, dtype=torch.bool)
    masks[0, 30:90, 20:80] = True
    masks[1, 20:60, 100:120] = True
    nothing = torch.zeros(0, *size_hw, dtype=torch.bool)
    return [
        Target(boxes, torch.tensor([2, 0]), masks),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), nothing),
    ]


@pytest.mark.parametrize(
    "design",
    [
        {"with_masks": False},
        {"with_masks": True},
        {"with_masks": True, "roi": "pool"},
        {"with_masks": True, "features": "c4"},
        {"with_masks": False, "features": "single", "roi": "pool"},
    ],
)
def test_losses_are_torchvisions(
    pair_of: Callable[..., Any], noise: Any, design: dict[str, Any]
) -> None:
    """With samples of everything, nothing is left to chance."""
    size_hw = SIZES_HW[1]
    pair, images, targets = pair_of(size_hw, **design), noise(2, size_hw), []
    for target in objects(size_hw):
        theirs = {"boxes": target.boxes_xyxy, "labels": 1 + target.class_ids}
        targets.append(theirs | {"masks": target.masks.to(torch.uint8)})  # type: ignore[union-attr]
    pair.theirs.rpn.train()  # the backbone's norms stay in evaluation
    pair.theirs.roi_heads.training = True
    pair.theirs.training = True
    try:
        expected = pair.theirs(list(images), targets)
    finally:
        pair.theirs.eval()
    found = pair.ours.losses(images, objects(size_hw))
    names = {
        "objectness": "loss_objectness",
        "region": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
        "mask": "loss_mask",
    }
    assert len(found.parts) == len(expected) == 4 + design["with_masks"]
    for name, value in found.parts.items():
        torch.testing.assert_close(value, expected[names[name]], rtol=1e-4, atol=1e-5)
        assert value > 0
    torch.testing.assert_close(found.total, sum(expected.values()))


@pytest.mark.parametrize("features", ["fpn", "c4", "single"])
@pytest.mark.parametrize("builder", [faster_rcnn, faster_rcnn_lite, mask_rcnn])
def test_shapes_are_fixed_when_built(builder: Any, features: Features) -> None:
    model = builder(2, (64, 96), "mobilenet_v3_small", features=features).eval()
    with torch.inference_mode():
        heads = model(torch.zeros(2, 3, 64, 96))
        boxes, scores = model.decoded(heads)
    assert len(heads) == len(model.head_names)
    assert [tuple(head.shape) for head in heads[:3]] == [(2, 300, 4), (2, 300, 3), (2, 300, 8)]
    assert boxes.shape == (2, 600, 4)
    assert scores.shape == (2, 600, 2)
    assert ((scores > 0).sum(dim=2) <= 1).all()
    assert model.output_spec().FORMAT == "fused"
    assert (model.output_spec().masks is None) == (model.task == "detect")


def test_a_row_that_no_proposal_fills_has_no_score() -> None:
    torch.manual_seed(0)
    model = build_model("faster_rcnn_lite", 2, (64, 64)).eval()  # 300 rows, few are apart
    with torch.inference_mode():
        proposals, *heads = model(torch.zeros(1, 3, 64, 64))
        is_empty = (proposals[0, :, 2:] == proposals[0, :, :2]).all(dim=1)
        assert is_empty.any()
        assert not is_empty.all()
        _, scores = model.decoded((proposals, *heads))
    assert (scores[0].view(300, 2, 2).amax(dim=(1, 2)) > 0).tolist() == (~is_empty).tolist()


def test_only_the_best_boxes_are_suppressed(pair_of: Callable[..., Any], noise: Any) -> None:
    """Of 300 pairs of region and class the best 150 give the same best detections."""
    size_hw = SIZES_HW[1]
    model = pair_of(size_hw, with_masks=False).ours
    images = noise(2, size_hw)
    full = detections_of(model, images, 0.05, 0.5)
    sizes = model.sizes
    try:
        model.sizes = TwoStageSizes(**{**vars(sizes), "num_boxes": 150})
        with torch.inference_mode():
            boxes, scores = model.decoded(model(images))
        few = detections_of(model, images, 0.05, 0.5)
    finally:
        model.sizes = sizes
    assert boxes.shape == (2, 150, 4)
    assert scores.shape == (2, 150, 3)
    for found, wanted in zip(few, full, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that a training of a hundred steps always ends alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    ("features", "roi", "num_sampled"),
    [("fpn", "align", 32), pytest.param("c4", "pool", 12, marks=pytest.mark.slow)],
)
def test_learns_a_few_images_by_heart(
    noise: Any, features: Features, roi: RoiOperator, num_sampled: int
) -> None:
    size_hw = (96, 128)
    torch.manual_seed(0)
    sizes = replace(TINY.over(features), num_sampled_regions=num_sampled)
    trunk = trunk_of("mobilenet_v3_small", features, sizes)
    model = MaskRCNN(trunk, 3, size_hw, sizes, roi=roi).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1  # this backbone's own needs hundreds of steps
    targets = objects(size_hw)
    images = 0.1 * noise(2, size_hw)
    images[0, 0, 30:90, 20:80] += 2
    images[0, 1, 20:60, 100:120] -= 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(100):
        losses = model.losses(images, targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    counts, boxes, _, classes, masks = detections_of(model.eval(), images, 0.5, 0.5)
    assert counts.tolist() == [2, 0]
    order = classes[0, :2].argsort(descending=True)
    assert classes[0, order].tolist() == [2, 0]
    torch.testing.assert_close(boxes[0, order], targets[0].boxes_xyxy, rtol=0, atol=6)
    pasted = paste_masks_in_image(masks[0, order][:, None], boxes[0, order], size_hw)[:, 0]
    covered, wanted = pasted > 0.5, targets[0].masks
    assert wanted is not None
    assert (covered & wanted).sum() / (covered | wanted).sum() > 0.8


def test_losses_stand_half_precision(noise: Any) -> None:
    torch.manual_seed(0)
    model = MaskRCNN(Backbone("mobilenet_v3_small", TINY.strides), 3, (96, 128), TINY).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(noise(2, (96, 128)), objects((96, 128)))
    losses.total.backward()
    assert all(value.dtype == torch.float32 for value in losses.parts.values())
    assert all(value.isfinite() for value in losses.parts.values())


@pytest.mark.parametrize("name", ["mask_rcnn", "mask_rcnn_lite"])
def test_the_loss_of_the_masks_is_chosen(name: str) -> None:
    size_hw = (64, 64)
    builder = getattr(two_stage, name)
    images, targets = torch.randn(2, 3, *size_hw), objects(size_hw)
    found = {}
    for kind in ("bce", "dice", "bce+dice"):
        torch.manual_seed(0)
        model = builder(3, size_hw, "mobilenet_v3_small", mask_loss=kind).train()
        found[kind] = model.losses(images, targets).parts["mask"].item()
    assert found["bce+dice"] == pytest.approx(found["bce"] + found["dice"])
    assert 0 < found["dice"] < 1
    assert found["dice"] != found["bce"]
    with pytest.raises(
        InputError, match=r"`mask_loss` must be one of bce, dice, bce\+dice, got 'l1'"
    ):
        builder(3, size_hw, "mobilenet_v3_small", mask_loss="l1")


def test_masks_are_needed_to_learn_masks() -> None:
    model = build_model("mask_rcnn", 2, (64, 64), backbone="mobilenet_v3_small").train()
    target = Target(torch.tensor([[5.0, 5, 40, 40]]), torch.tensor([1]))
    with pytest.raises(DatasetError, match="this data set has none"):
        model.losses(torch.randn(2, 3, 64, 64), [target, target])


@pytest.mark.parametrize("features", ["fpn", "c4"])
def test_every_parameter_learns_from_images_without_objects(features: Features) -> None:
    """So that several processes can share gradients, whatever a batch holds."""
    sizes = TINY.over(features)
    trunk = trunk_of("mobilenet_v3_small", features, sizes)
    model = MaskRCNN(trunk, 3, (64, 64), sizes).train()
    nothing = Target(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 64).bool()
    )
    model.losses(torch.randn(2, 3, 64, 64), [nothing, nothing]).total.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
