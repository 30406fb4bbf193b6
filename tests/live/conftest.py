"""A stream that gives what a test hands it, and a page that shows it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.closing import Closing
from edgecv.errors import InputError
from edgecv.frame_formats import frame_size_hw, planes_of
from edgecv.live import Address, LivePage
from edgecv.output_spec import YoloOutput
from edgecv.placement import Placement
from edgecv.results import Detections, Result
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.ledger import Ledger
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import Pipeline, StreamResult
from edgecv.stream.sources import Frame, Health

CLASSES = ("cat", "dog")
SIZE_HW = (48, 64)


class Camera(Closing):
    """Gives a frame whenever it is told to, of grey `index * 10`."""

    fps: float | None = None
    num_frames: int | None = None
    is_live = True
    size_hw: tuple[int, int] | None = SIZE_HW

    def __init__(self, name: str = "door") -> None:
        self.name = name
        self.health = Health()
        self._wanted = threading.Semaphore(0)
        self._is_closed = False

    def give(self) -> None:
        self._wanted.release()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            self._wanted.acquire()
            if self._is_closed:
                return
            pixels = np.full((*SIZE_HW, 3), index * 10 % 256, np.uint8)
            self.health = Health(num_frames=index + 1, num_corrupt=2, num_reconnects=1)
            yield Frame(index, pixels, "bgr24", pts_s=index / 25)
            index += 1

    def close(self) -> None:
        self._is_closed = True
        self._wanted.release()


class Finder:
    """A detector that finds a dog with the score 0.6, if the threshold lets it through."""

    answers_later, num_requests = False, 1
    backend = "fake cpu"
    max_batch = 1
    prefers_batches = False

    def __init__(self, spec: ModelSpec | None = None, *, has_fixed_score: bool = False) -> None:
        self.spec = spec or ModelSpec("detect", CLASSES, InputSpec("images", (8, 8)), YoloOutput())
        self.has_fixed_score = has_fixed_score

    def stages(self, _format: str) -> bool:
        return False

    def fit(
        self,
        frame: Any,
        *,
        format: Any,  # noqa: A002
        out: NDArray[np.float32],
        **_: Any,
    ) -> tuple[NDArray[np.float32], Placement]:
        out[:] = 0
        size_hw = frame_size_hw(planes_of("fit", frame, format))
        return out[None], Placement.of(size_hw, (8, 8), "letterbox")

    def infer(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"output0": batch.copy()}

    def backend_of(self, _outputs: Any) -> str:
        return self.backend

    def finish(self, _outputs: Any, _placement: Placement) -> Detections:
        if self.spec.postprocess.score_threshold >= 0.6:
            return Detections.empty()
        box = np.array([[10, 12, 30, 40]], np.float32)
        return Detections(box, np.array([0.6], np.float32), np.array([1], np.int32))

    def with_thresholds(
        self,
        *,
        score: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
    ) -> "Finder":
        if self.has_fixed_score and score is not None:
            raise InputError("the score threshold is fixed inside this graph. Export it anew.")
        spec = self.spec.with_postprocess(
            score_threshold=score, iou_threshold=iou, max_detections=max_detections
        )
        return Finder(spec, has_fixed_score=self.has_fixed_score)


class Show:
    """A page, the stream that it shows, and who consumes it."""

    def __init__(
        self, page: LivePage, cameras: list[Camera], model: Finder, notices: Notices
    ) -> None:
        self.page, self.cameras, self.model, self.notices = page, cameras, model, notices
        self.pipeline: Pipeline | None = None
        self.results: list[StreamResult] = []
        self._taken = threading.Semaphore(0)

    @contextmanager
    def running(self) -> Iterator[None]:
        with Pipeline(self.cameras, self.model, notices=self.notices) as pipeline:  # type: ignore[arg-type]
            self.pipeline = pipeline
            self.page.attach(pipeline)
            consumer = threading.Thread(target=self._consume)
            consumer.start()
            try:
                yield
            finally:
                for camera in self.cameras:
                    camera.close()
                pipeline.stop()
                consumer.join()

    def give(self, camera: int = 0) -> None:
        """Send a frame through the stream to the page."""
        self.cameras[camera].give()
        assert self._taken.acquire(timeout=20)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for the page's thread to notice something."""
        until_s = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < until_s
            time.sleep(0.005)

    def _consume(self) -> None:
        assert self.pipeline is not None
        for result in self.pipeline.results():
            self.results.append(result)
            self.page.publish(result)
            self._taken.release()


@contextmanager
def shown(
    *,
    num_cameras: int = 1,
    model: Finder | None = None,
    is_running: bool = True,
    **options: Any,
) -> Iterator[Show]:
    cameras = [Camera(name) for name in ("door", "yard", "gate")[:num_cameras]]
    notices, model = Notices(), model or Finder()
    options = {"max_fps": 1000, "title": "pets.onnx"} | options
    with LivePage(model.spec, Address(0), notices, **options) as page, ExitStack() as stack:
        show = Show(page, cameras, model, notices)
        if is_running:
            stack.enter_context(show.running())
        yield show


@pytest.fixture
def show() -> Callable[..., Any]:
    return shown


@pytest.fixture
def finder() -> type[Finder]:
    return Finder


def make_result(found: Result, *, source: str = "door", index: int = 3) -> StreamResult:
    pixels = np.full((*SIZE_HW, 3), 100, np.uint8)
    return StreamResult(Frame(index, pixels, "bgr24"), found, Ledger(0.0), source)


@pytest.fixture
def result_of() -> Callable[..., StreamResult]:
    return make_result


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():  # one whose work is over ends a moment later
        if thread.name.startswith("edgecv-"):
            thread.join(10)
    left = [each.name for each in threading.enumerate() if each.name.startswith("edgecv-")]
    assert left == []
