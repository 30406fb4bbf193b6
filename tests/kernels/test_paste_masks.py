"""paste_masks and paste_masks_rle against the reference, torchvision and pycocotools."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import paste_masks, paste_masks_rle, reference
from edgecv.kernels._native import paste_masks_cpu, paste_masks_rle_cpu
from edgecv.kernels.reference.segmentation import pasted_probabilities

Masks = NDArray[np.float32]
Boxes = NDArray[np.float32]
Pasted = NDArray[np.bool_]

# Values in [0, 1] take two interpolations in float32 and the crossing one in double: a few units.
# The contract's 1e-5 leaves room for others' positions in float32, not for ours.
TOLERANCE = 8 * float(np.finfo(np.float32).eps)

# With its border, a mask's lines are around 1 to 9 words of 8 nodes.
SIDES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 28, 29, 30, 31, 56, 61, 62, 63, 64, 65]


def noise(count: int, side: int, *, seed: int = 0) -> Masks:
    return np.random.default_rng(seed).random((count, side, side), np.float32)


def blobs(count: int, side: int, *, seed: int = 0) -> Masks:
    """Soft ellipses, as a mask head gives them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    masks = np.empty((count, side, side), np.float32)
    for mask in masks:
        cy, cx, ry, rx = rng.uniform([0.4, 0.4, 0.2, 0.2], [0.6, 0.6, 0.6, 0.6])
        mask[:] = 1 / (1 + np.exp(8 * (((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 - 1)))
    return masks


def random_boxes(count: int, size_hw: tuple[int, int], *, seed: int = 0) -> Boxes:
    """Boxes of all sizes of which many stick out of the frame and some are outside or inverted."""
    rng = np.random.default_rng(seed)
    span = np.array([size_hw[1], size_hw[0]])
    centres = rng.uniform(-0.2, 1.2, (count, 2)) * span
    sides = rng.uniform(-0.1, 1, (count, 2)) ** 2 * rng.choice(
        [-0.1, 1.5], (count, 1), p=[0.1, 0.9]
    )
    return np.hstack([centres - sides * span / 2, centres + sides * span / 2]).astype(np.float32)


def paste(masks: Masks, boxes: Boxes, size_hw: tuple[int, int], threshold: float = 0.5) -> Pasted:
    """The masks in a poisoned buffer, equal to those in a fresh one and to the run lengths."""
    out = np.full((len(masks), *size_hw), 7, np.uint8).view(np.bool_)
    assert paste_masks(masks, boxes, size_hw, threshold=threshold, out=out) is out
    assert out.view(np.uint8).max(initial=0) <= 1
    np.testing.assert_array_equal(out, paste_masks(masks, boxes, size_hw, threshold=threshold))
    return out


def check(masks: Masks, boxes: Boxes, size_hw: tuple[int, int], threshold: float = 0.5) -> None:
    pasted = paste(masks, boxes, size_hw, threshold)
    probabilities = pasted_probabilities(masks, boxes, size_hw)
    is_clear = np.abs(probabilities - threshold) > TOLERANCE
    np.testing.assert_array_equal(pasted[is_clear], (probabilities > threshold)[is_clear])
    runs = paste_masks_rle(masks, boxes, size_hw, threshold=threshold)
    decoded = np.array([decode(rle) for rle in runs]).reshape(pasted.shape)
    np.testing.assert_array_equal(decoded[is_clear], pasted[is_clear])


def decode(rle: Any) -> Pasted:
    """The mask of compressed run lengths."""
    lengths: list[int] = []
    number, shift = 0, 0
    for code in rle["counts"]:
        bits = code - 48
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number, shift = 0, 0
    values = np.arange(len(lengths)) % 2 == 1
    height, width = rle["size"]
    return np.repeat(values, lengths).reshape(width, height).T


@pytest.mark.parametrize("make", [noise, blobs])
@pytest.mark.parametrize("side", SIDES)
def test_matches_reference_at_every_side(make: Any, side: int) -> None:
    check(make(6, side), random_boxes(6, (67, 90), seed=side), (67, 90))


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67])
def test_matches_reference_at_every_width(width: int) -> None:
    check(noise(5, 7), random_boxes(5, (20, width), seed=width), (20, width))
    check(blobs(5, 28), random_boxes(5, (width, 20), seed=width), (width, 20))


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_matches_reference_at_every_threshold(threshold: float) -> None:
    check(noise(8, 14), random_boxes(8, (60, 80)), (60, 80), threshold)


