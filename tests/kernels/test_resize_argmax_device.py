"""resize_argmax on a GPU beyond what it does everywhere: batches, float16, HWC8, odd addresses."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import resize_argmax
from edgecv.kernels.reference.segmentation import resized_logits
from edgecv.placement import Placement

from .conftest import Place
from .device_slices import DeviceSlice
from .test_resize_argmax import allowed_gap

Logits = NDArray[np.floating[Any]]

# How far a probability may be from the processor's: each is within 1e-5 of the definition.
CONFIDENCE = 2e-5


def noise(shape: tuple[int, ...], *, seed: int = 0) -> NDArray[np.float32]:
    """Logits of which any class may win anywhere."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def waves(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Logits of which each class wins in a few coherent regions."""
    *_, classes, height, width = shape
    y, x = np.mgrid[:height, :width]
    planes = [
        3 * np.sin(0.05 * (c + 2) * x + c) + 3 * np.cos(0.04 * (c + 1) * y) for c in range(classes)
    ]
    return np.broadcast_to(np.float32(planes), shape) + np.float32(0.01) * noise(shape)


def hwc8(logits: Logits) -> NDArray[np.float16]:
    """Logits as TensorRT's kHWC8 has them, infinities where no class is."""
    classes = logits.shape[-3]
    padded = -(-classes // 8) * 8
    pixels = np.full((*logits.shape[:-3], *logits.shape[-2:], padded), np.inf, np.float16)
    pixels[..., :classes] = np.moveaxis(logits, -3, -1)
    return pixels


def check_like_the_processor(
    gpu: Place, logits: Logits, size_hw: tuple[int, int], **options: Any
) -> None:
    """Labels and confidence of a batch, in poisoned outputs, against each image's on the CPU."""
    shape = (len(logits), *size_hw)
    out, again = gpu.poisoned(shape, np.uint8), gpu.poisoned(shape, np.uint8)
    confidence = gpu.poisoned(shape, np.float32)
    planes = hwc8(logits) if options.get("layout") == "hwc8" else logits
    source = gpu.array(planes)
    assert resize_argmax(source, size_hw, out=out, **options) is out
    resize_argmax(source, size_hw, out=again, confidence=confidence, **options)
    np.testing.assert_array_equal(gpu.numpy(out), gpu.numpy(again))
    for image, labels, probability in zip(
        logits.astype(np.float32), gpu.numpy(out), gpu.numpy(confidence), strict=True
    ):
        expected = np.empty(size_hw, np.float32)
        # The same arithmetic in the same order: equal to the last bit.
        np.testing.assert_array_equal(labels, resize_argmax(image, size_hw, confidence=expected))
        np.testing.assert_allclose(probability, expected, rtol=0, atol=CONFIDENCE)


@pytest.mark.parametrize("make", [noise, waves])
@pytest.mark.parametrize("size_hw", [(40, 56), (37, 131), (9, 3), (200, 260)])
@pytest.mark.parametrize("num_classes", [1, 3, 8, 21])
def test_a_batch_is_its_images(
    gpu: Place, num_classes: int, size_hw: tuple[int, int], make: Any
) -> None:
    logits = make((2, num_classes, 9, 13))
    check_like_the_processor(gpu, logits, size_hw)
    half = logits.astype(np.float16)
    check_like_the_processor(gpu, half, size_hw)
    check_like_the_processor(gpu, half, size_hw, layout="hwc8", num_classes=num_classes)


@pytest.mark.parametrize("num_classes", [7, 9, 16, 255, 256])
def test_padded_classes_do_not_count(gpu: Place, num_classes: int) -> None:
    logits = noise((1, num_classes, 4, 5)).astype(np.float16)
    check_like_the_processor(gpu, logits, (16, 20), layout="hwc8", num_classes=num_classes)


# Rows between two rows of logits: whole items, parts of them, more than a band has, fewer than one;
# and so many columns of logits under a tile that the winners of all do not fit.
@pytest.mark.parametrize(
    ("logits_hw", "size_hw"),
    [
        ((12, 30), (96, 240)), ((24, 30), (96, 120)), ((33, 10), (96, 30)), ((20, 9), (99, 45)),
        ((3, 3), (120, 200)), ((1, 1), (70, 140)), ((1, 40), (40, 300)), ((50, 1), (300, 40)),
        ((64, 64), (64, 64)), ((50, 60), (25, 20)), ((2, 1024), (64, 128)), ((40, 2), (5, 500)),
    ],
)  # fmt: skip
def test_every_ratio_of_sides(
    gpu: Place, logits_hw: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    check_like_the_processor(gpu, waves((1, 5, *logits_hw)), size_hw)
    check_like_the_processor(gpu, noise((1, 5, *logits_hw)), size_hw)


@settings(max_examples=40)
@given(
    logits_hw=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    size_hw=st.tuples(st.integers(1, 80), st.integers(1, 300)),
    special=st.sampled_from([0.0, np.nan, -np.inf]),
    layout=st.sampled_from(["linear", "hwc8"]),
    seed=st.integers(0, 99),
)
def test_agrees_with_the_processor_at_any_size(
    gpu: Place,
    logits_hw: tuple[int, int],
    size_hw: tuple[int, int],
    special: float,
    layout: str,
    seed: int,
) -> None:
    # Few values that many classes share, so that ties abound.
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 4, (5, *logits_hw)).astype(np.float16) / 4
    logits[rng.random(logits.shape) < 0.1] = special
    planes = hwc8(logits) if layout == "hwc8" else logits
    labels, again = (
        gpu.numpy(resize_argmax(gpu.array(planes), size_hw, layout=layout, num_classes=5))
        for _ in range(2)
    )
    np.testing.assert_array_equal(labels, again)  # whatever the order of the threads
    expected = resize_argmax(logits.astype(np.float32), size_hw)
    # Rounding decides between nearly equal classes where one place computes and the other fills in.
    differs = labels != expected
    values = resized_logits(logits, size_hw)
    got, wanted = (
        np.take_along_axis(values, one[None].astype(int), 0)[0][differs]
        for one in (labels, expected)
    )
    assert (np.abs(got - wanted) <= allowed_gap(np.ones_like(logits), size_hw)).all()


def test_more_images_than_a_grid_has_layers(gpu: Place) -> None:
    logits = noise((70, 3, 4, 16))
    labels = gpu.numpy(resize_argmax(gpu.array(logits), (16, 100)))
    for image, expected in zip(labels, logits, strict=True):
        np.testing.assert_array_equal(image, resize_argmax(expected, (16, 100)))


def test_a_frame_of_more_bands_than_a_grid(gpu: Place) -> None:
    logits, size_hw = noise((2, 5000, 1)), (40_000, 3)
    labels = gpu.numpy(resize_argmax(gpu.array(logits), size_hw))
    np.testing.assert_array_equal(labels, resize_argmax(logits, size_hw))


@pytest.mark.parametrize("offset", [1, 2, 4])
@pytest.mark.parametrize("width", [128, 132])
def test_writes_to_any_address(gpu: Place, width: int, offset: int) -> None:
    logits, shape = waves((2, 4, 6, 20)), (2, 30, width)
    labels = gpu.poisoned((2 * 30 * width + 16,), np.uint8)
    confidence = gpu.poisoned((2 * 30 * width + 16,), np.float32)
    before = gpu.numpy(labels)
    resize_argmax(
        gpu.array(logits),
        shape[1:],
        out=DeviceSlice(labels, shape, np.uint8, offset),
        confidence=DeviceSlice(confidence, shape, np.float32, 4 * offset),
    )
    expected = [resize_argmax(image, shape[1:]) for image in logits]
    flat, end = gpu.numpy(labels), offset + 2 * 30 * width
    np.testing.assert_array_equal(flat[offset:end].reshape(shape), expected)
    np.testing.assert_array_equal(flat[:offset], before[:offset])
    np.testing.assert_array_equal(flat[end:], before[end:])
    assert np.isnan(gpu.numpy(confidence)).sum() == 16


def test_a_placement_is_that_of_every_image(gpu: Place) -> None:
    placement = Placement.of((90, 160), (64, 64), "letterbox")
    logits = waves((2, 4, 16, 16))
    labels = gpu.numpy(resize_argmax(gpu.array(logits), (90, 160), placement=placement))
    for image, expected in zip(labels, logits, strict=True):
        np.testing.assert_array_equal(
            image, resize_argmax(expected, (90, 160), placement=placement)
        )


def test_no_images(gpu: Place) -> None:
    labels = resize_argmax(gpu.array(noise((0, 3, 4, 5))), (8, 9))
    assert gpu.numpy(labels).shape == (0, 8, 9)


@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        (np.zeros((3, 4), np.float32), {}, r"`logits` must have shape \(C, h, w\), got \(3, 4\)"),
        (np.zeros((1, 1, 2, 3, 4), np.float32), {}, r"`logits` must have shape \(B, C, h, w\)"),
        (np.zeros((257, 3, 4), np.float32), {}, "`logits` must hold 1 to 256 classes"),
        (np.zeros((2, 0, 4), np.float32), {}, "`logits` must have sides of 1 to"),
        (np.zeros((2, 3, 4), np.float32), {"num_classes": 1}, "`num_classes` must be that of `lo"),
        (np.zeros((3, 4, 8), np.float16), {"layout": "hwc8", "num_classes": 9}, "`logits` must ho"),
        (np.zeros((3, 4, 8), np.float16), {"layout": "hwc8", "num_classes": 0}, "`logits` must ho"),
        (np.zeros((3, 4, 9), np.float16), {"layout": "hwc8"}, "`logits` must hold its classes pad"),
        (np.zeros((2, 3, 4), np.float32), {"size_hw": (0, 8)}, r"`size_hw` must be 1 to 2\*\*22"),
    ],
)
def test_refuses_values(gpu: Place, logits: Logits, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^resize_argmax: {message}"):
        resize_argmax(gpu.array(logits), **{"size_hw": (6, 8)} | options)


def test_refuses_outputs(gpu: Place) -> None:
    logits = gpu.array(noise((2, 2, 3, 4)))
    with pytest.raises(ValueError, match=r"`out` must have shape \(2, 6, 8\), got \(6, 8\)"):
        resize_argmax(logits, (6, 8), out=gpu.poisoned((6, 8), np.uint8))
    with pytest.raises(ValueError, match=r"`confidence` must have shape \(2, 6, 8\)"):
        resize_argmax(logits, (6, 8), confidence=gpu.poisoned((2, 6, 9), np.float32))
    with pytest.raises(TypeError, match="`out` must be uint8, got int8"):
        resize_argmax(logits, (6, 8), out=gpu.poisoned((2, 6, 8), np.int8))
    with pytest.raises(TypeError, match="`out` must be on the GPU, got a NumPy array"):
        resize_argmax(logits, (6, 8), out=np.zeros((2, 6, 8), np.uint8))


def test_refuses_types(gpu: Place) -> None:
    with pytest.raises(TypeError, match="`logits` must be float32 or float16, got float64"):
        resize_argmax(gpu.array(np.zeros((2, 3, 4))), (6, 8))
    with pytest.raises(TypeError, match="`logits` must be float16, got float32"):
        resize_argmax(gpu.array(np.zeros((3, 4, 8), np.float32)), (6, 8), layout="hwc8")
    with pytest.raises(TypeError, match="`logits` must be on the GPU, got a NumPy array"):
        resize_argmax(noise((2, 3, 4)), (6, 8), implementation="cuda")


def test_refuses_hwc8_at_an_odd_address(gpu: Place) -> None:
    logits = DeviceSlice(gpu.poisoned((200,), np.float16), (3, 4, 8), np.float16, offset=8)
    with pytest.raises(ValueError, match="`logits` must be aligned to 16 bytes in layout hwc8"):
        resize_argmax(logits, (6, 8), layout="hwc8")


@pytest.mark.parametrize(
    "option",
    [{"layout": "hwc8"}, {"num_classes": 2}, {"stream": SimpleNamespace(cuda_stream=0)}],
)
def test_refuses_what_triton_does_not_have(option: dict[str, Any]) -> None:
    name = next(iter(option))
    message = f"^resize_argmax: `{name}` must be .* with `implementation`"
    with pytest.raises(ValueError, match=message):
        resize_argmax(noise((2, 3, 4)), (6, 8), implementation="triton", **option)
