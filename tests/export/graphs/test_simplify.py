"""Simplification: fewer nodes, the same results, and nothing a caller sees is another."""

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from onnx import parser  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.graphs.input_shape import with_batch  # noqa: E402
from edgecv.export.graphs.model_file import read_onnx  # noqa: E402
from edgecv.export.graphs.simplify import simplify  # noqa: E402
from edgecv.export.operators.definitions import define_operators  # noqa: E402
from edgecv.export.precisions.fp16 import to_fp16  # noqa: E402

EPS = float(np.finfo(np.float32).eps)
SIDES = (2, 4, 6, 5)  # B, C, H, W

# What may stand in a chain; `$X` is its input and `$Y` its output.
LINKS = {
    "conv": "$Y = Conv <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]> ($X, w)",
    "depthwise": "$Y = Conv <group: int = 4, kernel_shape: ints = [1, 1]> ($X, depthwise_w, bias)",
    "normalise": "$Y = BatchNormalization ($X, scale, bias, mean, variance)",
    "identity": "$Y = Identity ($X)",
    "unnamed constants": """
      $Y_two = Constant <value_float: float = 2.0> ()
      $Y_half = Reciprocal ($Y_two)
      $Y = Mul ($X, $Y_half)""",
    "dead": """
      $Y_nobody = Exp ($X)
      $Y_asks = Neg ($Y_nobody)
      $Y = Relu ($X)""",
    "shape": """
      $Y_shape = Shape ($X)
      $Y_long = Constant <value_ints: ints = [0, 4, -1]> ()
      $Y_flat = Reshape ($X, $Y_long)
      $Y = Reshape ($Y_flat, $Y_shape)""",
    "there and back": """
      $Y_across = Transpose <perm: ints = [0, 2, 3, 1]> ($X)
      $Y = Transpose <perm: ints = [0, 3, 1, 2]> ($Y_across)""",
    "offset": "$Y = Add ($X, offset)",
}


def chain(names: list[str], opset: int) -> "onnx.ModelProto":
    """A graph of `names` one after the other; `offset` is an input with a default."""
    body = "\n".join(
        LINKS[name].replace("$X", f"v{index}").replace("$Y", f"v{index + 1}")
        for index, name in enumerate(names)
    )
    model = parser.parse_model(f"""
<ir_version: 8, opset_import: ["" : {opset}]>
chain (float[batch, 4, 6, 5] v0, float[1] offset) => (float[batch, 4, 6, 5] result) {{
  {body}
  result = Relu (v{len(names)})
}}""")
    rng = np.random.default_rng(0)
    tensors = {
        "w": rng.standard_normal((4, 4, 3, 3)),
        "depthwise_w": rng.standard_normal((4, 1, 1, 1)),
        "bias": rng.standard_normal(4),
        "scale": rng.uniform(0.5, 2, 4),
        "mean": rng.standard_normal(4),
        "variance": rng.uniform(0.5, 2, 4),
        "offset": [0.25],
    }
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in tensors.items()
    )
    onnx.helper.set_model_props(model, {"edgecv.spec": "kept as it is"})
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: "onnx.ModelProto", **feeds: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of inputs with a default it warns
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values: list[NDArray[np.float32]] = session.run(None, feeds)
    return values


def operators(model: "onnx.ModelProto") -> list[str]:
    return [node.op_type for node in model.graph.node]


@given(
    names=st.lists(st.sampled_from(sorted(LINKS)), max_size=5),
    opset=st.sampled_from([13, 17, 20]),
    seed=st.integers(0, 99),
)
def test_the_same_is_computed_by_fewer_nodes(names: list[str], opset: int, seed: int) -> None:
    model = chain(names, opset)
    before = model.SerializeToString(deterministic=True)
    simple = simplify(model)
    assert model.SerializeToString(deterministic=True) == before, "the argument was changed"
    onnx.checker.check_model(simple, full_check=True)
    assert len(simple.graph.node) <= len(model.graph.node)
    assert not {"Identity", "Constant", "Exp", "Reciprocal"} & set(operators(simple))
    node_names = [node.name for node in simple.graph.node]
    assert all(node_names)
    assert len(set(node_names)) == len(node_names)

    seen = ("input", "output")
    for field in seen:
        assert list(getattr(simple.graph, field)) == list(getattr(model.graph, field))
    assert simple.metadata_props == model.metadata_props
    assert (simple.opset_import, simple.ir_version) == (model.opset_import, model.ir_version)
    assert simplify(simple) == simple

    rng = np.random.default_rng(seed)
    feeds = {"v0": rng.standard_normal(SIDES).astype(np.float32)}
    for extra in ({}, {"offset": np.array([rng.standard_normal()], np.float32)}):
        (wanted,), (found,) = (run(each, **feeds, **extra) for each in (model, simple))
        # A fused weight rounds four times (variance + eps, root, quotient, product), and a sum of
        # 37 terms is rounded in another order; each link grows the largest value at most 40-fold
        # beyond what cancels, and the error with it.
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, atol=scale * (len(names) + 1) * 41 * EPS, rtol=0)


def test_a_normalisation_becomes_part_of_the_convolution_before_it() -> None:
    simple = simplify(chain(["conv", "normalise", "depthwise", "normalise"], opset=17))
    assert operators(simple) == ["Conv", "Conv", "Relu"]


def test_an_input_with_a_default_stays_an_input() -> None:
    simple = simplify(chain(["offset"], opset=17))
    image = {"v0": np.ones(SIDES, np.float32)}
    (default,), (other,) = run(simple, **image), run(simple, **image, offset=np.float32([1]))
    assert (default == 1.25).all()
    assert (other == 2).all()


