"""A region of interest: what lies in it is found where it is, as if the frame ended there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.placement import Placement
from edgecv.results import Classification, Detections
from edgecv.stream.interest import RegionOfInterest
from edgecv.stream.sources import Frame


def test_a_region_of_interest_is_the_frame_cut_out(exported: Path, scenes: Path) -> None:
    import edgecv
    from edgecv.images import read_image

    picture = read_image(min((scenes / "test").glob("*.png")))
    frame = Frame(0, picture, "rgb24")
    height, width = frame.size_hw
    x1, y1 = width // 4, height // 5
    with edgecv.load(exported / "raw.onnx") as model:
        low = model.with_thresholds(score=0.05)
        expected = low(np.ascontiguousarray(picture[y1:, x1:]), format="rgb24")
        found = RegionOfInterest(low, (x1, y1, width, height))(frame)
        relative = RegionOfInterest(low, (x1 / width, y1 / height, 1, 1), is_relative=True)(frame)
    assert isinstance(expected, Detections)
    assert isinstance(found, Detections)
    assert isinstance(relative, Detections)
    assert len(found) > 0
    offset = np.array([x1, y1, x1, y1], np.float32)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy + offset, atol=1e-3)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(relative.boxes_xyxy, found.boxes_xyxy)


def test_refuses_a_box_and_a_task(fake_model: type[Any]) -> None:
    model: Any = fake_model()
    frame = Frame(0, np.zeros((38, 54, 3), np.uint8), "bgr24")
    labels: Any = SimpleNamespace(spec=SimpleNamespace(task="segment"))
    with pytest.raises(InputError, match="a model of task segment tells of each pixel"):
        RegionOfInterest(labels, (0, 0, 9, 9))
    with pytest.raises(InputError, match=r"must be x1 < x2.*got \(5, 0, 5, 9\)"):
        RegionOfInterest(model, (5, 0, 5, 9))
    with pytest.raises(InputError, match=r"a relative box must be in \[0, 1\], got \(0, 0, 2, 1\)"):
        RegionOfInterest(model, (0, 0, 2, 1), is_relative=True)
    with pytest.raises(InputError, match=r"outside of the frame of 38 x 54 pixels"):
        RegionOfInterest(model, (100, 0, 120, 9))(frame)


def test_a_classifier_looks_at_a_region(fake_model: type[Any]) -> None:
    class Brightness(fake_model):  # type: ignore[misc]
        def fit(self, pixels: NDArray[np.uint8], *, out: Any, **_: Any) -> tuple[Any, Placement]:
            out[:] = pixels.mean()
            return out[None], Placement.of(pixels.shape, (8, 8), "stretch")

        def finish(self, outputs: dict[str, Any], _: Placement) -> Classification:
            return Classification(outputs["output0"][0, :, 0, 0])

    pixels = np.zeros((20, 20), np.uint8)
    pixels[:, 10:] = 100
    model: Any = Brightness()
    result = RegionOfInterest(model, (10, 0, 20, 20))(Frame(0, pixels, "gray8"))
    assert isinstance(result, Classification)
    assert result.score == 100
