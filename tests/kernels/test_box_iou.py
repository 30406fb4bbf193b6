"""Every kind of box_iou against the reference, torchvision and its own properties."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import box_iou, reference
from edgecv.kernels.box_iou import OverlapKind

from .conftest import Place

Boxes = NDArray[np.float32]
Pairs = NDArray[np.float32]

KINDS = ["iou", "giou", "diou", "ciou"]

# Widths, areas, sums and quotients round once each, and no value, nor a term of one, is larger than
# 2: a dozen roundings of half a unit of 2 at the most.
TOLERANCE = 12 * np.finfo(np.float32).eps

# Around the vector width (4, 8 or 16 floats) and the tiles of 512 doubles or 1024 floats.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 1023, 1024, 1025]


def overlap(place: Place, a: Boxes, b: Boxes, kind: str) -> Pairs:
    """The operator on a poisoned output: a pair it forgets stays NaN."""
    out = place.poisoned((len(a), len(b)), np.float32)
    assert box_iou(place.array(a), place.array(b), kind=kind, out=out) is out
    return place.numpy(out)


def random_boxes(count: int, *, seed: int, offset: float = 0) -> Boxes:
    """Valid boxes crowded into 128 pixels, so that most pairs overlap."""
    rng = np.random.default_rng(seed)
    top_left = rng.uniform(0, 64, (count, 2)) + offset
    return np.hstack([top_left, top_left + rng.uniform(1, 64, (count, 2))]).astype(np.float32)


# Small whole numbers make every area exact; empty and inverted boxes and non-finite coordinates
# occur on purpose.
boxes = st.integers(0, 20).flatmap(
    lambda k: arrays(
        np.float32,
        (k, 4),
        elements=st.integers(-64, 64).map(float) | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
valid_boxes = (
    st.integers(1, 8)
    .flatmap(lambda k: arrays(np.float32, (k, 4), elements=st.integers(1, 64).map(float)))
    .map(lambda ltwh: np.hstack([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]]))
)
wild_boxes = st.integers(0, 8).flatmap(
    lambda k: arrays(np.float32, (k, 2, 2), elements=st.floats(width=32)).map(
        lambda corners: np.sort(corners, axis=1).reshape(-1, 4)
    )
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", SIZES)
def test_matches_reference(place: Place, m: int, kind: str) -> None:
    for n in (0, 1, 2):
        a, b = random_boxes(n, seed=1), random_boxes(m, seed=2)
        expected = reference.box_iou(a, b, kind=kind)
        np.testing.assert_allclose(overlap(place, a, b, kind), expected, rtol=0, atol=TOLERANCE)


@given(a=boxes, b=boxes)
def test_matches_reference_on_degenerate_boxes(place: Place, a: Boxes, b: Boxes) -> None:
    for kind in KINDS:
        expected = reference.box_iou(a, b, kind=kind)
        np.testing.assert_allclose(overlap(place, a, b, kind), expected, rtol=0, atol=TOLERANCE)


@given(a=wild_boxes, b=wild_boxes)
def test_matches_reference_on_every_float(place: Place, a: Boxes, b: Boxes) -> None:
    for kind in KINDS:
        expected = reference.box_iou(a, b, kind=kind)
        np.testing.assert_allclose(overlap(place, a, b, kind), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exponent", [-140, -60, -32, -31, -30, -29, 0, 22, 23, 24, 25, 60, 118])
def test_matches_reference_at_every_scale(place: Place, exponent: int, kind: str) -> None:
    # Around the sizes for which float32 gives way to double, and far beyond them.
    a, b = (
        np.ldexp(random_boxes(9, seed=seed).round(), exponent).astype(np.float32) for seed in (3, 4)
    )
    expected = reference.box_iou(a, b, kind=kind)
    np.testing.assert_allclose(overlap(place, a, b, kind), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [511, 512, 513])
def test_tiles_of_doubles(place: Place, m: int, kind: str) -> None:
    a, b = random_boxes(2, seed=1) * np.float32(1e12), random_boxes(m, seed=2) * np.float32(1e12)
    a[1], b[m // 2] = 0, np.nan
    expected = reference.box_iou(a, b, kind=kind)
    np.testing.assert_allclose(overlap(place, a, b, kind), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_cost_no_precision(place: Place, kind: str) -> None:
    # Coordinates that are multiples of 1 / 16 below 2**20 are exact, and so are their differences.
    a, b = ((random_boxes(33, seed=s) * 16).round() / 16 + 2**19 for s in (5, 6))
    a, b = a.astype(np.float32), b.astype(np.float32)
    expected = reference.box_iou(a, b, kind=kind)
    np.testing.assert_allclose(overlap(place, a, b, kind), expected, rtol=0, atol=TOLERANCE)


@given(a=boxes, b=boxes)
def test_is_symmetric(place: Place, a: Boxes, b: Boxes) -> None:
    for kind in KINDS:
        np.testing.assert_array_equal(overlap(place, a, b, kind), overlap(place, b, a, kind).T)


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_overlaps_itself_fully(place: Place, kind: str) -> None:
    a = random_boxes(33, seed=3)
    np.testing.assert_array_equal(np.diag(overlap(place, a, a, kind)), 1.0)


@given(a=valid_boxes, b=valid_boxes)
def test_the_kinds_are_ordered(place: Place, a: Boxes, b: Boxes) -> None:
    iou, giou, diou, ciou = (overlap(place, a, b, kind) for kind in KINDS)
    assert (iou >= 0).all()
    assert (iou <= 1).all()
    assert (giou <= iou + TOLERANCE).all()
    assert (diou <= iou).all()
    assert (ciou <= diou).all()
    for value, least in ((giou, -1.0), (diou, -1.0), (ciou, -1.5)):
        assert (value >= least).all()


def test_worked_example(place: Place) -> None:
    a = np.array([[0, 0, 2, 2]], np.float32)
    b = np.array([[1, 1, 3, 3], [2, 2, 3, 3], [0, 0, 1, 2]], np.float32)
    v = 4 / np.pi**2 * (np.arctan(1) - np.arctan(1 / 2)) ** 2
    expected = {
        "iou": [1 / 7, 0, 1 / 2],
        "giou": [1 / 7 - 2 / 9, -4 / 9, 1 / 2],
        "diou": [1 / 7 - 2 / 18, -4.5 / 18, 1 / 2 - 0.25 / 8],
        "ciou": [1 / 7 - 2 / 18, -4.5 / 18, 1 / 2 - 0.25 / 8 - v * v / (1 / 2 + v)],
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(overlap(place, a, b, kind), [values], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "box", [[4, 4, 0, 0], [4, 0, 0, 4], [2, 2, 2, 2], [0, 2, 4, 2], [0, np.nan, 4, 4]]
)
def test_a_box_without_area_is_far_from_everything(
    place: Place, box: list[float], kind: str
) -> None:
    a = np.array([box, [0, 0, 4, 4]], np.float32)
    nothing = 0 if kind == "iou" else -1
    assert overlap(place, a, a, kind).tolist() == [[nothing, nothing], [nothing, 1]]


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_torchvision(place: Place, kind: str) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    names = ["box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
    a, b = random_boxes(70, seed=7), random_boxes(90, seed=8)
    peer = getattr(ops, names[KINDS.index(kind)])(torch.from_numpy(a), torch.from_numpy(b))
    # It rounds in float32 too, sums corners of up to 128 pixels to centres, and adds 1e-7 to
    # denominators, of which 1 - IoU + v of nearly equal boxes is the smallest.
    np.testing.assert_allclose(overlap(place, a, b, kind), peer.numpy(), rtol=0, atol=1e-5)


def test_allocates_what_it_returns(place: Place) -> None:
    a, b = random_boxes(5, seed=4), random_boxes(7, seed=5)
    assert list(get_args(OverlapKind)) == KINDS
    allocated = place.numpy(box_iou(place.array(a), place.array(b)))
    np.testing.assert_array_equal(allocated, overlap(place, a, b, "iou"))


def test_reads_boxes_in_any_order_in_memory() -> None:
    a, b = random_boxes(5, seed=4), random_boxes(7, seed=5)
    np.testing.assert_array_equal(box_iou(a[::-1], b), box_iou(a[::-1].copy(), b))


GOOD: dict[str, Any] = {
    "a_xyxy": np.zeros((2, 4), np.float32),
    "b_xyxy": np.zeros((3, 4), np.float32),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a_xyxy": np.zeros(4, np.float32)}, r"`a_xyxy` must have shape \(N, 4\), got \(4,\)"),
        ({"b_xyxy": np.zeros((2, 5), np.float32)}, r"`b_xyxy` must have shape \(M, 4\)"),
        ({"kind": "eiou"}, "`kind` must be one of iou, giou, diou, ciou, got 'eiou'"),
        ({"out": np.zeros((3, 2), np.float32)}, r"`out` must have shape \(2, 3\), got \(3, 2\)"),
        ({"out": np.zeros((3, 2), np.float32).T}, "`out` must be C-contiguous and writeable"),
        ({"out": np.broadcast_to(np.float32(0), (2, 3))}, "`out` must be C-contiguous and write"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^box_iou: {message}"):
        box_iou(**GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a_xyxy": np.zeros((2, 4))}, "`a_xyxy` must be float32, got float64"),
        ({"b_xyxy": [[0, 0, 1, 1]]}, "`b_xyxy` must be a NumPy array, got list"),
        ({"out": np.zeros((2, 3))}, "`out` must be float32, got float64"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^box_iou: {message}"):
        box_iou(**GOOD | options)
