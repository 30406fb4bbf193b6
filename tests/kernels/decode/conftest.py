"""Heads to decode, and the comparison with the reference."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import EdgeNmsOutput, decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.reference.decoding import Decoded
from edgecv.results import Detections

from ..conftest import Place  # noqa: TID252  # the folder above

Floats = NDArray[np.float32]
Decode = Callable[..., Detections]

EPS = float(np.finfo(np.float32).eps)

# An exponential is good to 2 units in the last place, of an argument that is rounded itself and at
# most 8 here; a softmax sums up to 22 of them. Boxes are such values times at most 640 pixels.
SCORE_TOLERANCE = 64 * EPS
BOX_TOLERANCE = 64 * EPS * 640

SIZE_HW = (96, 72)  # 72 is no multiple of 16, 32 and 64: the last column of cells sticks out


def num_points(strides: tuple[int, ...]) -> int:
    return sum(-(-SIZE_HW[0] // s) * -(-SIZE_HW[1] // s) for s in strides)


def make_ssd_head(count: int, *, num_classes: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    anchors = np.hstack([rng.uniform(0, 96, (count, 2)), rng.uniform(8, 64, (count, 2))])
    offsets, logits = rng.normal(0, 1, (count, 4)), rng.normal(0, 2, (count, 1 + num_classes))
    return offsets.astype(np.float32), logits.astype(np.float32), anchors.astype(np.float32)


def make_yolo_head(count: int, *, num_classes: int, seed: int = 0) -> Floats:
    """Channels first."""
    rng = np.random.default_rng(seed)
    boxes = np.vstack([rng.uniform(0, 96, (2, count)), rng.uniform(4, 48, (2, count))])
    return np.vstack([boxes, rng.random((num_classes, count)) ** 3]).astype(np.float32)


def make_yolo_dfl_head(*, num_classes: int, reg_max: int, seed: int = 0) -> Floats:
    """Channels first."""
    rng = np.random.default_rng(seed)
    shape = (4 * reg_max + num_classes, num_points((8, 16, 32)))
    return rng.normal(-2, 2, shape).astype(np.float32)


def make_yolox_head(*, num_classes: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    count = num_points((8, 16, 32))
    parts = [rng.normal(0, 1, (count, 4)), rng.random((count, 1 + num_classes)) ** 2]
    return np.hstack(parts).astype(np.float32)


def make_nanodet_head(*, num_classes: int, reg_max: int = 7, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    count = num_points((8, 16, 32, 64))
    parts = [rng.random((count, num_classes)) ** 2, rng.normal(0, 2, (count, 4 * (reg_max + 1)))]
    return np.hstack(parts).astype(np.float32)


@pytest.fixture(scope="module")
def ssd_head() -> Callable[..., tuple[Floats, Floats, Floats]]:
    return make_ssd_head


@pytest.fixture(scope="module")
def yolo_head() -> Callable[..., Floats]:
    return make_yolo_head


@pytest.fixture(scope="module")
def yolo_dfl_head() -> Callable[..., Floats]:
    return make_yolo_dfl_head


@pytest.fixture(scope="module")
def yolox_head() -> Callable[..., Floats]:
    return make_yolox_head


@pytest.fixture(scope="module")
def nanodet_head() -> Callable[..., Floats]:
    return make_nanodet_head


@pytest.fixture(scope="module")
def size_hw() -> tuple[int, int]:
    """The input of the heads that have one."""
    return SIZE_HW


@pytest.fixture(scope="module")
def assert_same() -> Callable[..., None]:
    def compare(actual: Detections, expected: Decoded, *, least: int = 1) -> None:
        boxes, scores, class_ids = expected
        assert len(actual) >= least
        np.testing.assert_array_equal(actual.class_ids, class_ids)
        np.testing.assert_allclose(actual.scores, scores, rtol=SCORE_TOLERANCE)
        np.testing.assert_allclose(actual.boxes_xyxy, boxes, rtol=0, atol=BOX_TOLERANCE)
        dtypes = [part.dtype for part in (actual.boxes_xyxy, actual.scores, actual.class_ids)]
        assert dtypes == [np.float32, np.float32, np.int32]

    return compare


class Decoders:
    """`decode_yolo` and `decode_ssd` in one place, on heads of NumPy."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def yolo(self, head: Floats, **options: Any) -> Detections:
        if self.place.name == "cpu":
            return decode_yolo(head, **options)
        return self._run(decode_yolo, (head,), head.size, options)

    def ssd(self, offsets: Floats, logits: Floats, anchors: Floats, **options: Any) -> Detections:
        if self.place.name == "cpu":
            return decode_ssd(offsets, logits, anchors, **options)
        return self._run(decode_ssd, (offsets, logits, anchors), logits.size, options)

    def _run(
        self, decode: Any, heads: tuple[Floats, ...], most: int, options: dict[str, Any]
    ) -> Detections:
        """Decode into poisoned rows, and look at those past the count."""
        options = options | {"max_detections": min(options["max_detections"], most)}
        rows = options["max_detections"]
        out = EdgeNmsOutput(
            self.place.poisoned((1,), np.int32),
            self.place.poisoned((1, rows, 4), np.float32),
            self.place.poisoned((1, rows), np.float32),
            self.place.poisoned((1, rows), np.int32),
        )
        decode(*(self.place.array(head) for head in heads), out=out, **options)
        counts, boxes, scores, class_ids = (self.place.numpy(array) for array in out)
        count = int(counts[0])
        assert not boxes[0, count:].any()
        assert not scores[0, count:].any()
        assert (class_ids[0, count:] == -1).all()
        return Detections(boxes[0, :count], scores[0, :count], class_ids[0, :count])


@pytest.fixture(scope="module")
def decoders(place: Place) -> Decoders:
    return Decoders(place)


@pytest.fixture(scope="module")
def gpu_decoders(gpu: Place) -> Decoders:
    return Decoders(gpu)


# Every decoder on a head of its own with 3 classes.
_RAW: dict[str, Any] = {"reg_max": 8, "size_hw": SIZE_HW}
_DECODERS: dict[str, Decode] = {
    "ssd": partial(decode_ssd, *make_ssd_head(200, num_classes=3)),
    "ssd sigmoid": partial(
        decode_ssd, *make_ssd_head(200, num_classes=2), activation="sigmoid", variances=(1.0, 1.0)
    ),
    "yolo": partial(decode_yolo, make_yolo_head(200, num_classes=3)),
    "yolo raw": partial(decode_yolo, make_yolo_dfl_head(num_classes=3, reg_max=8), **_RAW),
    "yolo raw multi": partial(
        decode_yolo, make_yolo_dfl_head(num_classes=3, reg_max=8), **_RAW, multi_label=True
    ),
    "yolox": partial(decode_yolox, make_yolox_head(num_classes=3), size_hw=SIZE_HW),
    "yolox multi": partial(
        decode_yolox, make_yolox_head(num_classes=3), size_hw=SIZE_HW, multi_label=True
    ),
    "nanodet": partial(decode_nanodet, make_nanodet_head(num_classes=3), size_hw=SIZE_HW),
}


@pytest.fixture(scope="session", params=_DECODERS.values(), ids=_DECODERS)
def decode(request: pytest.FixtureRequest) -> Decode:
    """Each decoder in turn, to be called with thresholds."""
    chosen: Decode = request.param
    return chosen
