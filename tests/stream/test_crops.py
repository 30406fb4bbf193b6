"""The second model: it sees each object, cut out of the frame, and answers row by row."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.output_spec import YoloOutput
from edgecv.placement import Placement
from edgecv.results import Classification, Detections
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.crops import OnCrops
from edgecv.stream.sources import Frame


class Sizes:
    """A classifier that tells height, width and mean of what it sees."""

    spec = ModelSpec("detect", ("a", "b", "c"), InputSpec("images", (8, 8)), YoloOutput())
    answers_later, num_requests, prefers_batches = False, 1, True

    def __init__(self, max_batch: int = 1) -> None:
        self.max_batch = max_batch
        self.num_runs = 0

    def stages(self, _format: str) -> bool:
        return False

    def fit(
        self, pixels: NDArray[np.uint8], *, out: NDArray[np.float32], **_: Any
    ) -> tuple[Any, Placement]:
        out[:, 0, 0] = *pixels.shape[:2], pixels.mean()
        return out[None], Placement.of(pixels.shape, (8, 8), "letterbox")

    def infer(self, batch: NDArray[np.float32]) -> dict[str, Any]:
        self.num_runs += 1
        return {"sizes": batch[:, :, 0, 0].copy()}

    def backend_of(self, _outputs: dict[str, Any]) -> str:
        return "fake"

    def finish(self, outputs: dict[str, Any], _: Placement) -> Classification:
        return Classification(outputs["sizes"][0])


PIXELS = np.zeros((60, 80), np.uint8)
PIXELS[10:30, 20:60] = 200
FRAME = Frame(0, PIXELS, "gray8")
FOUND = Detections(
    np.array([[20, 10, 60, 30], [0, 0, 5, 50], [70, 40, 100, 90], [5, 35, 15, 55]], np.float32),
    np.array([0.9, 0.8, 0.7, 0.6], np.float32),
    np.array([0, 0, 1, 2], np.int32),
)


def seen(model: Any, **options: Any) -> list[list[float] | None]:
    results = OnCrops(model, **options)(FRAME, FOUND)
    return [
        r.probabilities.tolist() if isinstance(r, Classification) else None for r in results.results
    ]


@pytest.mark.parametrize("max_batch", [1, 2, 8])
def test_each_object_is_seen_by_itself(max_batch: int) -> None:
    model = Sizes(max_batch)
    # The second is narrower than 8 pixels, the third is cut by the frame.
    assert seen(model, margin=0.0) == [[20, 40, 200], None, [20, 10, 0], [20, 10, 0]]
    assert model.num_runs == -(-3 // max_batch)


def test_a_margin_shows_what_is_around() -> None:
    assert seen(Sizes(), margin=0.25)[0] == [30, 60, pytest.approx(200 * 800 / 1800, rel=1e-5)]


def test_only_some_are_looked_at() -> None:
    assert [r is not None for r in seen(Sizes(), class_ids=(1, 2))] == [False, False, True, True]
    assert [r is not None for r in seen(Sizes(), max_crops=1)] == [True, False, False, False]
    assert [r is not None for r in seen(Sizes(), min_side=1)] == [True] * 4


def test_nothing_found_runs_nothing() -> None:
    model: Any = Sizes()
    assert len(OnCrops(model)(FRAME, Detections.empty())) == 0
    assert model.num_runs == 0


def test_a_detector_on_crops_answers_in_the_frame_s_pixels(fake_model: type[Any]) -> None:
    # It finds from x = the first pixel's value, here 200 but at most two from the edge.
    results = OnCrops(fake_model(), margin=0.0)(FRAME, FOUND[:1])
    (found,) = results.results
    assert isinstance(found, Detections)
    assert found.boxes_xyxy.tolist() == [[20 + 38, 11, 59, 29]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -0.1}, "`margin` must be finite and at least 0, got -0.1"),
        ({"min_side": 0}, "`min_side` must be at least 1, got 0"),
        ({"max_crops": 0}, "`max_crops` must be at least 1, got 0"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    model: Any = Sizes()
    with pytest.raises(InputError, match=f"^crops: {message}"):
        OnCrops(model, **options)


def test_refuses_a_model_that_tells_of_each_pixel() -> None:
    model: Any = SimpleNamespace(spec=SimpleNamespace(task="segment"))
    with pytest.raises(InputError, match=r"^crops: a model of task segment"):
        OnCrops(model)
