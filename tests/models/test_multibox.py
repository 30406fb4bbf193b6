"""The MultiBox loss against loops from the definition."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgecv.models.multibox import multibox_loss  # noqa: E402

Heads = tuple[Any, Any, Any]


def case(targets: list[list[int]], *, seed: int = 0, num_classes: int = 3) -> Heads:
    """A loss of the boxes, and random logits for the given classes of each image's anchors."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.tensor(targets)
    logits = torch.randn(*classes.shape, 1 + num_classes, generator=generator)
    return torch.rand((), generator=generator) * (classes > 0).sum(), logits, classes


def loss_by_loops(heads: Heads, negatives_per_positive: float) -> tuple[float, float]:
    """Return the box term and the class term, float64."""
    box, logits, target_classes = (tensor.tolist() for tensor in heads)
    class_ = 0.0
    num_matched = 0
    for image, classes in enumerate(target_classes):
        negatives = []
        matched = 0
        for anchor, wanted in enumerate(classes):
            row = logits[image][anchor]
            entropy = math.log(sum(math.exp(value) for value in row)) - row[wanted]
            if wanted == 0:
                negatives.append(entropy)
                continue
            matched += 1
            class_ += entropy
        quota = max(1, int(matched * negatives_per_positive))
        class_ += sum(sorted(negatives, reverse=True)[:quota])
        num_matched += matched
    return box / max(1, num_matched), class_ / max(1, num_matched)


@pytest.mark.parametrize("negatives_per_positive", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    "targets",
    [
        [[0, 1, 0, 2, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0]],
        [[1, 2, 3, 1]],  # no negatives to mine
        [[0, 1, 2, 1]],  # fewer than the quota
        [[0, 0, 0, 0], [0, 2, 0, 0]],  # an image without objects beside one
        [[0, 0, 0, 0]],  # a batch without objects
    ],
    ids=["usual", "all positive", "few negatives", "one empty", "all empty"],
)
def test_matches_the_loops(targets: list[list[int]], negatives_per_positive: float) -> None:
    heads = case(targets)
    found = multibox_loss(*heads, negatives_per_positive=negatives_per_positive)
    box, class_ = loss_by_loops(heads, negatives_per_positive)
    # Sums of at most 32 float32 terms.
    assert found.parts["box"].item() == pytest.approx(box, rel=1e-5)
    assert found.parts["class"].item() == pytest.approx(class_, rel=1e-5)
    assert found.total.item() == pytest.approx(box + class_, rel=1e-5)


def test_an_image_without_objects_teaches_through_its_worst_anchor() -> None:
    box_loss, logits, classes = case([[0] * 6])
    logits.requires_grad_()
    multibox_loss(box_loss, logits, classes, negatives_per_positive=3).total.backward()
    taught = logits.grad.abs().sum(dim=-1)[0] > 0
    worst = logits.softmax(dim=-1)[0, :, 0].argmin()
    assert taught.nonzero().tolist() == [[worst.item()]]


def test_perfect_heads_have_no_loss() -> None:
    _, _, classes = case([[0, 1, 2, 0]])
    logits = 100.0 * torch.nn.functional.one_hot(classes, 4)
    found = multibox_loss(torch.zeros(()), logits, classes, negatives_per_positive=3)
    assert found.total.item() == 0.0


def test_the_parts_of_a_batch_combine_to_the_loss_of_the_whole() -> None:
    _, logits, classes = case([[1, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0], [3, 3, 1, 0, 0, 0]])
    boxes = torch.tensor([1.5, 0.0, 0.25])
    whole = multibox_loss(boxes.sum(), logits, classes, negatives_per_positive=1.0)
    parts = [
        multibox_loss(
            boxes[image], logits[image, None], classes[image, None], negatives_per_positive=1.0
        )
        for image in range(3)
    ]
    assert whole.count is not None
    counts = [int(part.count) for part in parts if part.count is not None]
    assert counts == [2, 0, 3]
    summed = sum(part.total * max(1, count) for part, count in zip(parts, counts, strict=True))
    torch.testing.assert_close(summed / int(whole.count), whole.total)
