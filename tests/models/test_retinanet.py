"""RetinaNet against torchvision's with the same weights, and against the runtime's decoding."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("torchvision.models.detection.retinanet")

from torch import nn  # noqa: E402
from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402

from edgecv.anchors import anchor_boxes  # noqa: E402
from edgecv.data.targets import Target  # noqa: E402
from edgecv.kernels import decode_ssd  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.models.operators import suppress  # noqa: E402
from edgecv.models.retinanet import STRIDES, RetinaNet, retinanet_anchor_layers  # noqa: E402

NUM_CLASSES = 3
SIZES_HW = [(96, 128), (128, 96)]


def built(size_hw: tuple[int, int], **options: str) -> RetinaNet:
    torch.manual_seed(0)
    model = build_model("retinanet", NUM_CLASSES, size_hw, options=options)
    assert isinstance(model, RetinaNet)
    with torch.no_grad():  # so that anchors differ, and some are sure
        model.logit_head[-1].weight.mul_(4)
        model.logit_head[-1].bias.add_(2)
        model.offset_head[-1].weight.mul_(3)
    return model.eval()


class Maps(nn.Module):
    """The pyramid of our model as torchvision takes one."""

    out_channels = 256

    def __init__(self, model: RetinaNet) -> None:
        super().__init__()
        self.trunk, self.neck = model.trunk, model.neck

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {str(level): x for level, x in enumerate(self.neck(self.trunk(images)))}


class Anchors(AnchorGenerator):
    """The anchors of our model as torchvision takes them."""

    def __init__(self, model: RetinaNet) -> None:
        super().__init__()
        centre, half = model.anchors[:, :2], model.anchors[:, 2:] / 2
        self.anchors_xyxy = torch.cat([centre - half, centre + half], dim=1)

    def forward(self, images: Any, _maps: Any) -> list[torch.Tensor]:
        return [self.anchors_xyxy] * len(images.image_sizes)


def torchvisions(model: RetinaNet, size_hw: tuple[int, int]) -> Any:
    peer = theirs.RetinaNet(
        Maps(model),
        NUM_CLASSES,
        min_size=min(size_hw),
        max_size=max(size_hw),
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        anchor_generator=Anchors(model),
        head=theirs.RetinaNetHead(256, 9, NUM_CLASSES, norm_layer=partial(nn.GroupNorm, 32)),
        topk_candidates=100_000,
        detections_per_img=100,
    )
    for ours, head, last in (
        (model.logit_head, peer.head.classification_head, "cls_logits"),
        (model.offset_head, peer.head.regression_head, "bbox_reg"),
    ):
        head.conv.load_state_dict(ours[:-1].state_dict())
        getattr(head, last).load_state_dict(ours[-1].state_dict())
    return peer.eval()


def images(size_hw: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_detections_are_torchvisions(size_hw: tuple[int, int]) -> None:
    model = built(size_hw)
    with torch.inference_mode():
        expected = torchvisions(model, size_hw)(list(images(size_hw)))
        boxes, scores = model.decoded(model(images(size_hw)))
        # torchvision cuts boxes at the edges of the input before it suppresses.
        edge = torch.tensor([size_hw[1], size_hw[0]] * 2)
        boxes = boxes.clamp(min=0).minimum(edge)
        thresholds = torch.tensor(0.05), torch.tensor(0.5)
        counts, boxes, scores, classes = suppress(boxes, scores, *thresholds, max_detections=100)
    for image, wanted in enumerate(expected):
        count = int(counts[image])
        assert count == len(wanted["scores"]) > 20
        torch.testing.assert_close(boxes[image, :count], wanted["boxes"], rtol=0, atol=1e-3)
        torch.testing.assert_close(scores[image, :count], wanted["scores"], rtol=0, atol=1e-5)
        assert torch.equal(classes[image, :count], wanted["labels"].int())


def targets() -> list[Target]:
    """Objects that some anchors overlap well, some half and one hardly; then none."""
    boxes = torch.tensor([[10.0, 10, 60, 50], [30, 20, 90, 85], [40, 40, 44, 46]])
    return [
        Target(boxes, torch.tensor([2, 0, 1])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]


@pytest.mark.parametrize("box_loss", ["smooth-l1", "giou", "diou", "ciou"])
def test_losses_are_torchvisions(box_loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(SIZES_HW[0], box_loss=box_loss)
    peer = torchvisions(model, SIZES_HW[0])
    peer.head.regression_head._loss_type = box_loss.replace("-", "_")
    if box_loss == "smooth-l1":
        with_beta = partial(theirs._box_loss, cnf={"beta": 1 / 9})
        monkeypatch.setattr(theirs, "_box_loss", with_beta)
    wanted = [{"boxes": target.boxes_xyxy, "labels": target.class_ids} for target in targets()]
    peer.training = True  # its parts stay in evaluation
    expected = peer(list(images(SIZES_HW[0])), wanted)
    found = model.losses(images(SIZES_HW[0]), targets())
    assert found.parts.keys() == {"class", "box"}
    assert expected["bbox_regression"] > 0.01
    torch.testing.assert_close(found.parts["class"], expected["classification"])
    torch.testing.assert_close(found.parts["box"], expected["bbox_regression"])
    torch.testing.assert_close(found.total, sum(expected.values()))


def test_anchors_are_those_of_the_paper() -> None:
    layers = retinanet_anchor_layers((*STRIDES, 64, 128), (800, 640))
    assert [layer.grid_hw for layer in layers] == [
        (100, 80), (50, 40), (25, 20), (13, 10), (7, 5),
    ]  # fmt: skip
    for level, layer in enumerate(layers):
        shapes = np.array(layer.shapes_wh) * (640, 800)
        areas = (2.0 ** (5 + level) * 2 ** (np.arange(3) / 3)) ** 2
        np.testing.assert_allclose(shapes.prod(axis=1).reshape(3, 3), areas[:, None].repeat(3, 1))
        ratios = np.broadcast_to([0.5, 1, 2], (3, 3))
        np.testing.assert_allclose((shapes[:, 0] / shapes[:, 1]).reshape(3, 3), ratios)


@pytest.mark.parametrize("size_hw", [*SIZES_HW, (70, 100)])
def test_the_runtime_decodes_the_same(size_hw: tuple[int, int]) -> None:
    model = built(size_hw)
    with torch.inference_mode():
        offsets, logits = model(images(size_hw)[:1])
        boxes, scores = model.decoded((offsets, logits))
    assert offsets.shape == (1, len(model.anchors), 4)
    assert logits.shape == (1, len(model.anchors), NUM_CLASSES)
    spec = model.output_spec()
    found = decode_ssd(
        offsets[0].numpy(),
        logits[0].numpy(),
        anchor_boxes(spec.anchors, size_hw),
        variances=spec.variances,
        activation=spec.activation,
        score_threshold=0.3,
        iou_threshold=1.0,
        max_detections=10_000,
    )
    anchor, class_id = torch.nonzero(scores[0] > 0.3, as_tuple=True)
    order = scores[0, anchor, class_id].argsort(descending=True, stable=True)
    assert len(found) == len(order) > 20
    np.testing.assert_allclose(found.scores, scores[0, anchor, class_id][order], atol=1e-6)
    same = np.abs(np.diff(found.scores)) > 1e-6  # neighbours that rounding cannot have swapped
    sure = np.append(same, True) & np.insert(same, 0, True)
    np.testing.assert_array_equal(found.class_ids[sure], class_id[order].numpy()[sure])
    np.testing.assert_allclose(found.boxes_xyxy[sure], boxes[0, anchor][order][sure], atol=1e-3)


def test_untrained_anchors_are_quiet() -> None:
    model = build_model("retinanet", NUM_CLASSES, (64, 64)).eval()
    with torch.inference_mode():
        _, scores = model.decoded(model(torch.rand(1, 3, 64, 64)))
    assert scores.mean().item() == pytest.approx(0.01, rel=0.5)


def test_anchors_between_the_thresholds_teach_nothing() -> None:
    """Of one square anchor shifted along a box, IoU 0.45 has no gradient, 0.39 and 0.51 have."""
    model = built((64, 64))
    side = 20.0
    shifts = [side * (1 - iou) / (1 + iou) for iou in (0.99, 0.51, 0.45, 0.39)]
    model.anchors = torch.tensor([[32 + shift, 32, side, side] for shift in shifts])
    logits = torch.zeros(1, 4, NUM_CLASSES, requires_grad=True)
    offsets = torch.zeros(1, 4, 4, requires_grad=True)
    target = Target(torch.tensor([[22.0, 22, 42, 42]]), torch.tensor([1]))
    losses = model.head_losses((offsets, logits), [target])
    losses.total.backward()
    taught = logits.grad.abs().sum(dim=(0, 2)) > 0
    assert taught.tolist() == [True, True, False, True]
    assert (offsets.grad.abs().sum(dim=(0, 2)) > 0).tolist() == [True, True, False, False]
    # Each of the 3 anchors: sigma = 1/2, so (1/2)^2 log 2, weighed 0.25 or 0.75; two are matched.
    expected = 0.25 * math.log(2) * (2 * (0.25 + 2 * 0.75) + 3 * 0.75) / 2
    assert losses.parts["class"].item() == pytest.approx(expected)


def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    model = build_model("retinanet", NUM_CLASSES, (64, 64), backbone="mobilenet_v3_small").train()
    boxes = torch.tensor([[10.0, 10, 60, 50], [20, 15, 50, 60]])
    target = Target(boxes, torch.tensor([2, 0]))
    batch = torch.rand(2, 3, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        losses = model.losses(batch, [target, target])
        optimizer.zero_grad()
        losses.total.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        totals.append(losses.total.item())
    assert totals[-1] < 0.8 * totals[0]
