"""A model called with every kind of image, and the ways in which it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

import edgecv
from edgecv.errors import InputError, SpecError
from edgecv.export.graphs.metadata import write_spec
from edgecv.kernels.letterbox import Colour
from edgecv.output_spec import (
    FusedOutput,
    ImageOutput,
    OutputSpec,
    YoloOutput,
)
from edgecv.results import Detections
from edgecv.runtime.model import Model, load
from edgecv.runtime.postprocess import refuse_unsupported
from edgecv.runtime.session import input_shape, open_session
from edgecv.spec import InputSpec, ModelSpec, Task


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
    ("task", "output", "key"),
    [
        ("stylize", ImageOutput(), "task"),
    ],
)
def test_what_can_be_described_but_not_run_is_said(
    task: Task, output: OutputSpec, key: str
) -> None:
    classes = () if task == "stylize" else ("a",)
    spec = ModelSpec(task, classes, InputSpec("x", (8, 8)), output)
    with pytest.raises(SpecError, match=f"`{key}`"):
        refuse_unsupported(spec)


def save_mean_model(path: Path, wanted: InputSpec, *, graph_input: InputSpec) -> None:
    """A detector of one object whose score is the mean of the input's first channel.

    The graph takes what `graph_input` says, the description that comes with it says `wanted`.
    """
    types = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
    kind = types.get(graph_input.dtype, TensorProto.UINT8)
    box = np.array([4, 4, 6, 6], np.float32).reshape(1, 4, 1)
    is_nchw = graph_input.layout == "nchw"
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["float", "first"], ["channel"], axis=1 if is_nchw else 3),
        helper.make_node("Mul", ["channel", "unit"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["output0"], axis=1),
    ]
    constants = {
        "first": np.int64(0),
        "unit": np.float32(1 / 255 if graph_input.dtype == "uint8" else 1),
        "one": np.ones(3, np.int64),
        "box": box,
    }
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", kind, [1, *input_shape(graph_input)])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    write_spec(model, ModelSpec("detect", ("a",), wanted, YoloOutput()))
    onnx.save(model, path)


RED, GREEN, BLUE = 200, 130, 80
GREY = 0.299 * RED + 0.587 * GREEN + 0.114 * BLUE  # BT.601


@pytest.mark.parametrize(("colour", "first_channel"), [("rgb", RED), ("bgr", BLUE), ("gray", GREY)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_every_kind_of_input_runs(
    tmp_path: Path,
    colour: Colour,
    first_channel: float,
    dtype: Literal["float32", "float16", "uint8"],
    layout: Literal["nchw", "nhwc"],
) -> None:
    channels = 1 if colour == "gray" else 3
    wanted = InputSpec(
        "x",
        (8, 10),
        layout,
        dtype,
        colour,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        scale=1.0 if dtype == "uint8" else 1 / 255,
        fit="stretch",
    )
    save_mean_model(tmp_path / "m.onnx", wanted, graph_input=wanted)
    with load(tmp_path / "m.onnx") as model:
        model.session.warm_up()
        frame = np.full((16, 30, 3), (BLUE, GREEN, RED), np.uint8)
        batch, _ = model.fit(frame)
        assert batch.dtype == dtype
        assert batch.shape == (1, *input_shape(wanted))
        found = model(frame)
        # Grey may be rounded to whole units first; float16 has 11 bits.
        assert found.scores[0] == pytest.approx(first_channel / 255, abs=0.51 / 255 + 2**-11)
        np.testing.assert_allclose(found.boxes_xyxy, [[3, 2, 21, 14]], atol=1e-4)


@pytest.mark.parametrize(
    "graph_input",
    [
        {"dtype": "float16"},
        {"layout": "nhwc"},
        {"size_hw": (8, 12)},
        {"colour": "gray", "mean": (0.0,), "std": (1.0,)},
    ],
)
def test_a_description_of_another_input_is_refused(
    tmp_path: Path, graph_input: dict[str, Any]
) -> None:
    wanted = InputSpec("x", (8, 10))
    save_mean_model(tmp_path / "m.onnx", wanted, graph_input=replace(wanted, **graph_input))
    with pytest.raises(InputError, match=r"`input` describes float32 \[B, 3, 8, 10\] \(nchw, rgb"):
        load(tmp_path / "m.onnx")


def test_a_frame_of_planes_is_an_image_too(tmp_path: Path) -> None:
    wanted = InputSpec("x", (8, 10), fit="stretch")
    save_mean_model(tmp_path / "m.onnx", wanted, graph_input=wanted)
    planes = tuple(np.full(size, 128, np.uint8) for size in ((16, 30), (8, 15), (8, 15)))
    with load(tmp_path / "m.onnx") as model:
        limited = model(planes, format="yuv420p").scores[0]
        full = model(planes, format="yuv420p", matrix="bt709", range="full").scores[0]
        assert limited == pytest.approx((128 - 16) / 219, abs=1 / 255)
        assert full == pytest.approx(128 / 255, abs=1 / 255)
        with pytest.raises(ValueError, match="letterbox: `frame` must be"):
            model(planes[:2], format="yuv420p")
        with pytest.raises(ValueError, match="letterbox: `format` must be one of"):
            model(planes, format="yuv9")  # type: ignore[arg-type]


@pytest.mark.parametrize("normalisation", [{"mean": (1.0, 0.0, 0.0)}, {"std": (1.0, 2.0, 1.0)}])
def test_whole_numbers_cannot_be_normalised(normalisation: dict[str, Any]) -> None:
    wanted = InputSpec("x", (8, 8), dtype="uint8", scale=1.0, **normalisation)
    spec = ModelSpec("detect", ("a",), wanted, YoloOutput())
    with pytest.raises(SpecError, match=r"`input.dtype` is 'uint8'.*Normalise inside the network"):
        refuse_unsupported(spec)


def test_a_description_of_another_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported / "raw.onnx")
    with load(exported / "fused.onnx") as fused:
        write_spec(model, fused.spec)
    onnx.save(model, tmp_path / "mixed.onnx")
    with pytest.raises(InputError, match=r"names `num_detections`.*logits, offsets"):
        load(tmp_path / "mixed.onnx")
