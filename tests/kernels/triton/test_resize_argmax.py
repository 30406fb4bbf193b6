"""The Triton resize_argmax against the reference and its own properties."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.kernels import reference  # noqa: E402
from edgecv.kernels.reference.segmentation import resized_logits  # noqa: E402
from edgecv.kernels.triton.resize_argmax import resize_argmax  # noqa: E402
from edgecv.placement import FITS, Fit, Placement  # noqa: E402

Logits = NDArray[Any]
Labels = NDArray[np.uint8]

EPS = float(np.finfo(np.float32).eps)


def noise(*shape: int, seed: int = 0) -> Logits:
    """Logits of which any class may win anywhere."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(
    device: str, logits: Logits, size_hw: tuple[int, int], placement: Placement | None = None
) -> Labels:
    """Labels in a poisoned buffer, of which no class has the number."""
    out = torch.full((len(logits), *size_hw), 255, dtype=torch.uint8, device=device)
    maps = torch.from_numpy(logits).to(device)
    with np.errstate(all="ignore"):  # interpreted, what a GPU does without a word is a warning
        assert resize_argmax(maps, size_hw, placement=placement, out=out) is out
    found: Labels = out.cpu().numpy()
    return found


def allowed_gap(logits: Logits, size_hw: tuple[int, int]) -> float:
    """How far below the best a label may be: see tests/kernels/test_resize_argmax.py."""
    largest = float(np.abs(logits).max())
    sides = logits.shape[2:]
    exact = all(np.log2(a / b) % 1 == 0 for a, b in zip(sides, size_hw, strict=True))
    return largest * EPS * (12 + (0 if exact else 1.5 * 4 * sum(sides)))


def check(
    device: str, logits: Logits, size_hw: tuple[int, int], placement: Placement | None = None
) -> None:
    found = run(device, logits, size_hw, placement)
    assert found.max() < logits.shape[1]
    for image, labels in zip(logits, found, strict=True):
        values = resized_logits(image, size_hw, placement=placement)
        chosen = np.take_along_axis(values, labels[None].astype(int), 0)[0]
        assert (values.max(0) - chosen).max() <= allowed_gap(logits, size_hw)


# Around the block of 128 columns, and where a frame is smaller than the logits.
@pytest.mark.parametrize("width", [1, 3, 31, 127, 128, 129])
def test_matches_the_reference_at_every_width(device: str, width: int) -> None:
    check(device, noise(2, 5, 6, 9), (7, width))
    check(device, noise(1, 3, 4, width), (3, 40))


@pytest.mark.parametrize("num_classes", [1, 2, 21, 256])
def test_matches_the_reference_at_every_number_of_classes(device: str, num_classes: int) -> None:
    check(device, noise(1, num_classes, 4, 6), (5, 48))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("frame_hw", "input_hw"), [((45, 80), (32, 32)), ((50, 15), (16, 32))])
