"""resize_argmax against the reference, PyTorch and its own properties."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import reference, resize_argmax
from edgecv.kernels._native import resize_argmax_cpu
from edgecv.kernels.reference.segmentation import resized_logits
from edgecv.placement import FITS, Fit, Placement

from .conftest import Place, heavy

IN_TRITON = True

Logits = NDArray[np.float32]
Labels = NDArray[np.uint8]

EPS = float(np.finfo(np.float32).eps)

# Around the lanes (4, 8 or 16), the tile of 16 columns and the block of 4 vectors.
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 130]
MANY_CLASSES = [21, 33, 150, 255, 256]


def noise(shape: tuple[int, int, int], *, seed: int = 0) -> Logits:
    """Logits of which any class may win anywhere."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def regions(shape: tuple[int, int, int], *, seed: int = 0) -> Logits:
    """Logits as networks give them: each class wins in a region, with a margin."""
    rng = np.random.default_rng(seed)
    classes, height, width = shape
    y, x = np.mgrid[:height, :width]
    logits = np.empty(shape, np.float32)
    for plane in logits:
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        plane[:] = 8 - 0.5 * np.hypot(y - cy, x - cx)
    return logits + 0.1 * noise((classes, height, width), seed=seed + 1)


def run(
    place: Place,
    logits: Logits,
    size_hw: tuple[int, int],
    placement: Placement | None = None,
) -> tuple[Labels, NDArray[np.float32]]:
    """Labels and confidence in poisoned buffers, the labels computed with and without the other."""
    source = place.array(logits)
    out, again = (place.array(np.full(size_hw, poison, np.uint8)) for poison in (255, 254))
    confidence = place.array(np.full(size_hw, 7, np.float32))
    options: dict[str, Any] = {"placement": placement, "implementation": place.implementation}
    assert resize_argmax(source, size_hw, out=out, **options) is out
    resize_argmax(source, size_hw, out=again, confidence=confidence, **options)
    np.testing.assert_array_equal(place.numpy(out), place.numpy(again))
    return place.numpy(out), place.numpy(confidence)


def allowed_gap(logits: Logits, size_hw: tuple[int, int]) -> float:
    """How far below the best a label may be, by rounding.

    A value takes three interpolations of a product, a product and a sum, twice compared: 12 units
    of the largest logit. Positions in float32 are off by the rounding of scale, centre times scale
    and sum, 3 half units of the side, in both directions; a step of one position changes the
    difference of two classes by at most 4 times the largest logit. Sides whose ratio is a power of
    two have exact positions.
    """
    largest = float(np.abs(logits).max())
    sides = logits.shape[1:]
    exact = all(np.log2(a / b) % 1 == 0 for a, b in zip(sides, size_hw, strict=True))
    return largest * EPS * (12 + (0 if exact else 1.5 * 4 * sum(sides)))


def check_labels(
    place: Place, logits: Logits, size_hw: tuple[int, int], placement: Placement | None = None
) -> None:
    labels, confidence = run(place, logits, size_hw, placement)
    values = resized_logits(logits, size_hw, placement=placement)
    assert labels.max() < len(logits)
    chosen = np.take_along_axis(values, labels[None].astype(int), 0)[0]
    assert (values.max(0) - chosen).max() <= allowed_gap(logits, size_hw)
    expected = np.exp(chosen) / np.exp(values).sum(0)
    np.testing.assert_allclose(
        confidence, expected, rtol=0, atol=1e-5 + allowed_gap(logits, size_hw)
    )


@pytest.mark.parametrize("make", [noise, regions])
@pytest.mark.parametrize("width", WIDTHS)
def test_matches_reference_at_every_width(place: Place, make: Any, width: int) -> None:
    check_labels(place, make((5, 6, 9)), (13, width))
    check_labels(place, make((5, 6, width)), (13, 40))
    check_labels(place, make((3, 4, width)), (9, 4 * width))


