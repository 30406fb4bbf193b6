"""Float16: what becomes half, what does not and why, with how many casts, and what is computed."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from onnx import TensorProto, numpy_helper, parser  # noqa: E402

from edgecv.errors import InputError  # noqa: E402
from edgecv.export.graphs.model_file import read_onnx  # noqa: E402
from edgecv.export.operators.definitions import define_operators  # noqa: E402
from edgecv.export.precisions.fp16 import ConvertedToHalf, to_fp16  # noqa: E402
from edgecv.runtime.model import Model  # noqa: E402
from edgecv.runtime.onnxruntime import OnnxruntimeSession  # noqa: E402

HALF_EPS = 2.0**-11  # of one rounding
WEIGHTS = {
    "w": np.random.default_rng(0).standard_normal((4, 4, 3, 3)) / 6,
    "v": np.random.default_rng(1).standard_normal((4, 4, 1, 1)) / 2,
    "bias": np.random.default_rng(2).standard_normal(4),
    "ramp": np.arange(4.0).reshape(1, 4, 1, 1),
    "small": np.full((4, 4, 1, 1), 1e-7),
    "large": np.full((4, 4, 1, 1), 1e5),
    "one": np.array([1.0]),
    "tiny": np.array([1e-12]),
}
CONV = "Conv <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]>"
POINT = "Conv <kernel_shape: ints = [1, 1]>"
SHAPE = "float[batch, 4, 6, 6]"


def graph(body: str, outputs: str = f"{SHAPE} y", opset: int = 20, inputs: str = "") -> Any:
    """A graph of the image `x` and the constants above that it names."""
    model = parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : {opset}, "edgecv" : 1]>
tested ({SHAPE} x{inputs}) => ({outputs}) {{
{body}
}}""")
    named = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in WEIGHTS.items()
        if name in named
    )
    for node in model.graph.node:
        node.name = node.output[0]
    define_operators(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: Any, **more: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(3).uniform(-1, 1, (2, 4, 6, 6)).astype(np.float32)
    values: list[Any] = session.run(None, {"x": x, **more})
    return values


def types(model: Any) -> dict[str, int]:
    """The type of every value that a node makes."""
    seen = (*model.graph.value_info, *model.graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in seen}


def half_nodes(conversion: ConvertedToHalf) -> set[str]:
    kept = {entry.name for entry in conversion.kept}
    nodes = [node for node in conversion.model.graph.node if node.op_type != "Cast"]
    return {node.name for node in nodes} - kept


def casts(model: Any) -> list[str]:
    return [node.input[0] for node in model.graph.node if node.op_type == "Cast"]


def test_features_are_half_and_what_decodes_them_is_not() -> None:
    model = graph(f"""
  conv = {CONV} (x, w, bias)
  gate = Sigmoid (conv)
  silu = Mul (conv, gate)
  pooled = MaxPool <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]> (silu)
  head = {POINT} (pooled, v, bias)
  across = Transpose <perm: ints = [0, 2, 3, 1]> (head)
  back = Transpose <perm: ints = [0, 3, 1, 2]> (across)
  score = Sigmoid (back)
  size = Exp (back)
  y = Mul (score, size)""")
    conversion = to_fp16(model)
    found = types(conversion.model)
    for name in ("conv", "gate", "silu", "pooled", "head", "across", "back"):
        assert found[name] == TensorProto.FLOAT16, name
    for name in ("score", "size", "y"):
        assert found[name] == TensorProto.FLOAT, name
    assert casts(conversion.model) == ["x", "back"]
    assert conversion.num_casts == 2
    assert conversion.num_half == 7
    assert [(entry.name, entry.operator) for entry in conversion.kept] == [
        ("score", "Sigmoid"), ("size", "Exp"), ("y", "Mul")
    ]  # fmt: skip
    assert "decodes" in conversion.kept[0].reason
    assert "range of float16" in conversion.kept[1].reason
    assert list(conversion.model.graph.input) == list(model.graph.input)
    assert list(conversion.model.graph.output) == list(model.graph.output)
    stored = {tensor.name: tensor.data_type for tensor in conversion.model.graph.initializer}
    assert set(stored.values()) == {TensorProto.FLOAT16}
    (wanted,), (actual,) = run(model), run(conversion.model)
    # Six roundings in a row, the first of them of 36 products; e**x doubles an error of x near 1.
    np.testing.assert_allclose(actual, wanted, atol=2 * 8 * HALF_EPS * np.abs(wanted).max())


def test_an_output_that_is_made_in_half_is_cast_under_its_name() -> None:
    model = graph(f"y = {CONV} (x, w)\n z = Relu (y)", outputs=f"{SHAPE} y, {SHAPE} z")
    conversion = to_fp16(model)
    assert list(conversion.model.graph.output) == list(model.graph.output)
    assert casts(conversion.model) == ["x", "y_float16"]
    assert half_nodes(conversion) == {"y"}
    for wanted, actual in zip(run(model), run(conversion.model), strict=True):
        np.testing.assert_allclose(actual, wanted, atol=8 * HALF_EPS * np.abs(wanted).max())


def test_features_that_an_output_shows_on_their_way_stay_half() -> None:
    """As in a backbone that is exported alone, or a graph whose layers are looked at."""
    conversion = to_fp16(
        graph(
            f"""
  a = {CONV} (x, w)
  gate = Sigmoid (a)
  y = Mul (a, gate)
  z = {CONV} (y, w)""",
            outputs=f"{SHAPE} y, {SHAPE} z",
        )
    )
    assert conversion.kept == ()
    assert casts(conversion.model) == ["x", "y_float16", "z_float16"]


def test_boxes_that_are_refined_step_by_step_stay_float32() -> None:
    """As DETR's decoders do: a box is shown, moved by the next step, and weighed on the way."""
    conversion = to_fp16(
        graph(f"""
  delta = {POINT} (x, v)
  box = Sigmoid (delta)
  position = {POINT} (box, v)
  query = Relu (position)
  step = {POINT} (query, v)
  logit = Log (box)
  moved = Add (logit, step)
  y = Sigmoid (moved)""")
    )
    kept = {entry.name: entry.reason for entry in conversion.kept}
    assert set(kept) == {"box", "logit", "moved", "y"}
    assert "refines boxes" in kept["box"]


def test_the_mean_of_a_distribution_of_distances_stays_float32() -> None:
    conversion = to_fp16(
        graph(
            f"""
  logits = {CONV} (x, w)
  likely = Softmax <axis: int = 1> (logits)
  turned = Transpose <perm: ints = [0, 1, 3, 2]> (likely)
  y = {POINT} (turned, ramp)""",
            outputs="float[batch, 1, 6, 6] y",
        )
    )
    assert half_nodes(conversion) == {"logits"}
    assert "mean of a distribution" in conversion.kept[-1].reason


def test_attention_weighs_features_after_its_softmax() -> None:
    conversion = to_fp16(
        graph(f"""
  q = {POINT} (x, v)
  k = Transpose <perm: ints = [0, 1, 3, 2]> (q)
  scores = MatMul (q, k)
  likely = Softmax <axis: int = -1> (scores)
  mixed = MatMul (likely, q)
  y = {POINT} (mixed, v)""")
    )
    assert [entry.name for entry in conversion.kept] == ["likely"]
    assert sorted(casts(conversion.model)) == ["likely", "scores", "x", "y_float16"]


def test_regions_are_decoded_in_float32_though_weights_follow() -> None:
    attributes = (
        "output_height = 2, output_width = 2, spatial_scales = [1.0], sampling_ratio = 2, "
        "aligned = 0, canonical_level = 0, canonical_size = 4.0, "
        'plugin_version = "1", plugin_namespace = "edgecv"'
    )
    model = graph(
        f"""
  features = {CONV} (x, w)
  regions = {POINT} (features, v)
  sizes = Exp (regions)
  count = Constant <value_ints: ints = [0, -1, 4]> ()
  boxes = Reshape (sizes, count)
  bins = edgecv.EdgeRoiAlign <{attributes}> (boxes, features)
  flat_shape = Constant <value_ints: ints = [-1, 4, 2, 2]> ()
  flat = Reshape (bins, flat_shape)
  y = {POINT} (flat, v)""",
        outputs="float[n, 4, 2, 2] y",
    )
    conversion = to_fp16(model)
    found = types(conversion.model)
    assert found["bins"] == found["flat"] == TensorProto.FLOAT16
    assert found["sizes"] == found["boxes"] == TensorProto.FLOAT
    assert [entry.name for entry in conversion.kept] == ["sizes", "boxes"]
    (wanted,), (actual,) = run(model), run(conversion.model)
    # A region moves by its own size's rounding, which bilinear sampling passes on.
    np.testing.assert_allclose(actual, wanted, atol=24 * HALF_EPS * np.abs(wanted).max())


def test_an_older_definition_is_replaced_by_one_that_takes_either_type() -> None:
    model = graph(f"""
  features = {CONV} (x, w)
  count = Constant <value_ints: ints = [0, -1, 4]> ()
  boxes = Reshape (x, count)
  bins = edgecv.EdgeRoiPool <output_height = 2, output_width = 2, spatial_scale = 1.0,
    plugin_version = "1", plugin_namespace = "edgecv"> (features, boxes)
  flat_shape = Constant <value_ints: ints = [-1, 4, 2, 2]> ()
  flat = Reshape (bins, flat_shape)
  y = {POINT} (flat, v)""", outputs="float[n, 4, 2, 2] y")  # fmt: skip
    today = onnx.FunctionProto()
    today.CopyFrom(model.functions[0])
    model.functions[0].node[-1].doc_string = "of an older edgecv"
    (function,) = to_fp16(model).model.functions
    assert function == today


@pytest.mark.parametrize(
    ("body", "node", "reason"),
    [
        (f"y = {POINT} (c, large)", "y", r"`large` holds 1e\+05, beyond float16's 65504"),
        (f"y = {POINT} (c, small)", "y", "`small` is too small for float16: .* 1e-07"),
        (f"z = Max (c, tiny)\n y = {POINT} (z, v)", "z", "`tiny` is too small"),
        (f"z = Add (c, tiny)\n y = {POINT} (z, v)", "z", "`tiny` is too small"),
        (
            f"b = Constant <value_float: float = 1e6> ()\n z = Min (c, b)\n y = {POINT} (z, v)",
            "z",
            r"`b` holds 1e\+06",
        ),
    ],
)
def test_what_float16_cannot_hold_keeps_its_node(body: str, node: str, reason: str) -> None:
    model = graph(f"c = {CONV} (x, w)\n{body}")
    conversion = to_fp16(model)
    (entry,) = [entry for entry in conversion.kept if entry.name == node]
    assert re.search(reason, entry.reason)
    (wanted,), (actual,) = run(model), run(conversion.model)
    np.testing.assert_allclose(actual, wanted, atol=12 * HALF_EPS * np.abs(wanted).max())


def test_weights_that_underflow_are_told() -> None:
    model = graph(f"y = {POINT} (x, v)")
    weights = WEIGHTS["v"].astype(np.float32)
    weights.flat[:5] = (1e-9, -1e-9, 3e-5, 0, 1e-5)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "v"))
    (found,) = to_fp16(model).underflows
    assert found.weight == "v"
    assert (found.vanished, found.subnormal) == (2 / 16, 2 / 16)


