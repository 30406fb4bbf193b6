"""Anchor-free heads: decoding against the runtime's, losses against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
torchvision_ops = pytest.importorskip("torchvision.ops")

from edgecv.data.targets import Target  # noqa: E402
from edgecv.kernels import decode_yolo  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.models.anchor_free import (  # noqa: E402
    NUM_BINS,
    AnchorFree,
    cell_centres,
    distances_to,
    distribution_focal_loss,
    pairwise_iou,
    start_quietly,
)

SIZE_HW = (70, 100)
MODELS = ("yolo_n", "fcos")


def built(name: str, num_classes: int = 3) -> AnchorFree:
    torch.manual_seed(0)
    model = build_model(name, num_classes, SIZE_HW)
    assert isinstance(model, AnchorFree)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_head_has_a_column_per_cell(name: str) -> None:
    model = built(name)
    with torch.inference_mode():
        (head,) = model(torch.zeros(2, 3, *SIZE_HW))
    cells = {8: 9 * 13, 16: 5 * 7, 32: 3 * 4, 64: 2 * 2, 128: 1}
    assert head.shape == (2, 4 * NUM_BINS + 3, sum(cells[stride] for stride in model.strides))


@pytest.mark.parametrize("name", MODELS)
def test_decodes_as_the_runtime_does(name: str) -> None:
    model = built(name)
    shape = (1, 4 * NUM_BINS + 3, len(model.centres))
    head = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    boxes, scores = model.decoded((head,))
    spec = model.output_spec()
    # Nothing is suppressed, so that every pair above the threshold comes back.
    found = decode_yolo(
        head[0].numpy(),
        layout=spec.layout,
        reg_max=spec.reg_max,
        strides=spec.strides,
        size_hw=SIZE_HW,
        score_threshold=0.5,
        iou_threshold=1.0,
        max_detections=10_000,
        multi_label=True,
    )
    cell, class_id = torch.nonzero(scores[0] > 0.5, as_tuple=True)
    order = scores[0, cell, class_id].argsort(descending=True, stable=True)
    np.testing.assert_allclose(found.scores, scores[0, cell, class_id][order], atol=1e-6)
    np.testing.assert_array_equal(found.class_ids, class_id[order])
    np.testing.assert_allclose(found.boxes_xyxy, boxes[0, cell][order], atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_untrained_cells_are_quiet(name: str) -> None:
    with torch.inference_mode():
        _, scores = built(name).decoded(built(name)(torch.rand(1, 3, *SIZE_HW)))
    assert scores.max() < 0.1


def targets() -> list[Target]:
    boxes = torch.tensor([[10.0, 10, 60, 50], [70, 20, 90, 60], [33, 33, 35, 35]])
    return [
        Target(boxes, torch.tensor([2, 0, 1])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    model = built(name).train()
    images = torch.rand(2, 3, *SIZE_HW, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(12):
        losses = model.losses(images, targets())
        assert set(losses.parts) == {"class", "box", "distance"}
        assert losses.total.item() == pytest.approx(
            sum(part.item() for part in losses.parts.values()), rel=1e-6
        )
        optimizer.zero_grad()
        losses.total.backward()
        assert all(
            parameter.grad is not None and bool(parameter.grad.isfinite().all())
            for parameter in model.parameters()
        )
        optimizer.step()
        totals.append(losses.total.item())
    assert totals[-1] < 0.8 * totals[0]


@pytest.mark.parametrize("name", [*MODELS, "yolo_s", "yolo_m"])
def test_the_box_loss_is_a_choice(name: str) -> None:
    found = {}
    for kind in ("giou", "diou", "ciou"):
        torch.manual_seed(0)
        model = build_model(name, 3, (64, 64), options={"box_loss": kind}).eval()
        assert isinstance(model, AnchorFree)
        head = torch.randn(2, 4 * NUM_BINS + 3, len(model.centres))
        losses = model.head_losses((head,), targets())
        found[kind] = losses.parts["box"].item()
    assert found["diou"] < found["ciou"]  # which adds to it
    assert len(set(found.values())) == 3


def test_images_without_any_object_teach_silence() -> None:
    model = built("yolo_n")
    logits = torch.zeros(2, 4 * NUM_BINS + 3, len(model.centres), requires_grad=True)
    losses = model.head_losses((logits,), [targets()[1]] * 2)
    assert losses.parts["box"].item() == losses.parts["distance"].item() == 0.0
    losses.total.backward()
    assert logits.grad is not None
    assert (logits.grad[:, 4 * NUM_BINS :] > 0).all()


def test_the_loss_nearly_vanishes_where_the_head_is_right() -> None:
    """Every cell names the object that it lies in, with all its score on it."""
    model = built("yolo_n")
    boxes, classes = torch.tensor([[8.0, 8, 56, 56]]), torch.tensor([1])
    head = torch.full((1, 4 * NUM_BINS + 3, len(model.centres)), -30.0)
    sides = distances_to(boxes.expand(len(model.centres), 4), model.centres)
    inside = (sides > 0).all(dim=1)
    bins = (sides / model.cell_strides[:, None]).clamp(0, NUM_BINS - 1.01)
    for side in range(4):
        low = bins[:, side].long()
        weight = bins[:, side] - low
        rows = side * NUM_BINS + low
        cells = torch.arange(len(low))
        head[0, rows, cells] = weight.neg().add(1).clamp(min=1e-9).log()
        head[0, rows + 1, cells] = weight.clamp(min=1e-9).log()
    head[0, 4 * NUM_BINS + 1, inside] = 30.0
    losses = model.head_losses((head,), [Target(boxes, classes)])
    assert losses.parts["box"].item() == pytest.approx(0.0, abs=1e-4)
    found, scores = model.decoded((head,))
    best = scores[0, :, 1].argmax()
    torch.testing.assert_close(found[0, best], boxes[0], atol=1e-3, rtol=0)
    # What is left of the distances is the entropy of sides that fall between two bins.
    fraction = bins - bins.floor()
    entropy = -(fraction * fraction.log().nan_to_num() + (1 - fraction) * (1 - fraction).log())
    assert losses.parts["distance"].item() <= 0.5 * entropy[inside].mean(dim=1).max() + 1e-3


def test_focal_loss_is_its_definition() -> None:
    model = built("fcos")
    assert model.focal_exponent == 2.0
    head = torch.randn(
        1, 4 * NUM_BINS + 3, len(model.centres), generator=torch.Generator().manual_seed(0)
    )
    # Without objects every cell should score 0: sigma ** 2 * -log(1 - sigma), summed.
    found = model.head_losses((head,), [targets()[1]]).parts["class"].item()
    scores = torch.sigmoid(head[0, 4 * NUM_BINS :].double())
    assert found == pytest.approx(-(scores**2 * (1 - scores).log()).sum().item(), rel=1e-5)


def test_centres_come_level_by_level_row_by_row() -> None:
    centres, strides = cell_centres((16, 20), (8, 16))
    assert centres.tolist() == [
        [4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8],
    ]  # fmt: skip
    assert strides.tolist() == [8] * 6 + [16] * 2


def test_tiny_and_edge_objects_have_a_cell() -> None:
    model = built("yolo_n")
    boxes = torch.tensor([[[16.0, 16, 16.5, 16.5], [0, 0, 1, 1], [99, 69, 100, 70]]])
    assert model._candidates(boxes).any(dim=-1).all()


@given(st.floats(0, 20, allow_nan=False), st.integers(0, 1000))
def test_distribution_focal_loss_is_the_two_nearest_bins(side: float, seed: int) -> None:
    logits = torch.randn(1, 4, NUM_BINS, generator=torch.Generator().manual_seed(seed)).double()
    sides = torch.tensor([[side, 0.0, 3.25, 15.0]], dtype=torch.float64)
    expected = 0.0
    for row, given_side in zip(logits[0].softmax(-1).numpy(), sides[0].tolist(), strict=True):
        value = min(given_side, NUM_BINS - 1 - 1e-3)
        low = int(value)
        expected -= (low + 1 - value) * np.log(row[low]) + (value - low) * np.log(row[low + 1])
    assert distribution_focal_loss(logits, sides).item() == pytest.approx(expected / 4)


def test_pairwise_iou_is_torchvisions() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 12, 2, 2, generator=generator).sort(dim=2).values.flatten(2) * 50
    found = pairwise_iou(corners[:, :5], corners[:, 5:])
    for image in range(2):
        expected = torchvision_ops.box_iou(corners[image, :5], corners[image, 5:])
        torch.testing.assert_close(found[image], expected)
    assert pairwise_iou(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)).item() == 0.0


def test_a_head_must_end_in_a_convolution() -> None:
    head = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.ReLU())
    with pytest.raises(TypeError, match="must end in a convolution, got ReLU"):
        start_quietly(head, head)
