"""Losses against their definitions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgecv.models.losses import dice_loss  # noqa: E402

LARGE = 30.0  # a logit whose probability is 1 in float32


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
