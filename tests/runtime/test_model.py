"""A model called with every kind of image, and the ways in which it refuses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

import edgecv
from edgecv.errors import InputError, SpecError
from edgecv.results import Detections
from edgecv.runtime.model import Model, load
from edgecv.runtime.postprocess import refuse_unsupported
from edgecv.runtime.session import open_session
from edgecv.spec import (
    DetrOutput,
    FusedOutput,
    ImageOutput,
    InputSpec,
    LogitsOutput,
    ModelSpec,
    OutputSpec,
    Task,
)


def assert_same(left: Detections, right: Detections) -> None:
    np.testing.assert_array_equal(left.boxes_xyxy, right.boxes_xyxy)
    np.testing.assert_array_equal(left.scores, right.scores)
    np.testing.assert_array_equal(left.class_ids, right.class_ids)


@pytest.fixture(scope="module")
def image(scenes: Path) -> Path:
    return min((scenes / "test").glob("*.png"))


@pytest.mark.parametrize("head", ["fused", "raw"])
def test_every_kind_of_image_gives_the_same(exported: Path, image: Path, head: str) -> None:
    with edgecv.load(exported / f"{head}.onnx") as model:
        expected = model(image)
        assert len(expected) > 0
        with Image.open(image) as opened:
            rgb = np.asarray(opened.convert("RGB"))
            assert_same(model(opened), expected)
        assert_same(model(str(image)), expected)
        assert_same(model(rgb, format="rgb24"), expected)
        assert_same(model(np.ascontiguousarray(rgb[:, :, ::-1])), expected)  # bgr24, as OpenCV


@pytest.mark.parametrize("head", ["fused", "raw"])
def test_results_keep_their_contract(exported: Path, image: Path, head: str) -> None:
    with load(exported / f"{head}.onnx") as model:
        found = model.with_thresholds(score=0.05, max_detections=10)(image)
        assert len(found) == 10
        assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32
        assert found.class_ids.dtype == np.int32
        assert found.boxes_xyxy.shape == (10, 4)
        assert (np.diff(found.scores) <= 0).all()
        assert set(found.class_ids.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("head", ["fused", "raw"])
def test_a_session_warms_up_with_its_defaults(exported: Path, head: str) -> None:
    session = open_session(exported / f"{head}.onnx", "cpu")
    assert session.backend == "onnxruntime cpu"
    session.warm_up()
    batch = np.zeros((2, 3, *session.spec.input.size_hw), np.float32)
    assert all(len(output) == 2 for output in session.run(batch).values())
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(batch)


def test_thresholds_belong_to_the_copy(exported: Path) -> None:
    with load(exported / "raw.onnx") as model:
        before = model.spec.postprocess
        other = model.with_thresholds(score=0.9, iou=0.1)
        assert model.spec.postprocess == before
        assert (other.spec.postprocess.score_threshold, other.spec.postprocess.iou_threshold) == (
            0.9,
            0.1,
        )
        assert other.session is model.session


def test_a_threshold_out_of_range_is_refused(exported: Path) -> None:
    with load(exported / "raw.onnx") as model, pytest.raises(SpecError, match="score_threshold"):
        model.with_thresholds(score=1.5)


def test_an_array_of_another_kind_is_refused(exported: Path) -> None:
    with load(exported / "raw.onnx") as model:
        with pytest.raises(TypeError, match="uint8"):
            model(np.zeros((8, 8, 3), np.float32))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="frame"):
            model(np.zeros((8, 8), np.uint8))


def test_threads_do_not_change_a_result(exported: Path, image: Path) -> None:
    with load(exported / "raw.onnx", threads=1) as one, load(exported / "raw.onnx") as many:
        np.testing.assert_allclose(one(image).scores, many(image).scores, atol=1e-5)


class FixedSession:
    """A session with a description and nothing behind it."""

    backend = "none"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def run(self, *_: object) -> dict[str, np.ndarray]:
        raise AssertionError("never run")

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


def test_a_threshold_inside_the_graph_cannot_be_chosen() -> None:
    output = FusedOutput(score_threshold=None)
    model = Model(FixedSession(ModelSpec("detect", ("a",), InputSpec("x", (8, 8)), output)))
    assert model.with_thresholds(iou=0.3).spec.postprocess.iou_threshold == 0.3
    with pytest.raises(InputError, match=r"score threshold is fixed.*--head raw"):
        model.with_thresholds(score=0.3)


@pytest.mark.parametrize(
    ("task", "output", "wanted", "key"),
    [
        ("segment", LogitsOutput(), {}, "task"),
        ("stylize", ImageOutput(), {}, "task"),
        ("detect", DetrOutput(), {}, "output.format"),
        ("detect", FusedOutput(), {"layout": "nhwc"}, "input.layout"),
        ("detect", FusedOutput(), {"dtype": "float16"}, "input.dtype"),
        (
            "detect",
            FusedOutput(),
            {"colour": "gray", "mean": (0.0,), "std": (1.0,)},
            "input.colour",
        ),
    ],
)
def test_what_can_be_described_but_not_run_is_said(
    task: Task, output: OutputSpec, wanted: dict[str, object], key: str
) -> None:
    classes = () if task == "stylize" else ("a",)
    spec = ModelSpec(task, classes, InputSpec("x", (8, 8), **wanted), output)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=f"`{key}`"):
        refuse_unsupported(spec)


def test_a_description_of_another_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    from edgecv.export.metadata import write_spec

    model = onnx.load(exported / "raw.onnx")
    with load(exported / "fused.onnx") as fused:
        write_spec(model, fused.spec)
    onnx.save(model, tmp_path / "mixed.onnx")
    with pytest.raises(InputError, match=r"names `num_detections`.*logits, offsets"):
        load(tmp_path / "mixed.onnx")
