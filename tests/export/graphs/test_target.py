"""The file for TensorRT: opaque nodes that are whole, and nothing that its parser misreads."""

from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import numpy_helper, parser  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.graphs.model_file import read_onnx, write_onnx  # noqa: E402
from edgecv.export.graphs.target import (  # noqa: E402
    check_for_tensorrt,
    check_with_definitions,
    for_tensorrt,
)
from edgecv.export.operators.definitions import define_operators  # noqa: E402
from edgecv.export.precisions.fp16 import to_fp16  # noqa: E402
from edgecv.runtime.session import open_session  # noqa: E402

NMS = (
    "edgecv.EdgeNMS <max_detections = {k}, class_agnostic = 0, background_class = -1, "
    'plugin_version = "1", plugin_namespace = "edgecv">'
)


def graph(body: str, inputs: str, outputs: str, opset: int = 20) -> Any:
    model = parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : {opset}, "edgecv" : 1]>
tested ({inputs}) => ({outputs}) {{
{body}
}}""")
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def two_suppressions() -> Any:
    """Two variants of EdgeNMS, the first of which shows its boxes and scores alone."""
    model = graph(
        f"""
  unused, few, best, nobody = {NMS.format(k=5)} (boxes, scores, limit, overlap)
  classes = Unsqueeze (best, two)
  num, kept, kept_scores, kept_classes = {NMS.format(k=3)} (few, classes, limit, overlap)