@settings(max_examples=60)
@given(
    side=st.integers(1, 12),
    boxes=st.lists(st.lists(st.integers(-30, 60), min_size=4, max_size=4), max_size=6),
    fraction=st.sampled_from([0.0, 0.25, 0.5]),
    size_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_matches_reference_at_any_box(
    side: int, boxes: list[list[int]], fraction: float, size_hw: tuple[int, int]
) -> None:
    corners = np.array(boxes, np.float32).reshape(-1, 4) + np.float32(fraction)
    check(noise(len(boxes), side), corners, size_hw)


def test_worked_example() -> None:
    # Enlarged threefold, the box is 0..6, seven pixels for three nodes, of which the middle one
    # is 1. A pixel's node is (x + 0.5) * 3 / 7 - 0.5; the value is 1 minus the distance to node 1.
    masks = np.ones((1, 1, 1), np.float32)
    boxes = np.array([[2, 2, 4, 4]], np.float32)
    pasted = paste(masks, boxes, (8, 8))
    along = np.maximum(0, 1 - np.abs((np.arange(8) + 0.5) * 3 / 7 - 1.5))
    along[7] = 0
    np.testing.assert_array_equal(pasted[0], np.outer(along, along) > 0.5)
    assert pasted.sum() == 5


def test_a_value_equal_to_the_threshold_is_not_covered() -> None:
    # All values are powers of two, so that they are exact.
    masks = np.full((1, 2, 2), 0.5, np.float32)
    boxes = np.array([[1, 1, 2.5, 2.5]], np.float32)  # 0.25..3.25 enlarged: 4 pixels, a node each
    assert paste(masks, boxes, (5, 5), 0.5).sum() == 0
    assert paste(masks, boxes, (5, 5), 0.4999).sum() == 4


@pytest.mark.parametrize(
    "box",
    [
        [np.nan, 0, 8, 8],
        [0, 0, 8, np.nan],
        [8, 0, 0, 8],
        [0, 8, 8, 0],
        [-50, 0, -20, 8],
        [0, 40, 8, 70],
        [np.inf, 0, np.inf, 8],
        [-np.inf, 0, np.inf, 8],
        [3e38, 0, 3.2e38, 8],
        [-3e38, -3e38, -2e38, -2e38],
    ],
)
def test_boxes_that_cover_nothing(box: list[float]) -> None:
    masks = np.ones((2, 4, 4), np.float32)
    boxes = np.array([box, [2, 2, 9, 9]], np.float32)
    assert paste(masks, boxes, (16, 16)).any(axis=(1, 2)).tolist() == [False, True]
    first = paste_masks_rle(masks, boxes, (16, 16))[0]
    assert first == {"size": [16, 16], "counts": b"P8"}  # 256 zeros: 16 and 8 * 32


@pytest.mark.parametrize("far", [1e3, 1e6, 1e9, 1e12, 1e20])
def test_giant_boxes(far: float) -> None:
    boxes = np.array([[-far, -far, far, far], [-far / 4, -far, far, far]], np.float32)
    assert paste(np.ones((2, 28, 28), np.float32), boxes, (20, 30)).all()
    check(blobs(2, 28), boxes, (20, 30))


def test_a_probability_that_is_not_a_number_covers_nothing() -> None:
    masks = np.ones((4, 6, 6), np.float32)
    masks[0] = np.nan
    masks[1, 2, 3] = masks[2, 0, 0] = masks[3, 5, 1:4] = np.nan
    boxes = np.tile(np.array([[4, 6, 40, 38]], np.float32), (4, 1))
    check(masks, boxes, (44, 44))
    assert not paste(masks, boxes, (44, 44))[0].any()


def test_no_masks() -> None:
    masks, boxes = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert paste_masks(masks, boxes, (5, 6)).shape == (0, 5, 6)
    assert paste_masks_rle(masks, boxes, (5, 6)) == []


def test_reads_views() -> None:
    masks, boxes = noise(8, 10), random_boxes(8, (30, 40))
    np.testing.assert_array_equal(
        paste_masks(masks[::-2, :, ::-1], boxes[::-2], (30, 40)),
        paste_masks(masks[::-2, :, ::-1].copy(), boxes[::-2].copy(), (30, 40)),
    )


def test_kernel_leaves_zeros_alone_where_told_so() -> None:
    masks, boxes = np.ones((1, 3, 3), np.float32), np.array([[2, 2, 6, 6]], np.float32)
    out = np.full((1, 10, 10), 7, np.uint8)
    paste_masks_cpu(masks, boxes, threshold=0.5, is_zero=True, out=out)
    assert sorted(set(out.ravel())) == [1, 7]


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_torchvision(seed: int) -> None:
    torch = pytest.importorskip("torch")
    roi_heads = pytest.importorskip("torchvision.models.detection.roi_heads")
    masks = np.concatenate([noise(10, 28, seed=seed), blobs(20, 28, seed=seed)])
    boxes = random_boxes(30, (180, 240), seed=seed)
    # Boxes wholly outside make torchvision index with negative numbers; it clips them before.
    boxes = np.sort(boxes.reshape(-1, 2, 2), axis=1).clip(0, [240, 180]).reshape(-1, 4)
    boxes = boxes.astype(np.float32)
    expected = roi_heads.paste_masks_in_image(
        torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), (180, 240)
    )[:, 0].numpy()
    is_clear = np.abs(expected - 0.5) >= 1e-5
    pasted = paste(masks, boxes, (180, 240))
    np.testing.assert_array_equal(pasted[is_clear], (expected > 0.5)[is_clear])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize("make", [noise, blobs])
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 90), (90, 1), (33, 64), (150, 200)])
def test_run_lengths_are_those_of_pycocotools(make: Any, size_hw: tuple[int, int]) -> None:
    mask_api = pytest.importorskip("pycocotools.mask")
    masks = np.concatenate([make(20, 14), np.ones((2, 14, 14), np.float32)])
    boxes = random_boxes(22, size_hw)
    boxes[20:] = [-300, -300, 500, 500]  # covers all: a first run of no zeros and no last one
    runs = paste_masks_rle(masks, boxes, size_hw)
    for rle in runs:
        decoded = mask_api.decode(rle)
        np.testing.assert_array_equal(decoded, decode(rle))
        assert mask_api.encode(np.asfortranarray(decoded)) == rle
    assert runs == reference.paste_masks_rle(masks, boxes, size_hw)