def test_a_tiny_bias_costs_nothing() -> None:
    """Beside the features that it is added to it is nothing in float32 either."""
    model = graph(f"y = {POINT} (x, v, bias)")
    bias = numpy_helper.from_array(np.full(4, 1e-9, np.float32), "bias")
    next(x for x in model.graph.initializer if x.name == "bias").CopyFrom(bias)
    assert to_fp16(model).kept == ()


def test_nodes_that_are_named_stay_float32_with_their_weights() -> None:
    model = graph(f"a = {CONV} (x, w)\n b = {CONV} (a, w)\n y = {CONV} (b, w)")
    conversion = to_fp16(model, keep=["b"])
    assert [(entry.name, entry.reason) for entry in conversion.kept] == [("b", "it was asked for")]
    stored = {x.name: x.data_type for x in conversion.model.graph.initializer}
    assert stored == {"w": TensorProto.FLOAT, "w_float16": TensorProto.FLOAT16}
    assert casts(conversion.model) == ["x", "a", "b", "y_float16"]


def test_a_region_is_not_worth_its_casts_between_sums() -> None:
    conversion = to_fp16(
        graph(f"""
  a = {CONV} (x, w)
  mean = ReduceMean <keepdims: int = 1> (a)
  rest = Sub (a, mean)
  square = Pow (rest, one)
  spread = ReduceSum <keepdims: int = 1> (square)
  safe = Abs (spread)
  size = Sqrt (safe)
  even = Div (rest, size)
  y = {POINT} (even, v)""")
    )
    assert half_nodes(conversion) == {"a", "y"}
    assert casts(conversion.model) == ["x", "a", "even", "y_float16"]
    reasons = {entry.name: entry.reason for entry in conversion.kept}
    assert "its neighbours are float32" in reasons["rest"]