""",
        "float[batch, 7, 4] boxes, float[batch, 7, 2] scores, float limit, float overlap",
        "float[batch, 3, 4] kept, float[batch, 3] kept_scores",
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([2]), "two"))
    for name in ("limit", "overlap"):
        model.graph.initializer.append(onnx.helper.make_tensor(name, 1, [], [0.5]))
    model.graph.node[0].output[0] = ""
    model.graph.node[0].output[3] = ""
    define_operators(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_plugins_are_whole_and_have_no_definition() -> None:
    model = two_suppressions()
    check_with_definitions(model)
    before = model.SerializeToString(deterministic=True)
    result = for_tensorrt(model)
    assert model.SerializeToString(deterministic=True) == before
    check_for_tensorrt(result)
    assert for_tensorrt(result) == result
    assert not result.functions
    plugins = [node for node in result.graph.node if node.op_type == "EdgeNMS"]
    assert [node.domain for node in plugins] == ["edgecv", "edgecv"]
    assert not any(node.overload for node in plugins)
    assert list(plugins[0].output) == ["unused_output_0", "few", "best", "unused_output_3"]
    assert [value.name for value in result.graph.input] == ["boxes", "scores", "limit", "overlap"]
    assert [tensor.name for tensor in result.graph.initializer] == ["two"]
    assert {(entry.domain, entry.version) for entry in result.opset_import} == {
        ("", 20),
        ("edgecv", 1),
    }
    shapes = {value.name: value.type.tensor_type.shape for value in result.graph.value_info}
    assert [side.dim_param or side.dim_value for side in shapes["few"].dim] == ["batch", 5, 4]


def test_a_plugin_gets_the_attributes_that_it_is_found_by() -> None:
    model = two_suppressions()
    for node in model.graph.node:
        kept = [entry for entry in node.attribute if not entry.name.startswith("plugin")]
        del node.attribute[:]
        node.attribute.extend(kept)
    plugin = for_tensorrt(model).graph.node[0]
    values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in plugin.attribute}
    assert (values["plugin_version"], values["plugin_namespace"]) == (b"1", b"edgecv")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.graph.node[0].output.__setitem__(0, ""), "must name all of its 4 outputs"),
        (lambda m: setattr(m.graph.node[0], "overload", "2"), "names an overload"),
        (lambda m: setattr(m.opset_import[1], "version", 2), "must import version 1 of the domain"),
        (lambda m: setattr(m.graph.node[0], "op_type", "EdgeWarp"), "is no operator of edgecv"),
        (lambda m: m.graph.node[0].attribute.pop(0), "lacks the attributes max_detections"),
        (
            lambda m: setattr(m.graph.node[0].attribute[-1], "s", b"else"),
            "has `plugin_namespace` b'else', which must be 'edgecv'",
        ),
        (
            lambda m: m.functions.append(two_suppressions().functions[0]),
            "it defines EdgeNMS, which are plugins",
        ),
        (
            lambda m: m.graph.initializer.append(onnx.helper.make_tensor("limit", 1, [], [0.5])),
            "the inputs limit have defaults",
        ),
        (
            lambda m: setattr(m.graph.input[1].type.tensor_type, "elem_type", 7),
            "has unsupported type",
        ),
    ],
)
def test_what_is_not_for_tensorrt_is_named(spoil: Any, message: str) -> None:
    model = for_tensorrt(two_suppressions())
    spoil(model)
    with pytest.raises(InputError, match=f"the file is not one for TensorRT: .*{message}"):
        check_for_tensorrt(model)


IMAGE, SAME = "float[1, 2, 6, 6] x", "float[1, 2, 6, 6] y"


@pytest.mark.parametrize(
    ("body", "outputs", "message"),
    [
        (
            "y = MaxRoiPool <pooled_shape: ints = [2, 2]> (x, rois)",
            "float[1, 2, 2, 2] y",
            r"node `y` \(MaxRoiPool\): the parser has no importer for it\. Use `EdgeRoiPool`",
        ),
        (
            'y = Resize <antialias: int = 1, mode: string = "linear"> (x, , scales)',
            "float[1, 2, 3, 3] y",
            "antialiasing is not supported",
        ),
        ("y, i = TopK <axis: int = 0> (many, k)", "float[3841] y", "K is 3841, and at most 3840"),
        (
            "z = Gelu (x)\n y = GridSample (z, grid)",
            SAME,
            "is read as nearest, without a word. Export with opset 19",
        ),
    ],
)
def test_what_the_parser_cannot_do_is_refused(body: str, outputs: str, message: str) -> None:
    inputs = f"{IMAGE}, float[1, 6, 6, 2] grid, float[5000] many"
    model = graph(body, inputs, outputs)
    constants = {
        "rois": np.float32([[0, 0, 0, 5, 5]]),
        "scales": np.float32([1, 1, 0.5, 0.5]),
        "k": np.array([3841]),
    }
    named = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if name in named
    )
    with pytest.raises(InputError, match=message):
        for_tensorrt(model)


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest", ""])
def test_sampling_is_written_as_older_opsets_have_it(mode: str) -> None:
    attribute = f'<mode: string = "{mode}">' if mode else ""
    model = graph(f"y = GridSample {attribute} (x, grid)", f"{IMAGE}, float[1, 6, 6, 2] grid", SAME)
    result = for_tensorrt(model)
    is_renamed = mode != "nearest"
    assert result.opset_import[0].version == (19 if is_renamed else 20)
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((1, 2, 6, 6)).astype(np.float32),
        "grid": rng.uniform(-1, 1, (1, 6, 6, 2)).astype(np.float32),
    }
    found, wanted = (
        onnxruntime.InferenceSession(
            each.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, feeds)[0]
        for each in (result, model)
    )
    np.testing.assert_array_equal(found, wanted)


def test_regions_of_the_standard_are_written_with_every_attribute() -> None:
    model = graph(
        "y = RoiAlign <output_height: int = 2, output_width: int = 2> (x, rois, image)",
        f"{IMAGE}, float[3, 4] rois, int64[3] image",
        "float[3, 2, 2, 2] y",
    )
    (node,) = for_tensorrt(model).graph.node
    values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    assert values == {
        "coordinate_transformation_mode": b"half_pixel",
        "mode": b"avg",
        "output_height": 2,
        "output_width": 2,
        "sampling_ratio": 0,
        "spatial_scale": 1.0,
    }


def test_onnxruntime_says_whose_file_it_is(exported: Path, tmp_path: Path) -> None:
    model = read_onnx(exported / "fused.onnx")
    half = to_fp16(model).model
    check_with_definitions(model)
    check_with_definitions(half)
    path = tmp_path / "plugins.onnx"
    write_onnx(for_tensorrt(half), path)
    check_for_tensorrt(read_onnx(path))
    message = (
        r"is for TensorRT: its operator EdgeNMS is a plugin there.* without `--target tensorrt`"
    )
    with pytest.raises(InputError, match=message):
        open_session(path)
    with pytest.raises(InputError, match=r"onnxruntime cannot run the file: .*EdgeNMS"):
        check_with_definitions(read_onnx(path))