def suppression() -> "onnx.ModelProto":
    """Boxes and scores, an identity, and EdgeNMS with its definition."""
    attributes = (
        "max_detections = 5, class_agnostic = 0, background_class = -1, "
        'plugin_version = "1", plugin_namespace = "edgecv"'
    )
    model = parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : 20, "edgecv" : 1]>
suppression (float[batch, 7, 4] boxes, float[batch, 7, 2] scores, float limit, float overlap)
=> (int32[batch] num, float[batch, 5, 4] kept, float[batch, 5] best, int32[batch, 5] classes) {{
  same = Identity (scores)
  num, kept, best, raw_classes = edgecv.EdgeNMS <{attributes}> (boxes, same, limit, overlap)
  classes = Identity (raw_classes)
}}""")
    for name, value in (("limit", 0.2), ("overlap", 0.5)):
        model.graph.initializer.append(onnx.helper.make_tensor(name, 1, [], [value]))
    define_operators(model)
    return model


def test_operators_of_edgecv_keep_their_definitions() -> None:
    model = suppression()
    simple = simplify(model)
    assert operators(simple) == ["EdgeNMS"]
    assert list(simple.functions) == list(model.functions)
    assert simplify(simple) == simple
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 9, (2, 7, 2, 2)).astype(np.float32)
    feeds = {
        "boxes": np.concatenate([corners[..., 0], corners[..., 0] + corners[..., 1]], axis=-1),
        "scores": rng.uniform(0, 1, (2, 7, 2)).astype(np.float32),
        "limit": np.array(0.4, np.float32),
    }
    for wanted, found in zip(run(model, **feeds), run(simple, **feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_shapes_pass_through_opaque_operators() -> None:
    model = suppression()
    del model.functions[:]
    model.graph.node[-1].op_type = "Neg"  # or nothing would be left of it
    simple = simplify(model)
    shape = {value.name: value.type.tensor_type.shape for value in simple.graph.value_info}
    assert [side.dim_param or side.dim_value for side in shape["raw_classes"].dim] == ["batch", 5]


def test_names_are_made_where_they_lack_and_kept_where_not() -> None:
    model = chain(["conv", "offset", "there and back"], opset=17)
    for node, name in zip(model.graph.node, ["mine", "", "mine", ""], strict=False):
        node.name = name
    names = [node.name for node in simplify(model).graph.node]
    assert names[0] == "mine"
    assert names == [node.name for node in simplify(model).graph.node]


@pytest.mark.parametrize(
    "body",
    [
        """where = NonZero (v)
        few = GatherND (v, where)
        size = Constant <value_ints: ints = [1, 1, -1, 3]> ()
        some = Reshape (few, size)""",
        """total = ReduceMax <keepdims: int = 0> (v)
        side = Cast <to: int = 7> (total)
        one = Constant <value_ints: ints = [1]> ()
        sides = Reshape (side, one)
        shape = Concat <axis: int = 0> (one, one, sides, sides)
        some = Expand (v, shape)""",
    ],
)
def test_shapes_that_only_the_data_decides_are_refused(body: str) -> None:
    model = parser.parse_model(f"""
<ir_version: 8, opset_import: ["" : 17]>
refused (float[1, 1, 1, 1] v) => (float[a, b, c, d] y) {{
  {body}
  y = MaxPool <kernel_shape: ints = [1, 1]> (some)
}}""")
    message = r"node `MaxPool_y` \(MaxPool\) has an input whose height or width depends on the data"
    with pytest.raises(InputError, match=message):
        simplify(model)


def test_a_number_of_regions_may_depend_on_the_data() -> None:
    model = parser.parse_model("""
<ir_version: 8, opset_import: ["" : 17]>
regions (float[6] score, float[6, 2, 4, 4] v) => (float[n, 2, 2, 2] y) {
  where = NonZero (score)
  flat = Constant <value_ints: ints = [-1]> ()
  rows = Reshape (where, flat)
  some = Gather <axis: int = 0> (v, rows)
  y = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (some)
}""")
    maps = np.arange(192, dtype=np.float32).reshape(6, 2, 4, 4)
    score = np.float32([0, 1, 0, 0, 2, 0])
    (found,) = run(simplify(model), score=score, v=maps)
    np.testing.assert_array_equal(found, maps[[1, 4], :, 1::2, 1::2])


def test_contradicting_shapes_are_refused() -> None:
    model = parser.parse_model("""
<ir_version: 8, opset_import: ["" : 17]>
contradiction (float[2, 3] a, float[4, 5] b) => (float[2, 5] y) { y = MatMul (a, b) }""")
    with pytest.raises(InputError, match="types or shapes contradict each other"):
        simplify(model)


def test_somebody_elses_network_is_simplified_halved_and_freed(shared_data: Path) -> None:
    """YOLOX-nano: opset 11, four slices that are made twice, a batch of one in its reshapes."""
    model = read_onnx(shared_data / "weights" / "yolox_nano_416.onnx")
    simple = simplify(model)
    assert len(simple.graph.node) < len(model.graph.node)
    assert simple.opset_import == model.opset_import
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    (wanted,), (found,) = (run(each, images=pixels) for each in (model, simple))
    np.testing.assert_array_equal(found, wanted)  # nothing was fused, in this one

    conversion = to_fp16(simple)
    # One for the image; of each level box, object and class, before the sigmoids of the last two.
    assert conversion.num_casts == 1 + 3 * 3
    assert {entry.operator for entry in conversion.kept} == {
        "Concat", "Reshape", "Sigmoid", "Transpose"
    }  # fmt: skip
    assert with_batch(simple, None).graph.output[0].type.tensor_type.shape.dim[0].dim_param
