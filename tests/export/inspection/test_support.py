"""Which targets are said to run what: each rule by a graph that it speaks of and one next to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
import onnx
from onnx import TensorProto, helper

from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.inspection.support import TARGETS, THE_FILE, support
from edgecv.export.inspection.tensorrt_operators import importers, instead_of
from edgecv.export.inspection.tensorrt_rules import RULES

from .graphs import model, of, tensor

HERE = Path("made-here.onnx")
OLD, NEW, NEWEST = "tensorrt-10.3", "tensorrt-10.13", "tensorrt-11"
WEIGHT = np.ones((4, 3, 3, 3), np.float32)
INT64 = TensorProto.INT64


def verdicts(file: onnx.ModelProto, target: Any) -> list[tuple[str, str, str]]:
    found = support(file, HERE, target).findings
    return [(entry.operator, entry.verdict, entry.reason) for entry in found]


def typed(op_type: str, dtype: int, *, opset: int = 20, **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(op_type, ["x"], ["y"], "it", **attributes)
    return model([node], [tensor("x", [2, 3], dtype)], [tensor("y", None, dtype)], opset=opset)


def top_k(count: int) -> onnx.ModelProto:
    node = helper.make_node("TopK", ["x", "k"], ["best", "rows"], "it")
    outputs = [tensor("best", [1, count]), tensor("rows", [1, count], INT64)]
    return model([node], [tensor("x", [1, 9000])], outputs, {"k": np.array([count])})


SCALE = np.float32(0.1)


def quantise(zero_point: Any, opset: int = 20, scale: Any = SCALE) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    kind = TensorProto.FLOAT16 if np.asarray(scale).dtype == np.float16 else TensorProto.FLOAT
    ends = [tensor("x", [2, 3], kind)], [tensor("y", [2, 3], kind)]
    return model(nodes, *ends, {"s": scale, "z": zero_point}, opset=opset)


def roi_align(**attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("RoiAlign", ["x", "rois", "batch"], ["y"], "it", **attributes)
    inputs = [tensor("x", [1, 4, 8, 8]), tensor("rois", [5, 4]), tensor("batch", [5], INT64)]
    return model([node], inputs, [tensor("y", [5, 4, 1, 1])])


def resize(**attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], "it", **attributes)
    scales = {"s": np.array([1, 1, 2, 2], np.float32)}
    return model([node], [tensor("x", [1, 3, 4, 4])], [tensor("y", [1, 3, 8, 8])], scales)


def grid_sample(opset: int, **attributes: Any) -> onnx.ModelProto:
    shapes = [(1, 3, 4, 4), (1, 5, 5, 2)]
    return of("GridSample", shapes, (1, 3, 5, 5), opset=opset, **attributes)


def with_indices(op_type: str) -> onnx.ModelProto:
    pooled = helper.make_node(
        "MaxPool", ["x"], ["p", "i"], "pool", kernel_shape=[2, 2], strides=[2, 2]
    )
    back = helper.make_node(
        "MaxUnpool", ["p", "i"], ["y"], "back", kernel_shape=[2, 2], strides=[2, 2]
    )
    nodes = [pooled, back] if op_type == "MaxUnpool" else [pooled]
    outputs = [tensor("y" if len(nodes) == 2 else "p", [1, 3, None, None])]
    return model(nodes, [tensor("x", [1, 3, 8, 8])], outputs)


def sorted_by(op_type: str, axes: bool) -> onnx.ModelProto:  # noqa: FBT001
    """A reduction whose axes are stored, or come from outside."""
    node = helper.make_node(op_type, ["x", "a"], ["y"], "it")
    inputs = [tensor("x", [2, 3])] + ([] if axes else [tensor("a", [1], INT64)])
    return model([node], inputs, [tensor("y", None)], {"a": np.array([1])} if axes else {})


def suppress() -> onnx.ModelProto:
    node = helper.make_node("NonMaxSuppression", ["b", "s"], ["y"], "it")
    inputs = [tensor("b", [1, 9, 4]), tensor("s", [1, 2, 9])]
    return model([node], inputs, [tensor("y", None, INT64)])


@pytest.mark.parametrize(
    ("file", "target", "verdict", "said"),
    [
        (grid_sample(20), OLD, "unsupported", "read as nearest, without a word"),
        (grid_sample(20, mode="cubic"), NEWEST, "unsupported", "read as nearest"),
        (grid_sample(20, mode="nearest"), OLD, "supported", ""),
        (grid_sample(16), OLD, "supported", ""),
        (top_k(3840), OLD, "supported", ""),
        (top_k(3841), NEW, "unsupported", "K is 3841, and at most 3840"),
        (roi_align(), OLD, "unsupported", "the parser takes 1 where ONNX says 0"),
        (roi_align(sampling_ratio=0), OLD, "supported", ""),
        (resize(mode="linear"), OLD, "supported", ""),
        (resize(mode="linear", antialias=1), NEWEST, "unsupported", "antialiasing"),
        (
            resize(coordinate_transformation_mode="half_pixel_symmetric"),
            NEW,
            "unsupported",
            "half_pixel_symmetric",
        ),
        (resize(mode="cubic"), NEW, "limited", "nearest and linear only"),
        (suppress(), NEW, "limited", "best 5000 boxes"),
        (typed("NonZero", TensorProto.FLOAT), OLD, "limited", "depend on the data"),
        (quantise(np.int8(0)), OLD, "supported", ""),
        (quantise(np.int8(3)), OLD, "unsupported", "zero-points must be 0"),
        (quantise(np.uint8(0)), NEWEST, "unsupported", "uint8 is no type"),
        (quantise(np.int16(0), 21), NEWEST, "unsupported", "int16 is no type"),
        (quantise(np.int8(0), 19, np.float16(1)), OLD, "supported", ""),
        (quantise(np.int8(0), 17, np.float16(1)), OLD, "unsupported", "no float16 scales"),
        (with_indices("MaxPool"), OLD, "supported", ""),
        (with_indices("MaxUnpool"), NEWEST, "unsupported", "no importer"),
        (typed("Relu", TensorProto.DOUBLE), OLD, "limited", "computed in float32"),
        (typed("Abs", TensorProto.INT16), OLD, "unsupported", "computes with int16"),
        (typed("Identity", TensorProto.STRING), OLD, "unsupported", "computes with string"),
        (typed("Abs", TensorProto.INT64), OLD, "supported", ""),
        (sorted_by("ReduceMax", axes=True), OLD, "supported", ""),
        (sorted_by("ReduceMax", axes=False), NEWEST, "unsupported", "axes must be stored"),
        (sorted_by("Unsqueeze", axes=False), OLD, "unsupported", "axes must be stored"),
        (sorted_by("Unsqueeze", axes=False), NEW, "supported", ""),
        (of("Einsum", [(3, 3)], (3,), equation="ii->i"), OLD, "unsupported", "diagonal"),
        (of("Einsum", [(3, 3)], (3,), equation="ii->i"), NEW, "supported", ""),
        (
            of("AveragePool", [(1, 3, 8, 8)], (1, 3, 6, 6), kernel_shape=[2, 2], dilations=[2, 2]),
            OLD,
            "unsupported",
            "`dilations` must be 1",
        ),
        (typed("Relu", TensorProto.FLOAT, opset=21), OLD, "limited", "opset 21 is newer"),
        (typed("Relu", TensorProto.FLOAT, opset=21), NEW, "supported", ""),
    ],
)
def test_what_the_parser_makes_of_it(
    file: onnx.ModelProto, target: Any, verdict: str, said: str
) -> None:
    found = verdicts(file, target)
    worst = found[0][1] if found else "supported"
    assert worst == verdict, found
    assert not said or any(said in reason for _, _, reason in found), found
    assert support(file, HERE, target).is_runnable == (verdict != "unsupported")


def test_an_operator_that_came_later_is_refused_before() -> None:
    node = helper.make_node("HannWindow", ["n"], ["y"], "it")
    file = model([node], [tensor("n", [], INT64)], [tensor("y", None)])
    assert verdicts(file, OLD) == [
        ("HannWindow", "unsupported", "the parser has it from TensorRT 10.4 on")
    ]
    assert verdicts(file, NEW) == []


def test_every_rule_speaks_of_an_operator_that_onnx_and_the_parser_know() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    taken = importers().keys()
    assert RULES.keys() <= taken
    assert instead_of().keys() <= known - taken
    assert sorted(taken - known) == [  # importers of operators that ONNX gave up
        "ImageScaler",
        "ParametricSoftplus",
        "ScaledTanh",
    ]


@pytest.mark.parametrize("target", [OLD, NEW, NEWEST])
def test_edgecv_s_operators_are_plugins(exported: Path, target: Any) -> None:
    path = exported / "fused.onnx"
    file = read_onnx(path)
    (finding,) = support(file, path, target).findings
    assert (finding.operator, finding.verdict) == ("edgecv.EdgeNMS", "plugin")
    assert ("takes the file's own definition" in finding.reason) == (target == OLD)
    assert "--target tensorrt" in finding.remedy
    del file.functions[:]
    (finding,) = support(file, path, target).findings
    assert finding.reason == "edgecv's plugin library runs it"


def test_an_old_parser_mixes_up_two_definitions_of_one_name(exported: Path) -> None:
    path = exported / "fused.onnx"
    file = read_onnx(path)
    file.functions.append(file.functions[0])
    file.functions[1].overload = "2"
    assert not support(file, path, OLD).is_runnable
    assert support(file, path, NEW).is_runnable


def test_the_installed_onnxruntime_is_asked(exported: Path) -> None:
    import onnxruntime

    path = exported / "fused.onnx"
    answer = support(read_onnx(path), path, "onnxruntime")
    assert (answer.version, answer.findings) == (onnxruntime.__version__, ())
    assert answer.verdict("edgecv.EdgeNMS") == "supported"


def saved(folder: Path, file: onnx.ModelProto) -> tuple[onnx.ModelProto, Path]:
    path = folder / "file.onnx"
    onnx.save(file, path)
    return file, path


def test_onnxruntime_names_the_operator_it_has_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "fine"),
        helper.make_node("Mystery", ["a"], ["y"], "unknown", domain="elsewhere"),
    ]
    file, path = saved(tmp_path, model(nodes, [tensor("x", [2])], [tensor("y", [2])]))
    (finding,) = support(file, path, "onnxruntime").findings
    assert (finding.operator, finding.verdict) == ("elsewhere.Mystery", "unsupported")
    assert finding.nodes == ("unknown",)
    assert "function" in finding.remedy


def test_onnxruntime_has_no_kernel_for_a_type(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], "cast", to=TensorProto.BFLOAT16),
        helper.make_node("Det", ["a"], ["y"], "det"),
    ]
    output = tensor("y", [], TensorProto.BFLOAT16)
    file, path = saved(tmp_path, model(nodes, [tensor("x", [2, 2])], [output]))
    found = support(file, path, "onnxruntime").findings
    assert [(entry.operator, entry.nodes) for entry in found] == [("Det", ("det",))]


def test_a_file_newer_than_onnxruntime_is_to_blame_itself(tmp_path: Path) -> None:
    newest = helper.VERSION_TABLE[-1][1]
    file = model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [tensor("x", [2])],
        [tensor("y", [2])],
        ir_version=newest,
    )
    file, path = saved(tmp_path, file)
    found = support(file, path, "onnxruntime").findings
    if newest <= 13:
        pytest.skip("onnx writes nothing that is too new")
    (finding,) = found
    assert finding.operator == THE_FILE
    assert "IR version" in finding.reason
    assert "IR version 10" in finding.remedy


def test_operators_inside_a_definition_count_where_it_is_what_runs() -> None:
    body = helper.make_function(
        "other",
        "Pick",
        ["a"],
        ["b"],
        [helper.make_node("NonZero", ["a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    node = helper.make_node("Pick", ["x"], ["y"], domain="other")
    file = model([node], [tensor("x", [4])], [tensor("y", None, INT64)], functions=[body])
    for target in TARGETS[1:]:
        assert [entry[0] for entry in verdicts(file, target)] == ["NonZero"]
