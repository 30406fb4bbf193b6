"""Losses of boxes and masks against their definitions, one by one in Python's floats."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgecv.models.losses import (  # noqa: E402
    AnchorBoxLoss,
    OverlapLoss,
    anchor_box_loss,
    dice_loss,
    overlap_loss,
)
from edgecv.models.matching import encode_offsets  # noqa: E402

Box = tuple[float, float, float, float]
KINDS: tuple[OverlapLoss, ...] = ("giou", "diou", "ciou")
VARIANCES = (0.1, 0.2)
LARGE = 30.0  # a logit whose probability is 1 in float32


def by_definition(kind: str, first: Box, second: Box) -> float:
    overlap = 1.0
    around, distance = [], 0.0
    for axis in (0, 1):
        (a, b), (c, d) = (box[axis::2] for box in (first, second))
        overlap *= max(0.0, min(b, d) - max(a, c))
        around.append(max(b, d) - min(a, c))
        distance += ((a + b) / 2 - (c + d) / 2) ** 2
    sides = [(box[2] - box[0], box[3] - box[1]) for box in (first, second)]
    union = sum(w * h for w, h in sides) - overlap
    loss = 1 - overlap / union
    if kind == "giou":
        hull = around[0] * around[1]
        return loss + (hull - union) / hull
    loss += distance / (around[0] ** 2 + around[1] ** 2)
    if kind == "ciou":
        angles = [math.atan(w / h) for w, h in sides]
        v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
        loss += v * v / (1 - overlap / union + v) if v else 0.0
    return loss


def boxes() -> st.SearchStrategy[Box]:
    place, side = st.floats(0, 500, width=32), st.floats(2, 300, width=32)
    return st.builds(lambda x, y, w, h: (x, y, x + w, y + h), place, place, side, side)


@given(boxes(), boxes())
def test_overlap_losses_are_their_definitions(first: Box, second: Box) -> None:
    pair = [torch.tensor([box], dtype=torch.float64) for box in (first, second)]
    for kind in KINDS:
        # torchvision adds 1e-7 to each divisor, of which the least is a share of 1 - IoU.
        expected = by_definition(kind, first, second)
        assert overlap_loss(kind, *pair).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "boxes",
    [[0.0, 0, 10, 10], [20.0, 20, 30, 30], [-5.0, 0, 500, 1], [7.0, 7, 7, 7]],
    ids=["equal", "apart", "long", "point"],
)
def test_gradients_are_finite_and_lead_to_the_object(kind: OverlapLoss, boxes: list[float]) -> None:
    found = torch.tensor([boxes], requires_grad=True)
    wanted = torch.tensor([[0.0, 0, 10, 10]])
    loss = overlap_loss(kind, found, wanted)
    loss.sum().backward()
    assert found.grad is not None
    assert found.grad.isfinite().all()
    if boxes[0] == 20:
        with torch.no_grad():
            nearer = overlap_loss(kind, found - found.grad, wanted)
        assert nearer.item() < loss.item()


def rows(seed: int, count: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Offsets, anchors and boxes, on both branches of smooth L1."""
    generator = torch.Generator().manual_seed(seed)
    centres, sides = torch.rand(2, count, 2, generator=generator)
    anchors = torch.cat([100 * centres, 10 + 50 * sides], dim=1)
    shift = anchors[:, :2] + 5 * torch.randn(count, 2, generator=generator)
    half = anchors[:, 2:] * (0.5 + 0.3 * torch.rand(count, 2, generator=generator)) / 2
    offsets = 2 * torch.randn(count, 4, generator=generator)
    return offsets, anchors, torch.cat([shift - half, shift + half], dim=1)


