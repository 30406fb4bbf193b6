"""Adopting third-party files: the right form is recognised, a wrong one refused with what it is."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgecv.errors import InputError, OutputError  # noqa: E402
from edgecv.export.adoption.adopt import Preprocessing, adopt  # noqa: E402
from edgecv.output_spec import NanodetOutput, SSDOutput, YoloOutput, YoloxOutput  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402

SIDE = 64
CELLS = {3: 84, 4: 85}  # 8x8 + 4x4 + 2x2, and the 1x1 of stride 64
LAYERS = [{"grid_hw": [2, 2], "shapes_wh": [[0.5, 0.5], [0.125, 0.5]]}]


def make_onnx(
    path: Path, *shapes: tuple[int, ...], size: Any = (SIDE, SIDE), inputs: int = 1
) -> Path:
    """Write a graph with outputs of zeros in the given shapes, that reads its input."""
    helper = onnx.helper
    nodes = [helper.make_node("ReduceMean", ["in0"], ["mean"], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["mean", "nought"], ["nothing"]))
    constants = [onnx.numpy_helper.from_array(np.float32(0), "nought")]
    outputs = []
    for index, shape in enumerate(shapes):
        constants.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), f"zero{index}"))
        nodes.append(helper.make_node("Add", [f"zero{index}", "nothing"], [f"out{index}"]))
        outputs.append(helper.make_tensor_value_info(f"out{index}", 1, shape))
    graph = helper.make_graph(
        nodes,
        "zeros",
        [helper.make_tensor_value_info(f"in{k}", 1, [1, 3, *size]) for k in range(inputs)],
        outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def adopt_zeros(tmp_path: Path, format_: Any, *shapes: tuple[int, ...], **options: Any) -> Any:
    source = make_onnx(tmp_path / "in.onnx", *shapes, size=options.pop("size", (SIDE, SIDE)))
    options.setdefault("preprocessing", Preprocessing())
    return adopt(source, tmp_path / "out.onnx", format_, ("cat", "dog"), **options).spec


@pytest.mark.parametrize(
    ("format_", "shape", "output"),
    [
        ("yolox", (1, CELLS[3], 7), YoloxOutput(head="out0")),
        ("yolo", (1, 6, CELLS[3]), YoloOutput(head="out0", layout="cn")),
        ("yolo", (1, CELLS[3], 6), YoloOutput(head="out0", layout="nc")),
        ("nanodet", (1, CELLS[4], 34), NanodetOutput(head="out0")),
        ("nanodet", (1, CELLS[3], 34), NanodetOutput(head="out0", strides=(8, 16, 32))),
    ],
)
def test_a_head_is_recognised_and_runs(
    tmp_path: Path, format_: str, shape: tuple[int, ...], output: object
) -> None:
    spec = adopt_zeros(tmp_path, format_, shape)
    assert spec.output == output
    with load(tmp_path / "out.onnx") as model:
        assert model.spec == spec
        model(np.zeros((48, 80, 3), np.uint8))  # decodes without a complaint about shapes


@pytest.mark.parametrize("swapped", [False, True])
def test_ssd_outputs_are_told_apart_by_shape(tmp_path: Path, *, swapped: bool) -> None:
    anchors = tmp_path / "anchors.json"
    anchors.write_text(json.dumps(LAYERS))
    shapes = [(1, 8, 4), (1, 8, 3)]
    spec = adopt_zeros(tmp_path, "ssd", *(shapes[::-1] if swapped else shapes), anchors=anchors)
    assert isinstance(spec.output, SSDOutput)
    assert spec.output.offsets == ("out1" if swapped else "out0")
    with load(tmp_path / "out.onnx") as model:
        found = model.with_thresholds(score=0.3)(np.zeros((SIDE, SIDE, 3), np.uint8))
    # Equal logits: each class a third. The square and the upright anchor of each cell stay.
    assert len(found) == 2 * 8
    np.testing.assert_allclose(found.scores, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy[0], [0, 0, 32, 32], atol=1e-4)


@pytest.mark.parametrize(
    ("format_", "shape", "fitting"),
    [
        ("yolo", (1, CELLS[3], 7), "yolox"),
        ("yolox", (1, 6, CELLS[3]), "yolo"),
        ("yolox", (1, CELLS[4], 34), "nanodet"),
    ],
)
def test_a_wrong_format_is_refused_with_the_right_one(
    tmp_path: Path, format_: str, shape: tuple[int, ...], fitting: str
) -> None:
    with pytest.raises(InputError, match=rf"--format {fitting}") as caught:
        adopt_zeros(tmp_path, format_, shape)
    assert str(list(shape)) in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()


def test_a_wrong_number_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"wants one output \[B, 84, 7\], got `out0` \[1, 84, 85\]"
    ):
        adopt_zeros(tmp_path, "yolox", (1, CELLS[3], 85))


def test_an_open_size_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--size"):
        adopt_zeros(tmp_path, "yolox", (1, CELLS[3], 7), size=("h", "w"))
    wanted = Preprocessing(size_hw=(SIDE, SIDE))
    spec = adopt_zeros(tmp_path, "yolox", (1, CELLS[3], 7), size=("h", "w"), preprocessing=wanted)
    assert spec.input.size_hw == (SIDE, SIDE)


def test_a_fixed_size_is_not_overruled(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fixed at"):
        adopt_zeros(tmp_path, "yolox", (1, 84, 7), preprocessing=Preprocessing(size_hw=(32, 32)))


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    source = make_onnx(tmp_path / "in.onnx", (1, 84, 7), inputs=2)
    with pytest.raises(InputError, match="one input, got 2: in0, in1"):
        adopt(source, tmp_path / "out.onnx", "yolox", ("a", "b"), preprocessing=Preprocessing())


def test_ssd_needs_anchors_and_others_have_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--anchors"):
        adopt_zeros(tmp_path, "ssd", (1, 8, 4), (1, 8, 3))
    anchors = tmp_path / "anchors.json"
    anchors.write_text('[{"grid_hw": [2, 2], "shapes": []}]')
    with pytest.raises(InputError, match="--anchors"):
        adopt_zeros(tmp_path, "yolox", (1, 84, 7), anchors=anchors)
    with pytest.raises(InputError, match=r"anchors\[0\].shapes"):
        adopt_zeros(tmp_path, "ssd", (1, 8, 4), (1, 8, 3), anchors=anchors)


def test_a_damaged_file_and_a_bad_place(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    source = make_onnx(tmp_path / "in.onnx", (1, 84, 7))
    names, blank = ("a", "b"), Preprocessing()
    with pytest.raises(InputError, match="not a valid ONNX file"):
        adopt(tmp_path / "text.onnx", tmp_path / "out.onnx", "yolox", names, preprocessing=blank)
    with pytest.raises(InputError, match="another file"):
        adopt(source, source, "yolox", names, preprocessing=blank)
    with pytest.raises(OutputError, match="cannot write"):
        adopt(source, source / "out.onnx", "yolox", names, preprocessing=blank)


def test_yolox_gains_the_conventions_of_its_project(shared_data: Path, tmp_path: Path) -> None:
    from edgecv.classes import parse_classes

    source = shared_data / "weights" / "yolox_nano_416.onnx"
    path = tmp_path / "yolox.onnx"
    spec = adopt(source, path, "yolox", parse_classes("coco")).spec
    assert (spec.input.colour, spec.input.fit, spec.input.pad) == ("bgr", "top-left", 114)
    assert math.isclose(spec.input.scale, 1.0)
    with load(path) as model:
        found = model(shared_data / "coco" / "val2017" / "000000000139.jpg")
    names = {spec.classes[class_id] for class_id in found.class_ids.tolist()}
    assert "tv" in names or "chair" in names or "person" in names


def make_classifier(path: Path, scores: list[float], *, is_softmax: bool) -> Path:
    """Write a graph [1, 3, 64, 64] -> [1, 2] of the same scores for every image."""
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
        helper.make_node("Add", ["scores", "nothing"], ["sum"]),
        helper.make_node("Softmax" if is_softmax else "Identity", ["sum"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", 1, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("out", 1, [1, 2])],
        [
            onnx.numpy_helper.from_array(np.array([scores], np.float32), "scores"),
            onnx.numpy_helper.from_array(np.float32(0), "nought"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("format_", ["logits", "probabilities"])
def test_a_classifier_is_fed_as_torchvisions_are(tmp_path: Path, format_: Any) -> None:
    source = make_classifier(tmp_path / "in.onnx", [1, 2], is_softmax=format_ == "probabilities")
    path = tmp_path / "out.onnx"
    spec = adopt(source, path, format_, ("cat", "dog")).spec
    assert (spec.task, spec.output.FORMAT, spec.input.fit) == ("classify", format_, "centre-crop")
    assert (spec.input.colour, spec.input.mean[0], spec.input.std[2]) == ("rgb", 0.485, 0.225)
    with load(path) as model:
        found = model(np.zeros((20, 30, 3), np.uint8))
    e = math.e
    np.testing.assert_allclose(found.probabilities, [1 / (1 + e), e / (1 + e)], atol=1e-6)


@pytest.mark.parametrize(
    ("format_", "is_softmax", "message"),
    [
        ("logits", True, r"`--format logits`, but .* are probabilities: .*Use `--format probab"),
        (
            "probabilities",
            False,
            r"are no probabilities: 1 to 2, their sum 3\. Use `--format logits`",
        ),
    ],
)
def test_scores_of_the_other_kind_are_refused(
    tmp_path: Path, format_: Any, message: str, *, is_softmax: bool
) -> None:
    source = make_classifier(tmp_path / "in.onnx", [1, 2], is_softmax=is_softmax)
    with pytest.raises(InputError, match=message):
        adopt(source, tmp_path / "out.onnx", format_, ("a", "b"), preprocessing=Preprocessing())
    assert not (tmp_path / "out.onnx").exists()


def test_a_classifier_with_other_classes_is_refused(tmp_path: Path) -> None:
    source = make_classifier(tmp_path / "in.onnx", [1, 2], is_softmax=False)
    message = r"with 3 classes at 64x64 wants one output \[B, 3\] or .*, got `out` \[1, 2\]"
    with pytest.raises(InputError, match=message):
        adopt(source, tmp_path / "o.onnx", "logits", ("a", "b", "c"), preprocessing=Preprocessing())
    with pytest.raises(InputError, match=r"wants .*The shapes fit `--format logits`"):
        adopt(source, tmp_path / "o.onnx", "yolo", ("a", "b"), preprocessing=Preprocessing())
