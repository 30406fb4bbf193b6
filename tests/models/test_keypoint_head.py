"""The keypoint head against torchvision's: its layers, its loss and where its points lie."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor  # noqa: E402
from torchvision.models.detection.keypoint_rcnn import (  # noqa: E402
    KeypointRCNNHeads,
    KeypointRCNNPredictor,
)
from torchvision.models.detection.roi_heads import (  # noqa: E402
    heatmaps_to_keypoints,
    keypointrcnn_loss,
    keypoints_to_heatmap,
)

from edgecv.models.keypoint_head import (  # noqa: E402
    HEATMAP_SIDE,
    KeypointHead,
    decode_heatmaps,
    heatmap_cells,
    keypoint_loss,
)
from edgecv.models.roi_heads import SampledRegions  # noqa: E402


def regions(boxes: Tensor, batch_ids: Any, objects: Any) -> SampledRegions:
    count = len(boxes)
    return SampledRegions(
        boxes,
        torch.tensor(batch_ids, dtype=torch.int64),
        torch.ones(count, dtype=torch.int64),
        torch.tensor(objects, dtype=torch.int64),
        torch.zeros(count, 4),
    )


def scene() -> tuple[Tensor, SampledRegions, list[Tensor]]:
    """Logits of five regions of two images, and objects with points in and out of them."""
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor(
        [[10.0, 20, 66, 90], [0, 0, 30, 30], [12, 18, 70, 95], [5, 5, 61, 33], [40, 40, 47, 59]]
    )
    sampled = regions(boxes, [0, 0, 0, 1, 1], [1, 0, 1, 0, 1])
    first = torch.tensor(
        [
            [[5.0, 5, 2], [29.9, 0, 1], [50, 50, 2], [30, 30, 2]],  # outside, on the corner
            [[30.0, 40, 2], [10, 20, 1], [66, 90, 2], [40, 60, 0]],  # on edges, not labelled
        ]
    )
    second = torch.tensor(
        [
            [[20.0, 10, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
            [[41.0, 50, 2], [46.999, 40, 2], [47, 58, 1], [39.99, 50, 2]],
        ]
    )
    logits = torch.randn(5, 4, HEATMAP_SIDE, HEATMAP_SIDE, generator=generator)
    return logits, sampled, [first, second]


def test_the_layers_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        KeypointRCNNHeads(16, (32,) * 8), KeypointRCNNPredictor(32, 5)
    ).eval()
    ours = KeypointHead(16, 5, width=32, num_convs=8).eval()
    state = theirs.state_dict()
    assert [value.shape for value in state.values()] == [
        value.shape for value in ours.state_dict().values()
    ]
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))
    bins = torch.randn(3, 16, 14, 14)
    with torch.inference_mode():
        found = ours(bins)
        torch.testing.assert_close(found, theirs(bins))
    assert found.shape == (3, 5, HEATMAP_SIDE, HEATMAP_SIDE)


def test_cells_are_those_of_torchvision() -> None:
    _, sampled, keypoints = scene()
    own = torch.stack(
        [keypoints[i][o] for i, o in zip(sampled.batch_ids, sampled.objects, strict=True)]
    )
    cells, is_inside = heatmap_cells(own[..., :2], sampled.boxes_xyxy, HEATMAP_SIDE)
    wanted, is_valid = keypoints_to_heatmap(own, sampled.boxes_xyxy, HEATMAP_SIDE)
    is_labelled = is_inside & (own[..., 2] > 0)
    assert torch.equal(is_labelled, is_valid > 0)
    assert 5 < is_labelled.sum() < 14
    index = cells[..., 1] * HEATMAP_SIDE + cells[..., 0]
    assert torch.equal(index[is_labelled], wanted[is_labelled])


def test_the_loss_is_that_of_torchvision() -> None:
    logits, sampled, keypoints = scene()
    logits.requires_grad_()
    loss = keypoint_loss(logits, sampled, keypoints)
    (gradient,) = torch.autograd.grad(loss, logits)
    images = [sampled.batch_ids == image for image in range(2)]
    wanted = keypointrcnn_loss(
        logits,
        [sampled.boxes_xyxy[here] for here in images],
        keypoints,
        [sampled.objects[here] for here in images],
    )
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, logits)[0])


@pytest.mark.parametrize("num_regions", [0, 2])
def test_without_a_labelled_point_there_is_nothing_to_learn(num_regions: int) -> None:
    head = KeypointHead(8, 4, width=8, num_convs=1)
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 30]])[:num_regions]
    sampled = regions(boxes, [0, 0][:num_regions], [0, 0][:num_regions])
    loss = keypoint_loss(head(torch.randn(num_regions, 8, 14, 14)), sampled, [torch.zeros(1, 4, 3)])
    loss.backward()
    assert loss.item() == 0
    for parameter in head.parameters():  # all of them have a gradient, as several processes need
        assert not parameter.grad.any()


def gaussians(centres: Tensor, side: int, spread: float) -> Tensor:
    """Logarithms of Gaussians around centres (M, J, 2) in cells, [M, J, side, side]."""
    middle = torch.arange(side) + 0.5
    x = (middle - centres[..., :1]) ** 2
    y = (middle - centres[..., 1:]) ** 2
    return -(x[..., None, :] + y[..., :, None]) / (2 * spread**2)


@pytest.mark.parametrize("spread", [0.8, 2.0, 5.0])
def test_refinement_beats_the_middle_of_the_cell(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 3 + 50 * torch.rand(20, 17, 2, generator=generator)
    box = torch.tensor([[0.0, 0, HEATMAP_SIDE, HEATMAP_SIDE]]).expand(20, 4)
    noise = 0.01 * torch.randn(20, 17, HEATMAP_SIDE, HEATMAP_SIDE, generator=generator)
    noise /= spread**2  # or the flat top of a wide one would be lost in it
    found = decode_heatmaps(gaussians(centres, HEATMAP_SIDE, spread) + noise, box)[..., :2]
    refined = (found - centres).norm(dim=-1).mean()
    plain = (centres.floor() + 0.5 - centres).norm(dim=-1).mean()
    assert refined < 0.1 * plain
    assert plain > 0.35


def test_points_are_within_a_cell_of_those_of_torchvision() -> None:
    generator = torch.Generator().manual_seed(1)
    centres = 1 + 54 * torch.rand(30, 17, 2, generator=generator)
    corner = 400 * torch.rand(30, 2, generator=generator)
    size = 20 + 300 * torch.rand(30, 2, generator=generator)
    boxes = torch.cat([corner, corner + size], dim=1)
    logits = gaussians(centres, HEATMAP_SIDE, 2.0)
    ours = decode_heatmaps(logits, boxes)[..., :2]
    theirs, _ = heatmaps_to_keypoints(logits, boxes)
    # Their answers are whole pixels of the region, so add the rounding of one.
    allowed = size[:, None] / HEATMAP_SIDE + 1
    assert ((ours - theirs[..., :2]).abs() <= allowed).all()
    assert ((ours - theirs[..., :2]).abs() / allowed).mean() < 0.5
    exact = corner[:, None] + centres * size[:, None] / HEATMAP_SIDE
    assert (ours - exact).abs().mean() < (theirs[..., :2] - exact).abs().mean()


@given(
    seed=st.integers(0, 10_000),
    side=st.integers(1, 9),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
)
def test_a_point_stays_in_the_greatest_cell_and_its_score_is_a_share(
    seed: int, side: int, scale: float
) -> None:
    logits = scale * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    boxes = torch.tensor([[0.0, 0, side, side]]).expand(2, 4)
    found = decode_heatmaps(logits, boxes)
    best = logits.flatten(2).argmax(dim=-1)
    cells = torch.stack([best % side, best // side], dim=-1)
    assert ((found[..., :2] - cells - 0.5).abs() <= 0.5 + 1e-5).all()
    for (row, column), index in zip(
        ((i, j) for i in range(2) for j in range(3)), best.flatten().tolist(), strict=True
    ):
        y, x = divmod(index, side)
        shares = logits[row, column].double().flatten().softmax(0).view(side, side)
        near = shares[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].sum()
        assert found[row, column, 2].item() == pytest.approx(near.item(), abs=1e-5)


def test_a_peak_at_the_edge_stays_in_the_middle_of_its_cell() -> None:
    logits = torch.zeros(1, 2, 7, 7)
    logits[0, 0, 0, 6], logits[0, 0, 1, 6], logits[0, 0, 0, 5] = 9.0, 8.0, 8.0  # upper right
    logits[0, 1, 3, 0], logits[0, 1, 2, 0], logits[0, 1, 4, 0] = 9.0, 7.0, 8.0  # left
    (found,) = decode_heatmaps(logits, torch.tensor([[10.0, 20, 24, 34]]))
    shift = (8 - 7) / (2 * (2 * 9 - 7 - 8))  # the parabola through 7, 9, 8
    expected = [[10 + 2 * 6.5, 20 + 2 * 0.5], [10 + 2 * 0.5, 20 + 2 * (3.5 + shift)]]
    torch.testing.assert_close(found[:, :2], torch.tensor(expected))


def test_a_heatmap_that_knows_nothing_has_a_low_score() -> None:
    found = decode_heatmaps(
        torch.zeros(1, 1, HEATMAP_SIDE, HEATMAP_SIDE), torch.tensor([[0.0, 0, 56, 56]])
    )
    # The first cell of all, in a corner, and its three neighbours.
    assert found[0, 0].tolist() == pytest.approx([0.5, 0.5, 4 / HEATMAP_SIDE**2])