# Every operator: how many inputs it takes, and whether it is forced to be half or float32.
OPERATORS = {"Conv": (1, True), "Exp": (1, False), "Relu": (1, None), "Add": (2, None)}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATORS)), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=7,
    )
)
def test_there_are_as_few_casts_as_there_can_be(links: list[tuple[str, int, int]]) -> None:
    """Every assignment of the nodes that may be either is tried."""
    values, lines, sources = ["x"], [], {}
    for index, (operator, first, second) in enumerate([*links, ("Conv", 0, 0)]):
        name = f"n{index}"
        given_ = [values[-1 - first % len(values)], values[-1 - second % len(values)]]
        given_ = given_[: OPERATORS[operator][0]]
        sources[name] = (operator, given_)
        weights = ", v" if operator == "Conv" else ""
        attribute = "<kernel_shape: ints = [1, 1]>" if operator == "Conv" else ""
        lines.append(f"{name} = {operator} {attribute} ({', '.join(given_)}{weights})")
        values.append(name)
    last = values[-1]
    model = graph("\n".join(lines), outputs=f"{SHAPE} {last}")
    conversion = to_fp16(model)

    to_weights: set[str] = set()
    for name in reversed(sources):
        users = [user for user, (_, inputs) in sources.items() if name in inputs]
        if sources[name][0] == "Conv" or to_weights & set(users):
            to_weights.add(name)
    free = [n for n, (op, _) in sources.items() if OPERATORS[op][1] is None and n in to_weights]
    convs = {name for name, (operator, _) in sources.items() if operator == "Conv"}

    def count(half: set[str]) -> int:
        total = 0
        for value in values:
            users = {user in half for user, (_, inputs) in sources.items() if value in inputs}
            users |= {False} if value == last else set()
            total += (value not in half and True in users) + (value in half and False in users)
        return total

    choices = product([False, True], repeat=len(free))
    every = [
        convs | {n for n, is_in in zip(free, choice, strict=True) if is_in} for choice in choices
    ]
    fewest = min(count(half) for half in every)
    assert conversion.num_casts == len(casts(conversion.model)) == fewest
    best = max(len(half) for half in every if count(half) == fewest)
    assert conversion.num_half == best
    cast_outputs = {n.output[0] for n in conversion.model.graph.node if n.op_type == "Cast"}
    assert not cast_outputs & set(casts(conversion.model)), "cast forth and back"