def test_matches_the_reference_under_a_placement(
    device: str, fit: Fit, frame_hw: tuple[int, int], input_hw: tuple[int, int]
) -> None:
    placement = Placement.of(frame_hw, input_hw, fit)
    check(device, noise(2, 4, input_hw[0] // 4, input_hw[1] // 4), frame_hw, placement)


@settings(max_examples=10)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 20)),
    size_hw=st.tuples(st.integers(1, 12), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_matches_the_reference_at_any_size(
    device: str, shape: tuple[int, ...], size_hw: tuple[int, int], seed: int
) -> None:
    check(device, noise(*shape, seed=seed), size_hw)


@settings(max_examples=10)
@given(seed=st.integers(0, 999), bits=st.integers(0, 2))
def test_equal_values_go_to_the_lower_class(device: str, seed: int, bits: int) -> None:
    # Few small whole numbers and a growth by a power of two: every value is exact, ties abound.
    logits = np.random.default_rng(seed).integers(-1, 2, (1, 6, 5, 7)).astype(np.float32)
    size_hw = (5 << bits, 7 << bits)
    expected, _ = reference.resize_argmax(logits[0], size_hw)
    np.testing.assert_array_equal(run(device, logits, size_hw)[0], expected)


@settings(max_examples=10)
@given(seed=st.integers(0, 999), special=st.sampled_from([np.nan, -np.inf]))
def test_nan_and_minus_infinity_are_below_every_number(
    device: str, seed: int, special: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-1, 2, (1, 4, 5, 12)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.2] = special
    if seed % 2:
        logits[..., 8:] = special  # where no class is left
    expected, _ = reference.resize_argmax(logits[0], (10, 48))
    np.testing.assert_array_equal(run(device, logits, (10, 48))[0], expected)


def test_an_infinity_stays_a_label(device: str) -> None:
    logits = noise(1, 3, 4, 6)
    logits[0, 1, 2, 3] = np.inf
    assert run(device, logits, (12, 18)).max() < 3


def test_half_floats_are_compared_in_float32(device: str) -> None:
    halves = noise(2, 9, 6, 9).astype(np.float16)
    np.testing.assert_array_equal(
        run(device, halves, (17, 40)), run(device, halves.astype(np.float32), (17, 40))
    )


def test_reads_views_and_allocates_its_output(device: str) -> None:
    logits = torch.from_numpy(noise(4, 6, 8, 10)).to(device)[::2, 1::2, ::2, ::3]
    found = resize_argmax(logits, (9, 11))
    expected = run(device, logits.cpu().numpy().copy(), (9, 11))
    np.testing.assert_array_equal(found.cpu().numpy(), expected)
    channels_last = logits.to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(resize_argmax(channels_last, (9, 11)).cpu().numpy(), expected)


def test_no_images(device: str) -> None:
    assert run(device, noise(0, 3, 4, 5), (6, 7)).shape == (0, 6, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logits": (1, 257, 2, 2)}, r"`logits` must hold 1 to 256 classes, got \(1, 257, 2, 2\)"),
        ({"logits": (1, 0, 2, 2)}, "`logits` must hold 1 to 256 classes"),
        ({"logits": (1, 2, 0, 2)}, r"`logits` must have sides of 1 to 2\*\*22"),
        ({"logits": (2, 2, 2)}, r"`logits` must have shape \(B, C, h, w\), got \(2, 2, 2\)"),
        ({"size_hw": (0, 4)}, r"`size_hw` must be 1 to 2\*\*22 each, got \(0, 4\)"),
        ({"size_hw": (4, 2**22 + 1)}, "`size_hw` must be 1 to 2"),
        (
            {"placement": Placement.of((5, 4), (8, 8), "stretch")},
            r"`placement` must be that of a frame of `size_hw`, \(4, 4\), got one of \(5, 4\)",
        ),
        ({"out": (1, 4, 5)}, r"`out` must have shape \(1, 4, 4\), got \(1, 4, 5\)"),
    ],
)
def test_refuses_values(device: str, options: dict[str, Any], message: str) -> None:
    made: dict[str, Any] = {"logits": (1, 2, 2, 2), "size_hw": (4, 4)} | options
    made["logits"] = torch.zeros(made["logits"], device=device)
    if "out" in made:
        made["out"] = torch.zeros(made["out"], dtype=torch.uint8, device=device)
    with pytest.raises(ValueError, match=f"^resize_argmax: {message}"):
        resize_argmax(**made)


def test_refuses_types_and_views(device: str) -> None:
    with pytest.raises(TypeError, match="`logits` must be float32 or float16, got float64"):
        resize_argmax(torch.zeros(1, 2, 2, 2, dtype=torch.float64, device=device), (4, 4))
    out = torch.zeros(1, 4, 8, dtype=torch.uint8, device=device)[:, :, ::2]
    with pytest.raises(ValueError, match="`out` must be contiguous, got a view that is not"):
        resize_argmax(torch.zeros(1, 2, 2, 2, device=device), (4, 4), out=out)