def test_kernel_refuses_what_it_could_not_index() -> None:
    masks, boxes = np.zeros((2, 3, 3), np.float32), np.zeros((2, 4), np.float32)
    out = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="a plane per mask"):
        paste_masks_cpu(masks, boxes, threshold=0.5, is_zero=False, out=out)
    with pytest.raises(ValueError, match="squares of at least 1"):
        paste_masks_rle_cpu(masks[:, 1:].copy(), boxes, height=4, width=4, threshold=0.5)
    with pytest.raises(ValueError, match="a row per mask"):
        paste_masks_rle_cpu(masks, boxes[1:], height=4, width=4, threshold=0.5)


GOOD: dict[str, Any] = {
    "masks": np.zeros((2, 3, 3), np.float32),
    "boxes_xyxy": np.zeros((2, 4), np.float32),
    "size_hw": (6, 8),
}


@pytest.mark.parametrize("function", [paste_masks, paste_masks_rle])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": np.zeros((3, 3), np.float32)}, r"`masks` must have shape \(N, M, M\)"),
        ({"masks": np.zeros((2, 3, 4), np.float32)}, "`masks` must be squares of at least 1"),
        ({"masks": np.zeros((2, 0, 0), np.float32)}, "`masks` must be squares of at least 1"),
        ({"boxes_xyxy": np.zeros((3, 4), np.float32)}, r"`boxes_xyxy` must have shape \(2, 4\)"),
        ({"size_hw": (0, 8)}, r"`size_hw` must be 1 to 2\*\*22 each, got \(0, 8\)"),
        ({"size_hw": (8, 2**22 + 1)}, r"`size_hw` must be 1 to 2\*\*22 each"),
        ({"threshold": 1.5}, r"`threshold` must be in \[0, 1\], got 1.5"),
        ({"threshold": float("nan")}, r"`threshold` must be in \[0, 1\], got nan"),
    ],
)
def test_refuses_values(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{function.__name__}: {message}"):
        function(**GOOD | options)


@pytest.mark.parametrize("function", [paste_masks, paste_masks_rle])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": np.zeros((2, 3, 3))}, "`masks` must be float32, got float64"),
        ({"boxes_xyxy": np.zeros((2, 4), np.int32)}, "`boxes_xyxy` must be float32, got int32"),
    ],
)
def test_refuses_types(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{function.__name__}: {message}"):
        function(**GOOD | options)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((2, 8, 6), np.bool_), ValueError, r"`out` must have shape \(2, 6, 8\)"),
        (np.zeros((2, 8, 6), np.bool_).swapaxes(1, 2), ValueError, "`out` must be C-contiguous"),
        (np.zeros((2, 6, 8), np.uint8), TypeError, "`out` must be bool, got uint8"),
    ],
)
def test_refuses_outputs(out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^paste_masks: {message}"):
        paste_masks(**GOOD, out=out)