@pytest.mark.parametrize("make", [noise, regions])
@pytest.mark.parametrize(
    "num_classes",
    [1, 2, 3, 4, 15, 16, 17, *(pytest.param(count, marks=heavy) for count in MANY_CLASSES)],
)
def test_matches_reference_at_every_number_of_classes(
    place: Place, make: Any, num_classes: int
) -> None:
    check_labels(place, make((num_classes, 4, 6)), (32, 48))
    check_labels(place, make((num_classes, 5, 7)), (23, 61))


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 5), (8, 16), (7, 200), (64, 3), (40, 41)])
@pytest.mark.parametrize("height", [1, 2, 5, 33])
def test_matches_reference_where_it_shrinks_and_where_it_grows(
    place: Place, height: int, size_hw: tuple[int, int]
) -> None:
    check_labels(place, noise((4, height, 70)), size_hw)
    check_labels(place, regions((4, height, 3)), size_hw)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    ("frame_hw", "input_hw"), [((90, 160), (64, 64)), ((100, 30), (32, 64)), ((40, 40), (96, 128))]
)
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_matches_reference_under_a_placement(
    place: Place, fit: Fit, frame_hw: tuple[int, int], input_hw: tuple[int, int], stride: int
) -> None:
    placement = Placement.of(frame_hw, input_hw, fit)
    shape = (4, input_hw[0] // stride, input_hw[1] // stride)
    check_labels(place, noise(shape), frame_hw, placement)
    check_labels(place, regions(shape), frame_hw, placement)


def test_a_placement_removes_the_bars(place: Place) -> None:
    # A frame of 8 x 16 in the middle rows of an input of 16 x 16, logits at a quarter of it: the
    # bars are class 0, the frame's left half is 1 and its right half 2.
    placement = Placement.of((8, 16), (16, 16), "letterbox")
    logits = np.zeros((3, 4, 4), np.float32)
    logits[0, [0, 3]] = 9
    logits[1, 1:3, :2] = 10
    logits[2, 1:3, 2:] = 10
    labels, _ = run(place, logits, (8, 16), placement)
    assert (labels[:, :8] == 1).all()
    assert (labels[:, 8:] == 2).all()


def test_a_stretch_is_no_placement(place: Place) -> None:
    logits = noise((5, 12, 20))
    placement = Placement.of((37, 83), (96, 160), "stretch")
    labels, _ = run(place, logits, (37, 83), placement)
    np.testing.assert_array_equal(labels, run(place, logits, (37, 83))[0])


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 40)),
    size_hw=st.tuples(st.integers(1, 40), st.integers(1, 80)),
    seed=st.integers(0, 99),
)
def test_matches_reference_at_any_size(
    place: Place, shape: tuple[int, int, int], size_hw: tuple[int, int], seed: int
) -> None:
    check_labels(place, noise(shape, seed=seed), size_hw)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), bits=st.integers(0, 3))
def test_equal_values_go_to_the_lower_class(place: Place, seed: int, bits: int) -> None:
    # Few small whole numbers and a growth by a power of two: every value is exact, ties abound.
    rng = np.random.default_rng(seed)
    logits = rng.integers(-1, 2, (6, 5, 7)).astype(np.float32)
    size_hw = (5 << bits, 7 << bits)
    labels, _ = run(place, logits, size_hw)
    np.testing.assert_array_equal(labels, reference.resize_argmax(logits, size_hw)[0])


@settings(max_examples=40)
@given(seed=st.integers(0, 999), special=st.sampled_from([np.nan, -np.inf]))
def test_nan_and_minus_infinity_are_below_every_number(
    place: Place, seed: int, special: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-1, 2, (4, 5, 24)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.2] = special
    if seed % 2:
        logits[:, :, 8:] = special  # where no class is left
    size_hw = (20, 96)
    labels, confidence = run(place, logits, size_hw)
    expected, probability = reference.resize_argmax(logits, size_hw)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(confidence, probability, rtol=0, atol=1e-5)
    assert np.isnan(confidence).any() == np.isnan(probability).any()


