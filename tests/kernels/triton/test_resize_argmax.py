"""What the Triton resize_argmax takes: batches, half floats, tensors of any strides."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgecv.kernels import resize_argmax  # noqa: E402
from edgecv.placement import Placement  # noqa: E402

from ..conftest import Place  # noqa: E402, TID252
from ..test_resize_argmax import noise, run  # noqa: E402, TID252


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_batch_is_its_images(triton: Place, dtype: type) -> None:
    images = [noise((5, 6, 9), seed=k).astype(dtype) for k in range(3)]
    placement = Placement.of((17, 40), (24, 36), "letterbox")
    out, confidence = (triton.poisoned((3, 17, 40), kind) for kind in (np.uint8, np.float32))
    resize_argmax(
        triton.array(np.stack(images)), (17, 40), placement=placement, out=out,
        confidence=confidence, implementation="triton",
    )  # fmt: skip
    results = zip(images, triton.numpy(out), triton.numpy(confidence), strict=True)
    for image, labels, probability in results:
        expected = run(triton, image.astype(np.float32), (17, 40), placement)
        np.testing.assert_array_equal(labels, expected[0])
        np.testing.assert_array_equal(probability, expected[1])


def test_reads_views(triton: Place) -> None:
    logits = triton.array(np.stack([noise((6, 8, 10), seed=k) for k in range(4)]))
    view = logits[::2, 1::2, ::2, ::3]
    found = resize_argmax(view, (9, 11), implementation="triton")
    expected = [run(triton, image, (9, 11))[0] for image in triton.numpy(view)]
    np.testing.assert_array_equal(triton.numpy(found), expected)
    channels_last = view.to(memory_format=torch.channels_last)
    found = resize_argmax(channels_last, (9, 11), implementation="triton")
    np.testing.assert_array_equal(triton.numpy(found), expected)


def test_no_images(triton: Place) -> None:
    logits = triton.array(np.zeros((0, 3, 4, 5), np.float32))
    assert resize_argmax(logits, (6, 7), implementation="triton").shape == (0, 6, 7)


def test_refuses(triton: Place) -> None:
    def label(logits: Any, **outputs: Any) -> None:
        resize_argmax(logits, (6, 8), implementation="triton", **outputs)

    here = noise((2, 3, 4))
    logits, out = triton.array(here), triton.poisoned((8, 6), np.uint8)
    view = triton.poisoned((6, 16), np.float32)[:, ::2]
    with pytest.raises(ValueError, match=r"`out` must have shape \(6, 8\), got \(8, 6\)"):
        label(logits, out=out)
    with pytest.raises(ValueError, match="`confidence` must be contiguous, got a view that is not"):
        label(logits, confidence=view)
    with pytest.raises(TypeError, match="`logits` must be float32 or float16, got float64"):
        label(logits.double())
    with pytest.raises(ValueError, match="`logits` must hold 1 to 256 classes, got"):
        label(logits[:0])
    with pytest.raises(TypeError, match="`logits` must be a torch tensor, got ndarray"):
        label(here)