@pytest.mark.parametrize("beta", [1.0, 1 / 9])
def test_smooth_l1_is_that_of_the_offsets(beta: float) -> None:
    offsets, anchors, wanted = rows(0)
    expected = 0.0
    for found, (cx, cy, w, h), (x1, y1, x2, y2) in zip(
        offsets.tolist(), anchors.tolist(), wanted.tolist(), strict=True
    ):
        targets = (
            ((x1 + x2) / 2 - cx) / w / 0.1,
            ((y1 + y2) / 2 - cy) / h / 0.1,
            math.log((x2 - x1) / w) / 0.2,
            math.log((y2 - y1) / h) / 0.2,
        )
        for value, target in zip(found, targets, strict=True):
            gap = abs(value - target)
            expected += gap**2 / 2 / beta if gap < beta else gap - beta / 2
    loss = anchor_box_loss("smooth-l1", offsets, anchors, wanted, variances=VARIANCES, beta=beta)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_other_losses_are_those_of_the_decoded_boxes(kind: OverlapLoss) -> None:
    offsets, anchors, wanted = rows(1)
    expected = 0.0
    for (dx, dy, dw, dh), (cx, cy, w, h), target in zip(
        offsets.tolist(), anchors.tolist(), wanted.tolist(), strict=True
    ):
        x, y = cx + dx * 0.1 * w, cy + dy * 0.1 * h
        half_w, half_h = w * math.exp(dw * 0.2) / 2, h * math.exp(dh * 0.2) / 2
        box = (x - half_w, y - half_h, x + half_w, y + half_h)
        expected += by_definition(kind, box, tuple(target))
    loss = anchor_box_loss(kind, offsets, anchors, wanted, variances=VARIANCES)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["smooth-l1", *KINDS])
def test_right_offsets_have_no_loss_and_no_rows_neither(kind: AnchorBoxLoss) -> None:
    _, anchors, wanted = rows(2)
    offsets = encode_offsets(wanted, anchors, VARIANCES)
    loss = anchor_box_loss(kind, offsets, anchors, wanted, variances=VARIANCES)
    assert loss.item() == pytest.approx(0.0, abs=1e-3)
    empty = torch.zeros(0, 4, requires_grad=True)
    none = anchor_box_loss(kind, empty, anchors[:0], wanted[:0], variances=VARIANCES)
    assert none.item() == 0.0
    none.backward()


def test_dice_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    logits, wanted = rng.normal(0, 2, (3, 5, 7)), rng.random((3, 5, 7))
    losses = []
    for mask, target in zip(logits, wanted, strict=True):
        overlap = areas = 0.0
        for logit, goal in zip(mask.flat, target.flat, strict=True):
            found = 1 / (1 + np.exp(-logit))
            overlap += found * goal
            areas += found**2 + goal**2
        losses.append(1 - (2 * overlap + 1) / (areas + 1))
    ours = dice_loss(torch.tensor(logits), torch.tensor(wanted))
    torch.testing.assert_close(ours, torch.tensor(np.mean(losses)))


def test_dice_of_the_same_is_0_and_of_others_nearly_1() -> None:
    wanted = torch.zeros(1, 8, 8)
    wanted[:, :4] = 1
    same = dice_loss((2 * wanted - 1) * LARGE, wanted)
    torch.testing.assert_close(same, torch.tensor(0.0), atol=1e-6, rtol=0)
    other = dice_loss((1 - 2 * wanted) * LARGE, wanted)
    torch.testing.assert_close(other, torch.tensor(1 - 1 / 65))


def test_dice_does_not_shrink_with_the_object() -> None:
    """What is half covered costs the same at any size, where cross-entropy is a mean of pixels."""
    small, large = torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)
    small[:, :8, :8], large[:, :24, :24] = 1, 1
    halves = small.clone(), large.clone()
    halves[0][:, :4], halves[1][:, :12] = 0, 0
    costs = [
        dice_loss((2 * half - 1) * LARGE, whole).item()
        for half, whole in zip(halves, (small, large), strict=True)
    ]
    assert costs == pytest.approx([1 / 3, 1 / 3], abs=0.01)


def test_an_empty_mask_is_learnt() -> None:
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    dice_loss(logits, torch.zeros(1, 4, 4)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad > 0).all()