def test_a_class_that_wins_at_no_logit_may_win_between(place: Place) -> None:
    logits = np.array([[[10, 0]], [[0, 10]], [[9, 9]]], np.float32)
    labels, _ = run(place, logits, (4, 64))
    assert labels[0, :17].tolist() == [0] * 17
    assert set(labels[0, 22:42]) == {2}
    assert labels[0, -17:].tolist() == [1] * 17


def test_an_infinity_stays_a_label(place: Place) -> None:
    logits = noise((3, 4, 6))
    logits[1, 2, 3] = np.inf
    labels, _ = run(place, logits, (40, 60))
    assert labels.max() < 3


def test_large_and_tiny_logits(place: Place) -> None:
    for factor in (1e-30, 1e30):
        logits = noise((4, 5, 6)) * np.float32(factor)
        out = place.poisoned((40, 48), np.uint8)
        resize_argmax(place.array(logits), (40, 48), out=out, implementation=place.implementation)
        expected = resize_argmax(noise((4, 5, 6)), (40, 48))
        np.testing.assert_array_equal(place.numpy(out), expected)


@pytest.mark.parametrize(
    "margin", [10.0, *(pytest.param(m, marks=heavy) for m in (0.0, 1.0, 19.9, 20.1, 80.0, 200.0))]
)
def test_confidence_over_the_whole_range_of_margins(place: Place, margin: float) -> None:
    logits = np.zeros((256, 2, 2), np.float32)
    logits[17] = margin
    _, confidence = run(place, logits, (5, 21))
    np.testing.assert_allclose(confidence, 1 / (1 + 255 * np.exp(-margin)), rtol=0, atol=1e-5)


LARGE_FRAMES = [(270, 480), (135, 241), (100, 333)]


@pytest.mark.parametrize(
    "size_hw", [(17, 30), (33, 60), *(pytest.param(size, marks=heavy) for size in LARGE_FRAMES)]
)
@pytest.mark.parametrize("make", [noise, regions])
def test_agrees_with_pytorch(place: Place, make: Any, size_hw: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    logits = make((21, 34, 60))
    values = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], size_hw, mode="bilinear", align_corners=False
    )[0].numpy()
    labels, confidence = run(place, logits, size_hw)
    chosen = np.take_along_axis(values, labels[None].astype(int), 0)[0]
    assert (values.max(0) - chosen).max() < 1e-5
    expected = torch.softmax(torch.from_numpy(values), 0).max(0).values.numpy()
    np.testing.assert_allclose(confidence, expected, rtol=0, atol=1e-5)


def test_agrees_with_opencv(place: Place) -> None:
    cv2 = pytest.importorskip("cv2")
    logits = regions((8, 20, 30))
    pixels = cv2.resize(logits.transpose(1, 2, 0), (120, 80), interpolation=cv2.INTER_LINEAR)
    labels, _ = run(place, logits, (80, 120))
    chosen = np.take_along_axis(pixels, labels[..., None].astype(int), 2)[..., 0]
    assert (pixels.max(2) - chosen).max() < 1e-5


LABELS_OF_A_LEVEL = """
import hashlib
import numpy as np
from edgecv.kernels import resize_argmax

rng = np.random.default_rng(0)
digest = hashlib.sha256()
for special in (0.0, np.nan, np.inf, -np.inf):
    for shape, size_hw in (((9, 12, 20), (48, 80)), ((6, 7, 50), (31, 333)), ((5, 9, 90), (9, 40))):
        logits = rng.integers(-2, 3, shape).astype(np.float32)
        logits[rng.random(shape) < 0.1] = special
        digest.update(resize_argmax(logits, size_hw).tobytes())
print(digest.hexdigest())
"""


def test_labels_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", LABELS_OF_A_LEVEL],
            cwd=tmp_path,  # not the checkout, whose package has no native module
            env=os.environ | {"EDGECV_CPU_LEVEL": level},
            check=True,
            capture_output=True,
        ).stdout
        for level in ("v4", "v3", "baseline")
    }
    assert len(digests) == 1


