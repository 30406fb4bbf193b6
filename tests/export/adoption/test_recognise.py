"""Every format that is adopted: recognised without being named, and decoded to a known object."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.adoption.adopt import Adoption, Preprocessing, adopt  # noqa: E402
from edgecv.output_spec import (  # noqa: E402
    ClassMapOutput,
    DetrOutput,
    FusedOutput,
    LogitsOutput,
    NanodetOutput,
    ObjectsOutput,
    ProbabilitiesOutput,
    RowsOutput,
    SSDOutput,
    YoloOutput,
    YoloxOutput,
)
from edgecv.runtime.model import load  # noqa: E402

from . import foreign_graphs as foreign  # noqa: E402

NAMES = ("cat", "dog")
FRAME = np.zeros((128, 128, 3), np.uint8)  # twice the input: every fit halves it
ULTRALYTICS = {
    "author": "Ultralytics",
    "names": "{0: 'cat', 1: 'dog'}",
    "stride": "32",
    "task": "detect",
    "imgsz": "[64, 64]",
}


def adopt_graph(
    tmp_path: Path, graph: foreign.Graph, classes: Any = NAMES, **options: Any
) -> Adoption:
    own = {"shape", "dtype", "metadata", "sizes_input"}
    made = {key: options.pop(key) for key in own & options.keys()}
    source = foreign.save_graph(tmp_path / "in.onnx", graph, **made)
    return adopt(source, tmp_path / "out.onnx", classes=classes, **options)


def assert_finds_the_object(path: Path) -> None:
    with load(path) as model:
        found = model(FRAME)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.scores, [foreign.SCORE], rtol=1e-3)  # float16 included
    np.testing.assert_allclose(found.boxes_xyxy, [np.array(foreign.OBJECT) * 2], atol=0.05)


DETECTORS: list[tuple[foreign.Graph, str, Any, str]] = [
    (
        foreign.yolo("cn"),
        "yolo",
        YoloOutput(head="output0"),
        "yolo (cn): one output [1, 6, 84] = 4 + 2 classes, the cells of strides 8, 16, 32 at 64x64",
    ),
    (foreign.yolo("nc"), "yolo", YoloOutput(head="output0", layout="nc"), "yolo (nc)"),
    (
        foreign.yolo_raw(),
        "yolo",
        YoloOutput(head="output0", reg_max=16),
        "[1, 66, 84] = 64 + 2 classes",
    ),
    (
        foreign.yolov5(),
        "yolov5",
        YoloOutput(head="output", layout="nc", has_objectness=True),
        "[1, 252, 7] = 5 + 2 classes, 3 x the cells of strides 8, 16, 32",
    ),
    (
        foreign.yolov5(per_cell=1),
        "yolox",
        YoloOutput(head="output", layout="nc", has_objectness=True),
        "the boxes lie on the grid",
    ),
    (
        foreign.yolov5(per_cell=1, objectness=1),
        "yolov5",
        YoloOutput(head="output", layout="nc", has_objectness=True),
        "[1, 84, 7] = 5 + 2 classes",
    ),
    (foreign.yolox(), "yolox", YoloxOutput(head="output"), "the boxes do not lie on the grid"),
    (foreign.nanodet(), "nanodet", NanodetOutput(head="output"), "[1, 85, 34] = 32 + 2 classes"),
    (
        foreign.rows(),
        "yolov10",
        RowsOutput(rows="output0"),
        "[1, 10, 6]: rows of x1, y1, x2, y2, score, class; the scores lie in 0..1",
    ),
    (
        foreign.queries("sigmoid"),
        "detr",
        DetrOutput(activation="sigmoid"),
        "boxes [1, 20, 4] and classes [1, 20, 2] of queries, sigmoids; the boxes lie in 0..1",
    ),
    (foreign.queries("softmax"), "detr", DetrOutput(), "no-object last"),
    (foreign.queries("none"), "detr", DetrOutput(activation="none"), "probabilities"),
    (
        foreign.queries("single"),
        "detr",
        DetrOutput(logits="output0", boxes="output0", activation="none"),
        "[1, 20, 6] = 4 + 2 classes for each query",
    ),
    (
        foreign.lists(),
        "torchvision",
        ObjectsOutput(first_label=1),
        "boxes `boxes`, labels `labels`, scores `scores`",
    ),
    (foreign.lists(has_batch=True), "detr", ObjectsOutput(), "of selected objects"),
    (
        foreign.counted(),
        "efficientnms",
        FusedOutput("num_dets", "det_boxes", "det_scores", "det_classes", None, None),
        "count `num_dets`",
    ),
]


@pytest.mark.parametrize(("graph", "format_", "output", "reason"), DETECTORS)
def test_a_detector_is_recognised_and_finds_its_object(
    tmp_path: Path, graph: foreign.Graph, format_: str, output: object, reason: str
) -> None:
    adoption = adopt_graph(tmp_path, graph)
    assert (adoption.format, adoption.spec.output) == (format_, output)
    assert adoption.reasons.startswith(format_)
    assert reason in adoption.reasons
    assert_finds_the_object(tmp_path / "out.onnx")


@pytest.mark.parametrize(("graph", "format_", "output", "reason"), DETECTORS)
def test_a_format_that_is_named_is_the_same(
    tmp_path: Path, graph: foreign.Graph, format_: Any, output: object, reason: str
) -> None:
    del reason
    assert adopt_graph(tmp_path, graph, format=format_).spec.output == output


CONVENTIONS: list[tuple[foreign.Graph, str, str, bool, bool, float]] = [
    # colours, fit, values in 0..1 before a mean, ImageNet's mean, threshold of the suppression
    (foreign.yolo(), "rgb", "letterbox", True, False, 0.7),
    (foreign.yolov5(), "rgb", "letterbox", True, False, 0.45),
    (foreign.yolox(), "bgr", "top-left", False, False, 0.65),
    (foreign.yolov5(per_cell=1), "bgr", "top-left", False, False, 0.65),
    (foreign.rows(), "rgb", "letterbox", True, False, 0.7),
    (foreign.queries("sigmoid"), "rgb", "stretch", True, False, 0.45),
    (foreign.queries("single"), "rgb", "stretch", True, False, 0.45),
    (foreign.queries("softmax"), "rgb", "top-left", True, True, 0.45),
    (foreign.lists(), "rgb", "top-left", True, False, 0.45),
]


@pytest.mark.parametrize(
    ("graph", "colour", "fit", "is_fraction", "has_mean", "threshold"), CONVENTIONS
)
def test_each_is_fed_as_its_project_feeds_it(
    tmp_path: Path,
    graph: foreign.Graph,
    colour: str,
    fit: str,
    *,
    is_fraction: bool,
    has_mean: bool,
    threshold: float,
) -> None:
    spec = adopt_graph(tmp_path, graph).spec
    assert (spec.input.colour, spec.input.fit, spec.input.pad) == (colour, fit, 114)
    assert spec.input.scale == (1 / 255 if is_fraction else 1)
    assert any(spec.input.mean) == has_mean
    assert spec.postprocess.iou_threshold == threshold


def test_what_the_user_says_goes_before_the_convention(tmp_path: Path) -> None:
    said = Preprocessing("bgr", "stretch", 0, 0.5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    wanted = adopt_graph(tmp_path, foreign.yolo(), preprocessing=said).spec.input
    assert (wanted.colour, wanted.fit, wanted.pad, wanted.scale) == ("bgr", "stretch", 0, 0.5)
    assert (wanted.mean, wanted.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


def test_several_classes_of_a_query_are_told_as_each_project_does(tmp_path: Path) -> None:
    def has_several(graph: foreign.Graph) -> bool:
        return adopt_graph(tmp_path, graph).spec.postprocess.multi_label

    sigmoid = foreign.queries("sigmoid")
    assert has_several(sigmoid)
    assert not has_several(foreign.queries("softmax"))
    assert not has_several(foreign.queries("single"))
    # RF-DETR, told by the names that its export gives.
    rf_detr = {"dets": sigmoid["pred_boxes"], "labels": sigmoid["logits"]}
    assert has_several(rf_detr)
    assert adopt_graph(tmp_path, rf_detr).spec.input.mean[0] == 0.485
    assert_finds_the_object(tmp_path / "out.onnx")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_ssd_is_recognised_by_its_anchors(tmp_path: Path, activation: str) -> None:
    anchors = tmp_path / "anchors.json"
    anchors.write_text(json.dumps(foreign.ANCHORS))
    adoption = adopt_graph(tmp_path, foreign.ssd(activation), anchors=anchors)
    assert isinstance(adoption.spec.output, SSDOutput)
    assert adoption.spec.output.activation == activation
    assert_finds_the_object(tmp_path / "out.onnx")


def test_an_ssd_without_anchors_is_asked_for_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"describe its anchors with `--anchors`"):
        adopt_graph(tmp_path, foreign.ssd())


@pytest.mark.parametrize(
    ("values", "output"),
    [
        (np.array([[1, 2]], np.float32), LogitsOutput(logits="out")),
        (np.array([[0.2, 0.8]], np.float32), ProbabilitiesOutput(probabilities="out")),
    ],
)
def test_a_classifier_is_told_by_its_sum(
    tmp_path: Path, values: np.ndarray, output: object
) -> None:
    adoption = adopt_graph(tmp_path, {"out": values})
    assert (adoption.spec.task, adoption.spec.output) == ("classify", output)
    assert adoption.spec.input.mean[0] == 0.485
    metadata = ULTRALYTICS | {"task": "classify"}
    own = adopt_graph(tmp_path, {"out": values}, metadata=metadata).spec.input
    assert (own.fit, own.mean, own.std) == ("centre-crop", (0.0,) * 3, (1.0,) * 3)


def test_segmenters_are_described(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (1, 2, 16, 16)).astype(np.float32)
    powers = np.exp(logits)
    cases: list[tuple[foreign.Graph, object, str]] = [
        ({"out": logits}, LogitsOutput(logits="out"), "logits"),
        ({"out": logits, "aux": logits / 2}, LogitsOutput(logits="out"), "logits"),
        (
            {"out": powers / powers.sum(axis=1, keepdims=True)},
            ProbabilitiesOutput(probabilities="out"),
            "probabilities",
        ),
        ({"out": logits.argmax(axis=1)}, ClassMapOutput(labels="out"), "class-map"),
        ({"out": logits.argmax(axis=1)[:, None]}, ClassMapOutput(labels="out"), "class-map"),
    ]
    for graph, output, format_ in cases:
        adoption = adopt_graph(tmp_path, graph)
        assert (adoption.format, adoption.spec.task) == (format_, "segment")
        assert adoption.spec.output == output
    outputs = [value.name for value in onnx.load(tmp_path / "out.onnx").graph.output]
    assert outputs == ["out"]


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (3, 64, 64)},
        {"shape": (1, 64, 64, 3)},
        {"shape": ("B", 3, 64, 64)},
        {"dtype": onnx.TensorProto.FLOAT16},
        {"dtype": onnx.TensorProto.UINT8},
        {"shape": (64, 64, 3), "dtype": onnx.TensorProto.UINT8},
    ],
)
def test_other_inputs_are_taken(tmp_path: Path, options: dict[str, Any]) -> None:
    adoption = adopt_graph(tmp_path, foreign.yolo(), **options)
    wanted = adoption.spec.input
    assert (wanted.layout == "nhwc") == (options.get("shape", (0,))[-1] == 3)
    assert (wanted.scale == 1) == (wanted.dtype == "uint8")
    assert_finds_the_object(tmp_path / "out.onnx")


def test_a_batch_of_a_fixed_size_is_taken(tmp_path: Path) -> None:
    graph = {name: np.concatenate([value] * 4) for name, value in foreign.yolo().items()}
    assert adopt_graph(tmp_path, graph, shape=(4, 3, 64, 64)).format == "yolo"
    assert_finds_the_object(tmp_path / "out.onnx")


def test_outputs_of_half_precision_are_read(tmp_path: Path) -> None:
    graph = {name: value.astype(np.float16) for name, value in foreign.yolo().items()}
    adopt_graph(tmp_path, graph)
    assert_finds_the_object(tmp_path / "out.onnx")


def test_the_size_of_the_image_is_fixed_where_the_graph_asks_for_it(tmp_path: Path) -> None:
    graph = dict(foreign.lists(has_batch=True))
    graph["boxes"] = graph["boxes"] / np.float32(64)
    adoption = adopt_graph(tmp_path, graph, sizes_input="orig_target_sizes")
    assert "`orig_target_sizes` is fixed at the input's width and height" in adoption.notes
    assert_finds_the_object(tmp_path / "out.onnx")


def test_masks_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    adoption = adopt_graph(tmp_path, foreign.lists(has_masks=True))
    assert adoption.notes == ("the output `masks` [2, 1, 64, 64] is left out",)
    names = {value.name for value in onnx.load(tmp_path / "out.onnx").graph.output}
    assert names == {"boxes", "labels", "scores"}
    assert_finds_the_object(tmp_path / "out.onnx")


def test_labels_count_from_the_background_where_it_is_named(tmp_path: Path) -> None:
    adoption = adopt_graph(tmp_path, foreign.lists(), ("background", "cat", "dog"))
    with load(tmp_path / "out.onnx") as model:
        assert model(FRAME).headline(adoption.spec.classes) == "1 dog"


def test_metadata_names_the_classes_and_the_size(tmp_path: Path) -> None:
    adoption = adopt_graph(
        tmp_path, foreign.yolo(), None, metadata=ULTRALYTICS, shape=("b", 3, "h", "w")
    )
    assert adoption.spec.classes == NAMES
    assert adoption.spec.input.size_hw == (64, 64)
    assert adoption.notes == (
        "the size (64, 64) is that of the file's metadata",
        "the 2 class names are those of the file's metadata",
    )
    assert_finds_the_object(tmp_path / "out.onnx")


@pytest.mark.parametrize("names", ["", "{0: 'cat'", "{1: 'cat', 2: 'dog'}", "7", "[[[[", "{}"])
def test_names_that_cannot_be_read_are_asked_for(tmp_path: Path, names: str) -> None:
    metadata = ULTRALYTICS | {"names": names, "imgsz": "[64, 'x']"}
    with pytest.raises(InputError, match=r"does not name its classes\. It seems to have 2 \(yolo"):
        adopt_graph(tmp_path, foreign.yolo(), None, metadata=metadata)
    with pytest.raises(InputError, match=r"does not name its classes\. It seems to have 2 \(yolo"):
        adopt_graph(tmp_path, foreign.yolo(), None, metadata=metadata, format="yolo")


def test_a_name_that_comes_twice_is_asked_for(tmp_path: Path) -> None:
    metadata = ULTRALYTICS | {"names": "['cat', 'cat']"}
    with pytest.raises(InputError, match=r"names several classes cat\. Name them with `--classes`"):
        adopt_graph(tmp_path, foreign.yolo(), None, metadata=metadata)


@pytest.mark.parametrize("task", ["pose", "segment", "obb"])
def test_a_task_that_is_not_adopted_is_refused(tmp_path: Path, task: str) -> None:
    with pytest.raises(InputError, match=rf"task `{task}`, and edgecv adopts"):
        adopt_graph(tmp_path, foreign.yolo(), metadata=ULTRALYTICS | {"task": task})


def test_the_number_of_classes_tells_formats_apart(tmp_path: Path) -> None:
    """107 columns are 102 classes of a YOLOX, or 103 of a YOLO without objectness."""
    names = tuple(f"class {k}" for k in range(103))
    head = foreign.yolov5(per_cell=1)["output"]
    wide = np.concatenate([head, np.full((1, 84, 100), 0.01, np.float32)], axis=2)
    assert adopt_graph(tmp_path, {"output": wide}, names[:102]).format == "yolox"
    assert adopt_graph(tmp_path, {"output": wide}, names).format == "yolo"
    with pytest.raises(InputError, match=r"seems to have 103 \(yolo\), or 102 \(yolox\)"):
        adopt_graph(tmp_path, {"output": wide}, None)


def test_what_cannot_be_decided_is_left_to_the_user(tmp_path: Path) -> None:
    zeros = {"out": np.zeros((1, 84, 6), np.float32)}
    message = r"in several ways with 2 classes: `--format yolo`: .*; `--format yolov10`: .*Choose"
    with pytest.raises(InputError, match=message):
        adopt_graph(tmp_path, zeros)
    assert adopt_graph(tmp_path, zeros, format="yolov10").format == "yolov10"
    assert adopt_graph(tmp_path, zeros, format="yolo").reasons.endswith("its values tell nothing")


def test_another_number_of_classes_is_refused_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"does not have 3 classes: it looks like yolov5 with 2 classes, .*"
    ):
        adopt_graph(tmp_path, foreign.yolov5(), ("a", "b", "c"))
    adopt_graph(tmp_path, foreign.rows(), ("a",))  # rows do not tell how many there are
    message = r"found an object of class 1, .* classes 0 to 0"
    with load(tmp_path / "out.onnx") as model, pytest.raises(InputError, match=message):
        model(FRAME)


def test_a_named_format_is_refused_where_the_values_refute_it(tmp_path: Path) -> None:
    head = foreign.yolo()["output0"].copy()
    head[:, :4] /= 64  # boxes as fractions of the input, as exports from TensorFlow have them
    with pytest.raises(InputError, match=r"`--format yolo`, but .*do not lie on the grid"):
        adopt_graph(tmp_path, {"output0": head}, format="yolo")
    logits = foreign.yolo()["output0"].copy()
    logits[:, 4:] -= 3
    with pytest.raises(InputError, match=r"the class columns do not lie in 0..1 \(-2\.9"):
        adopt_graph(tmp_path, {"output0": logits}, format="yolo")


def test_a_description_that_is_replaced_is_mentioned(tmp_path: Path) -> None:
    assert adopt_graph(tmp_path, foreign.yolo()).notes == ()
    again = adopt(tmp_path / "out.onnx", tmp_path / "again.onnx", classes=("a", "b"))
    assert again.notes == ("the file had an edgecv description, which is replaced",)
    assert again.spec.classes == ("a", "b")


def test_nothing_that_fits_is_said_with_what_was_seen(tmp_path: Path) -> None:
    maps = {
        f"level{k}": np.zeros((1, 21, side, side), np.float32) for k, side in enumerate((8, 4, 2))
    }
    with pytest.raises(
        InputError, match=r"is none of yolo, .*`level2` \[1, 21, 2, 2\]\. Export it with decoded"
    ):
        adopt_graph(tmp_path, maps)


def test_operators_of_another_runtime_are_refused(tmp_path: Path) -> None:
    source = foreign.save_graph(tmp_path / "in.onnx", foreign.yolo())
    model = onnx.load(source)
    model.opset_import.append(onnx.helper.make_opsetid("TRT", 1))
    model.graph.node.append(
        onnx.helper.make_node("EfficientNMS_TRT", ["output0"], ["num_dets"], domain="TRT")
    )
    onnx.save(model, source)
    with pytest.raises(InputError, match=r"cannot run: EfficientNMS_TRT\. Export it without"):
        adopt(source, tmp_path / "out.onnx", classes=NAMES)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 64, 64), r"got \[1, 1, 64, 64\] float"),
        ((1, 3, 64, 64, 1), r"got \[1, 3, 64, 64, 1\] float"),
        (("b", 3, "h", "w"), r"leaves its input size open .* with `--size`"),
    ],
)
def test_inputs_that_are_no_image_are_refused(
    tmp_path: Path, shape: tuple[int | str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        adopt_graph(tmp_path, foreign.yolo(), shape=shape)


def test_a_graph_that_does_not_run_at_the_size_is_refused(tmp_path: Path) -> None:
    helper = onnx.helper
    nodes = [helper.make_node("Reshape", ["images", "shape"], ["out"])]
    graph = helper.make_graph(
        nodes,
        "fixed inside",
        [helper.make_tensor_value_info("images", 1, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("out", 1, [1, 6, 84])],
        [onnx.numpy_helper.from_array(np.array([1, 6, 84], np.int64), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(InputError, match=r"does not run at \(64, 64\) in onnxruntime: .*--size"):
        adopt(
            tmp_path / "in.onnx",
            tmp_path / "out.onnx",
            classes=NAMES,
            preprocessing=Preprocessing(size_hw=(64, 64)),
        )