def test_a_branch_takes_float32_from_around_it() -> None:
    model = graph(f"""
  a = {CONV} (x, w)
  b = Relu (a)
  total = ReduceSum <keepdims: int = 0> (x)
  zero = Constant <value_float: float = 0.0> ()
  is_more = Greater (total, zero)
  y = If <then_branch = more () => ({SHAPE} then_y) {{ then_y = Neg (b) }},
    else_branch = less () => ({SHAPE} else_y) {{ else_y = Abs (b) }}> (is_more)
  z = {CONV} (b, w)""", outputs=f"{SHAPE} y, {SHAPE} z")  # fmt: skip
    conversion = to_fp16(model)
    assert half_nodes(conversion) >= {"a", "b", "z"}
    for wanted, actual in zip(run(model), run(conversion.model), strict=True):
        np.testing.assert_allclose(actual, wanted, atol=10 * HALF_EPS * np.abs(wanted).max())


def test_an_input_with_a_default_stays_float32() -> None:
    model = graph(
        f"a = {CONV} (x, w)\n b = Mul (a, one)\n y = {POINT} (b, v)", inputs=", float[1] one"
    )
    half = to_fp16(model).model
    assert list(half.graph.input) == list(model.graph.input)
    for one in (1, 2):
        feeds = {"one": np.array([one], np.float32)}
        (wanted,), (actual,) = run(model, **feeds), run(half, **feeds)
        np.testing.assert_allclose(actual, wanted, atol=10 * HALF_EPS * np.abs(wanted).max())


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(InputError, match="nothing in this graph can be float16"):
        to_fp16(graph("y = Relu (x)"))
    model = graph(f"head = {POINT} (x, v)\n y = Relu (head)")
    with pytest.raises(InputError, match=r"names a node `heda`, .*\. Did you mean head\?"):
        to_fp16(model, keep=["heda"])
    quantised = graph("""
  step = Constant <value_float: float = 1.0> ()
  q = QuantizeLinear (x, step)
  y = DequantizeLinear (q, step)""")
    with pytest.raises(InputError, match=r"quantised already \(node `q`\)"):
        to_fp16(quantised)


@pytest.mark.parametrize("head", ["fused", "raw"])
def test_a_detector_finds_the_same_in_half_the_bytes(
    exported: Path, scenes: Path, tmp_path: Path, head: str
) -> None:
    source = exported / f"{head}.onnx"
    conversion = to_fp16(read_onnx(source))
    path = tmp_path / "half.onnx"
    onnx.save(conversion.model, path)
    assert path.stat().st_size < 0.6 * source.stat().st_size
    image = min((scenes / "val").glob("*.png"))
    with Model(OnnxruntimeSession(source)) as wanted, Model(OnnxruntimeSession(path)) as half:
        assert half.spec.provenance.precision == "fp16"
        assert wanted.spec.provenance.precision == "fp32"
        expected, found = (model.with_thresholds(score=0.05)(image) for model in (wanted, half))
    assert len(expected)
    # Scores of the best: some fifty layers, whose roundings add up like a random walk, through a
    # softmax whose slope is at most 1/4; logits are below 16.
    np.testing.assert_allclose(found.scores[:3], expected.scores[:3], atol=16 * 50**0.5 * HALF_EPS)