def test_reads_views() -> None:
    logits = noise((9, 14, 20))
    view = logits[1::2, ::-1, 3:]
    np.testing.assert_array_equal(
        resize_argmax(view, (50, 60)), resize_argmax(view.copy(), (50, 60))
    )


def test_kernel_reads_no_further_than_the_logits() -> None:
    # The last logits lie at the end of the buffer, NaN and large values right after it.
    buffer = np.full(3 * 5 * 7 + 16, np.nan, np.float32)
    logits = buffer[: 3 * 5 * 7].reshape(3, 5, 7)
    logits[:] = noise((3, 5, 7))
    before = resize_argmax(logits, (20, 28))
    buffer[3 * 5 * 7 :] = 1e30
    np.testing.assert_array_equal(before, resize_argmax(logits, (20, 28)))


def test_kernel_refuses_what_it_could_not_index() -> None:
    out = np.empty((4, 4), np.uint8)
    options: dict[str, Any] = {"scale_yx": [1, 1], "bias_yx": [0, 0], "out": out}
    with pytest.raises(ValueError, match="1 to 256 classes"):
        resize_argmax_cpu(np.zeros((257, 2, 2), np.float32), confidence=None, **options)
    with pytest.raises(ValueError, match="must be at least 1"):
        resize_argmax_cpu(np.zeros((2, 0, 2), np.float32), confidence=None, **options)
    confidence = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="shape of `out`"):
        resize_argmax_cpu(np.zeros((2, 2, 2), np.float32), confidence=confidence, **options)


GOOD: dict[str, Any] = {"logits": np.zeros((2, 3, 4), np.float32), "size_hw": (6, 8)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logits": np.zeros((3, 4), np.float32)}, r"`logits` must have shape \(C, h, w\)"),
        ({"logits": np.zeros((0, 3, 4), np.float32)}, "`logits` must hold 1 to 256 classes"),
        ({"logits": np.zeros((257, 1, 1), np.float32)}, "`logits` must hold 1 to 256 classes"),
        ({"logits": np.zeros((2, 0, 4), np.float32)}, "`logits` must have sides of 1 to"),
        ({"size_hw": (0, 8)}, r"`size_hw` must be 1 to 2\*\*22 each, got \(0, 8\)"),
        ({"size_hw": (8, 2**22 + 1)}, r"`size_hw` must be 1 to 2\*\*22 each"),
        (
            {"placement": Placement.of((6, 9), (3, 4), "stretch")},
            r"`placement` must be that of a frame of `size_hw`, \(6, 8\), got one of \(6, 9\)",
        ),
        ({"layout": "hwc8"}, "`layout` must be linear for NumPy arrays, got 'hwc8'"),
        ({"layout": "nchw"}, "`layout` must be one of linear, hwc8, got 'nchw'"),
        ({"implementation": "cudnn"}, "`implementation` must be one of auto, cuda, triton"),
        ({"out": np.zeros((8, 6), np.uint8)}, r"`out` must have shape \(6, 8\), got \(8, 6\)"),
        ({"out": np.zeros((8, 6), np.uint8).T}, "`out` must be C-contiguous and writeable"),
        ({"confidence": np.zeros((6, 9), np.float32)}, r"`confidence` must have shape \(6, 8\)"),
        (
            {"confidence": np.zeros((6, 16), np.float32)[:, ::2]},
            "`confidence` must be C-contiguous and writeable",
        ),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^resize_argmax: {message}"):
        resize_argmax(**GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logits": np.zeros((2, 3, 4))}, "`logits` must be float32, got float64"),
        ({"logits": [[[0.0]]]}, "`logits` must be a NumPy array, got list"),
        ({"out": np.zeros((6, 8), np.int8)}, "`out` must be uint8, got int8"),
        ({"confidence": np.zeros((6, 8))}, "`confidence` must be float32, got float64"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^resize_argmax: {message}"):
        resize_argmax(**GOOD | options)
