"""Targets against loops from the definition, and decoding as the inverse of encoding."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from torchvision.models.detection._utils import Matcher  # noqa: E402
from torchvision.ops import box_iou  # noqa: E402

from edgecv.models.matching import (  # noqa: E402
    BACKGROUND,
    IGNORED,
    decode_offsets,
    encode_offsets,
    match_anchors,
    match_regions,
    sample_matches,
)

Boxes = NDArray[np.float32]

# Whole corners: areas are exact, overlaps and ties are frequent.
corners = st.integers(0, 8).flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, 10)))
boxes_xyxy = st.tuples(corners, corners).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))


def several(low: int, high: int) -> st.SearchStrategy[Boxes]:
    return st.lists(boxes_xyxy, min_size=low, max_size=high).map(
        lambda rows: np.array(rows, np.float32).reshape(-1, 4)
    )


cases = st.tuples(several(5, 12), several(0, 5), st.sampled_from([0.25, 0.5, 0.75]))


def centred(boxes: Boxes) -> torch.Tensor:
    x1, y1, x2, y2 = boxes.T
    return torch.from_numpy(np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1))


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(0.0, float(width)) * max(0.0, float(height))
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return inter / (float(area_a) + float(area_b) - inter)


def match_by_loops(anchors: Boxes, boxes: Boxes, threshold: float) -> list[int]:
    """Best pair first, ties to the lower anchor, then box; then the best box for each other."""
    pairs = sorted(
        (-iou(anchor, box), row, column)
        for row, anchor in enumerate(anchors)
        for column, box in enumerate(boxes)
    )
    matched: dict[int, int] = {}
    for _, row, column in pairs:
        if row not in matched and column not in matched.values():
            matched[row] = column
    for row, anchor in enumerate(anchors):
        overlaps = [iou(anchor, box) for box in boxes]
        if row not in matched and overlaps and max(overlaps) >= threshold:
            matched[row] = overlaps.index(max(overlaps))
    return [matched.get(row, -1) for row in range(len(anchors))]


@given(case=cases)
def test_matches_the_loops(case: tuple[Boxes, Boxes, float]) -> None:
    anchors, boxes, threshold = case
    found = match_anchors(centred(anchors), torch.from_numpy(boxes), threshold=threshold)
    assert found.dtype == torch.int64
    assert found.tolist() == match_by_loops(anchors, boxes, threshold)


@given(case=cases)
def test_no_object_is_lost(case: tuple[Boxes, Boxes, float]) -> None:
    anchors, boxes, threshold = case
    found = match_anchors(centred(anchors), torch.from_numpy(boxes), threshold=threshold)
    assert set(range(len(boxes))) <= set(found.tolist())


def test_an_image_without_objects_matches_nothing() -> None:
    anchors = centred(np.array([[0, 0, 2, 2], [1, 1, 5, 5]], np.float32))
    assert match_anchors(anchors, torch.zeros(0, 4), threshold=0.5).tolist() == [-1, -1]


@pytest.mark.parametrize(("width", "expected"), [(51, 0), (50, 0), (49, -1)])
def test_the_threshold_itself_matches(width: int, expected: int) -> None:
    box = np.array([[0, 0, 100, 1]], np.float32)  # IoU of the second anchor: width / 100
    anchors = centred(np.array([[0, 0, 100, 1], [0, 0, width, 1]], np.float32))
    assert match_anchors(anchors, torch.from_numpy(box), threshold=0.5).tolist() == [0, expected]


def test_a_forced_match_outweighs_a_better_overlap() -> None:
    # Both objects prefer the first anchor; the second object, of the lower IoU, takes the other
    # although that overlaps the first object more.
    anchors = centred(np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32))
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 10]])
    assert match_anchors(anchors, boxes, threshold=0.5).tolist() == [0, 1]


sizes = st.floats(1, 500, width=32)
centred_boxes = st.tuples(
    arrays(np.float32, (3, 2), elements=st.floats(-500, 1000, width=32)),
    arrays(np.float32, (3, 2), elements=sizes),
).map(np.hstack)
variances_pairs = st.sampled_from([(0.1, 0.2), (1.0, 1.0)])


@given(anchors=centred_boxes, boxes=centred_boxes, variances=variances_pairs)
def test_decoding_undoes_encoding(
    anchors: Boxes, boxes: Boxes, variances: tuple[float, float]
) -> None:
    xyxy = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
    offsets = encode_offsets(torch.from_numpy(xyxy), torch.from_numpy(anchors), variances)
    back = decode_offsets(offsets, torch.from_numpy(anchors), variances).numpy()
    # The logarithm is at most log(500), so exp magnifies its rounding by less than 2**3; the
    # centre's rounding is relative to the coordinates, below 2**10.
    np.testing.assert_allclose(back, xyxy, atol=2**10 * 16 * np.finfo(np.float32).eps)


def test_worked_offsets() -> None:
    anchor = torch.tensor([[100.0, 50.0, 40.0, 20.0]])
    box = torch.tensor([[94.0, 41.0, 114.0, 61.0]])  # centre 104, 51; 20 x 20
    offsets = encode_offsets(box, anchor, (0.1, 0.2))
    expected = [[4 / 40 / 0.1, 1 / 20 / 0.1, np.log(20 / 40) / 0.2, 0.0]]
    np.testing.assert_allclose(offsets, expected, rtol=1e-5, atol=1e-6)


def test_decoding_takes_a_batch() -> None:
    anchors = torch.tensor([[10.0, 10, 4, 4], [20, 20, 8, 8]])
    offsets = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    batch = decode_offsets(offsets, anchors, (0.1, 0.2))
    for image, boxes in zip(offsets, batch, strict=True):
        torch.testing.assert_close(boxes, decode_offsets(image, anchors, (0.1, 0.2)))


def some_regions(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 12, (count, 2), generator=generator).float()
    return torch.cat([corner, corner + torch.randint(2, 9, (count, 2), generator=generator)], dim=1)


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.3, 0.7), (0.5, 0.5)])
@pytest.mark.parametrize("seed", range(5))
def test_regions_match_as_in_torchvision(
    seed: int, low: float, high: float, *, keep_best: bool
) -> None:
    """Whole corners: many IoUs are equal, so several regions are the best of an object."""
    regions, boxes = some_regions(200, seed), some_regions(6, 100 + seed)
    matcher = Matcher(high, low, allow_low_quality_matches=keep_best)
    found = match_regions(
        regions, boxes, positive_from=high, negative_below=low, keep_best=keep_best
    )
    torch.testing.assert_close(found, matcher(box_iou(boxes, regions)))


def test_without_objects_every_region_is_background() -> None:
    found = match_regions(
        some_regions(5, 0), torch.zeros(0, 4), positive_from=0.7, negative_below=0.3, keep_best=True
    )
    assert found.tolist() == [BACKGROUND] * 5


def test_an_object_that_nothing_touches_claims_no_region() -> None:
    regions, far = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[90.0, 90, 95, 95]])
    found = match_regions(regions, far, positive_from=0.7, negative_below=0.3, keep_best=True)
    assert found.tolist() == [BACKGROUND]


@pytest.mark.parametrize(
    ("num_positive", "num_negative", "sizes"),
    [(30, 90, (10, 30)), (4, 90, (4, 36)), (30, 5, (10, 5)), (0, 90, (0, 40)), (0, 0, (0, 0))],
)
def test_samples_keep_the_quota_and_draw_each_row_once(
    num_positive: int, num_negative: int, sizes: tuple[int, int]
) -> None:
    matched = torch.tensor([3] * num_positive + [IGNORED] * 7 + [BACKGROUND] * num_negative)
    torch.manual_seed(0)
    positive, negative = sample_matches(matched, count=40, positive_fraction=0.25)
    assert (len(positive), len(negative)) == sizes
    assert (matched[positive] == 3).all()
    assert (matched[negative] == BACKGROUND).all()
    rows = torch.cat([positive, negative])
    assert len(rows.unique()) == len(rows)
    torch.manual_seed(0)
    again, _ = sample_matches(matched, count=40, positive_fraction=0.25)
    assert torch.equal(again, positive)
