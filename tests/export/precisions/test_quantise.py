"""int8 graphs: grids by their definition, where rounding lies, and what onnxruntime makes of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.precisions.calibration import Calibration, calibrate, image_feeds
from edgecv.export.precisions.converted import Converted
from edgecv.export.precisions.layers import Target, layers_of
from edgecv.export.precisions.noise import layer_noise
from edgecv.export.precisions.quantise import grid_of, quantise, quantise_weight
from edgecv.export.precisions.ranges import TensorRange
from edgecv.export.precisions.tensorrt_int8 import tensorrt_int8_violations
from edgecv.runtime.model import load

TARGETS: tuple[Target, ...] = ("cpu", "tensorrt")


def network(
    body: str,
    names: Sequence[str],
    weights: Mapping[str, tuple[int, ...]],
    channels: int = 16,
) -> onnx.ModelProto:
    """A graph in ONNX's text form with named nodes and random weights."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[N, {channels}, 8, 8] x) => (float[N, C, H, W] y) {{ {body} }}""")
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    rng = np.random.default_rng(0)
    for name, shape in weights.items():
        values = (0.1 * rng.standard_normal(shape)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def residual(last: str = "ConvTranspose") -> onnx.ModelProto:
    """Conv, Relu, Conv, Add with the skip, Relu, and a last layer."""
    return network(
        f"""c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
           r1 = Relu(c1)
           c2 = Conv<pads = [1, 1, 1, 1]>(r1, w2, b2)
           s = Add(c2, r1)
           r2 = Relu(s)
           y = {last}<strides = [2, 2]>(r2, w3, b3)""",
        ("conv1", "relu1", "conv2", "sum", "relu2", "last"),
        {
            "w1": (32, 16, 3, 3),
            "b1": (32,),
            "w2": (32, 32, 3, 3),
            "b2": (32,),
            "w3": (32, 24, 2, 2) if last == "ConvTranspose" else (24, 32, 2, 2),
            "b3": (24,),
        },
    )


def joined() -> onnx.ModelProto:
    """Two branches, pooled, enlarged, joined and followed by one Conv; SiLU on one of them."""
    model = network(
        """a = Conv<pads = [1, 1, 1, 1]>(x, w1)
           g = Sigmoid(a)
           m = Mul(a, g)
           b = Conv<pads = [1, 1, 1, 1]>(x, w2)
           six = Clip(b, zero, top)
           p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(six)
           u = Resize<mode = "nearest">(p, , scales)
           j = Concat<axis = 1>(m, u)
           c = Conv<pads = [1, 1, 1, 1]>(j, w3)
           y = Softmax<axis = 1>(c)""",
        ("conv_a", "gate", "silu", "conv_b", "six", "pool", "up", "join", "conv", "softmax"),
        {"w1": (16, 16, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 32, 3, 3)},
    )
    constants = {"zero": 0.0, "top": 6.0, "scales": [1.0, 1.0, 2.0, 2.0]}
    for name, value in constants.items():
        tensor = onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        model.graph.initializer.append(tensor)
    return model


def feeds(count: int = 3) -> list[dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((1, 16, 8, 8)).astype(np.float32)} for _ in range(count)]


def quantised(model: onnx.ModelProto, target: Target, **options: Any) -> Converted:
    table = calibrate(model, feeds(), method="min-max", threads=1)
    found = quantise(model, table, target, **options)
    onnx.checker.check_model(found.model, full_check=True)
    return found


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def operators_run(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The operators that onnxruntime computes after it has joined what it can."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    path = folder / "optimised.onnx"
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [node.op_type for node in onnx.load(path).graph.node]


def outputs(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, feed)[0] for feed in feeds()])


def snr_db(model: onnx.ModelProto, candidate: onnx.ModelProto) -> float:
    wanted, found = outputs(model), outputs(candidate)
    return 10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum())


ends = st.floats(0, 1e4, width=32, allow_subnormal=False)


@given(ends, ends)
def test_a_grid_spans_its_range_and_holds_zero(below: float, above: float) -> None:
    range_ = TensorRange(-below, above, max(below, above))
    unsigned = grid_of(range_, "cpu")
    scale, zero = float(unsigned.scale), int(unsigned.zero_point)
    assert unsigned.zero_point.dtype == np.uint8
    # The zero point is rounded, which shifts the whole grid by half a step at most.
    assert -zero * scale <= -below + 0.501 * scale
    assert (255 - zero) * scale >= above - 0.501 * scale
    signed = grid_of(range_, "tensorrt")
    assert signed.zero_point.dtype == np.int8
    assert signed.zero_point == 0
    assert 127 * float(signed.scale) >= max(below, above) * (1 - 1e-6)


@pytest.mark.parametrize(("axis", "largest"), [(0, 127), (1, 127), (0, 63)])
def test_weights_come_back_within_half_a_step(axis: int, largest: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 5, 3, 3)).astype(np.float32)
    weight *= np.logspace(-3, 3, weight.shape[axis]).reshape(
        [-1, 1, 1, 1] if axis == 0 else [-1, 1, 1]
    )
    codes, scale = quantise_weight(weight, axis, largest=largest)
    assert codes.dtype == np.int8
    assert np.abs(codes.astype(int)).max() == largest
    steps = scale.reshape([-1 if place == axis else 1 for place in range(4)])
    assert (np.abs(codes * steps - weight) <= 0.5001 * steps).all()
    others = tuple(place for place in range(4) if place != axis)
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=others) / largest, rtol=1e-6)


def test_a_channel_of_zeros_has_a_scale() -> None:
    codes, scale = quantise_weight(np.zeros((2, 3), np.float32), 0)
    assert not codes.any()
    assert (scale == 1).all()


def test_seven_bits_cannot_saturate_sixteen() -> None:
    found = quantised(residual(), "cpu", reduce_range=True)
    codes = constants(found.model)["conv1_weight_codes"].astype(int)
    assert np.abs(codes).max() == 63
    assert 2 * 255 * np.abs(codes).max() < 2**15


def test_cpu_residual_block_is_integer_throughout(tmp_path: Path) -> None:
    found = quantised(residual("Conv"), "cpu")
    assert found.layers == ("conv1", "conv2", "last")
    assert found.kept == ()
    ran = operators_run(found.model, tmp_path)
    assert ran.count("QLinearConv") == 3
    assert "QLinearAdd" in ran
    assert not {"Conv", "FusedConv", "Relu", "Add"} & set(ran)
    assert ran.count("QuantizeLinear") == ran.count("DequantizeLinear") == 1  # the two ends
    assert snr_db(residual("Conv"), found.model) > 30


def test_cpu_leaves_what_it_has_no_kernel_for() -> None:
    found = quantised(residual(), "cpu")
    assert [(kept.name, kept.operator) for kept in found.kept] == [("last", "ConvTranspose")]
    assert "no 8-bit ConvTranspose" in found.kept[0].reason
    assert node_of(found.model, "sum").output[0] == "s"  # only float follows: it is not rounded
    assert snr_db(residual(), found.model) > 30


def test_cpu_regions_between_layers_are_integer(tmp_path: Path) -> None:
    found = quantised(joined(), "cpu")
    ran = operators_run(found.model, tmp_path)
    assert ran.count("QLinearConv") == 3
    assert {"QLinearConcat", "QLinearSigmoid", "QLinearMul"} <= set(ran)
    assert not {"Conv", "Clip", "Concat", "Sigmoid", "Mul"} & set(ran)
    assert ran.count("QuantizeLinear") == 1  # the input
    assert ran[-1] == "Softmax"
    assert snr_db(joined(), found.model) > 30


def test_cpu_moves_keep_the_grid_of_what_they_move() -> None:
    found = quantised(joined(), "cpu").model
    read = {
        name: [constants(found)[arg] for arg in makers(found)[name].input[1:]]
        for name in ("six", "p", "u", "j")
    }
    assert read["six"] == read["p"] == read["u"] != read["j"]
    assert float(read["six"][0]) <= 6 / 255 * (1 + 1e-6)
    assert read["six"][1] == 0


def test_cpu_values_keep_their_names_for_comparison() -> None:
    found = quantised(joined(), "cpu").model
    rounded = {name for name, node in makers(found).items() if node.op_type == "DequantizeLinear"}
    assert {"a", "g", "m", "six", "p", "u", "j", "c"} <= rounded
    assert [value.name for value in found.graph.input] == ["x"]
    assert [value.name for value in found.graph.output] == ["y"]


def test_biases_are_integers_on_the_grid_of_the_products() -> None:
    model = quantised(residual(), "cpu").model
    held = constants(model)
    given = constants(residual())["b1"]
    step = held["conv1_bias_scale"]
    np.testing.assert_allclose(step, held["conv1_weight_scale"] * held["x_scale"], rtol=1e-6)
    assert held["conv1_bias_codes"].dtype == np.int32
    assert (np.abs(held["conv1_bias_codes"] * step - given) <= 0.5001 * step).all()


def test_a_bias_beyond_its_products_widens_the_scale() -> None:
    model = residual()
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b1")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w1")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] = 1e-12  # a dead channel: its own scale would need a bias of 1e14 codes
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "w1"))
    held = constants(quantised(model, "cpu").model)
    found = held["conv1_bias_codes"][0] * held["conv1_bias_scale"][0]
    assert found == pytest.approx(onnx.numpy_helper.to_array(bias)[0], rel=1e-6)


def test_tensorrt_rounds_the_skip_and_leaves_the_fused_branch() -> None:
    found = quantised(residual(), "tensorrt")
    assert found.layers == ("conv1", "conv2", "last")
    assert found.kept == ()
    made = makers(found.model)
    first, second = node_of(found.model, "sum").input
    assert made[first].name == "conv2"
    assert made[second].op_type == "DequantizeLinear"
    assert made[made[second].input[0]].input[0] == "r1"
    assert tensorrt_int8_violations(found.model) == []
    assert snr_db(residual(), found.model) > 30


def test_tensorrt_scales_lie_along_the_outputs() -> None:
    model = quantised(residual(), "tensorrt").model
    held, made = constants(model), makers(model)
    for name, axis, count in (("conv1", 0, 32), ("last", 1, 24)):
        layer = node_of(model, name)
        weight = made[layer.input[1]]
        assert [attribute.i for attribute in weight.attribute] == [axis]
        assert held[weight.input[1]].shape == (count,)
        assert layer.input[2] in held
        assert held[layer.input[2]].dtype == np.float32


def test_tensorrt_wants_less_than_a_cpu() -> None:
    assert tensorrt_int8_violations(quantised(residual(), "cpu").model) != []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("zero", "zero point is not a signed 8-bit zero"),
        ("bias", "bias is rounded"),
        ("axis", "do not lie along axis 0"),
        ("input", "weight is rounded, its input is not"),
        ("weight", "input is rounded, its weight is not"),
        ("branch", "straight from a layer is rounded"),
    ],
)
def test_the_check_finds_what_tensorrt_forbids(change: str, message: str) -> None:
    model = quantised(residual(), "tensorrt").model
    layer = node_of(model, "conv2")
    weight = makers(model)[layer.input[1]]
    if change == "zero":
        zero = next(t for t in model.graph.initializer if t.name == "x_zero_point")
        zero.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.int8), zero.name))
    elif change == "bias":
        layer.input[2] = layer.input[1]
    elif change == "axis":
        weight.attribute[0].i = 1
    elif change == "input":
        layer.input[0] = "r1"
    elif change == "weight":
        layer.input[1] = "r1"
    else:
        rest = ["x_scale", "x_zero_point"]
        nodes = [
            onnx.helper.make_node("QuantizeLinear", ["c2", *rest], ["c2_q"], "q"),
            onnx.helper.make_node("DequantizeLinear", ["c2_q", *rest], ["c2_dq"], "dq"),
        ]
        place = next(i for i, node in enumerate(model.graph.node) if node.name == "sum")
        model.graph.node[place].input[0] = "c2_dq"
        for node in reversed(nodes):
            model.graph.node.insert(place, node)
    assert any(message in phrase for phrase in tensorrt_int8_violations(model))


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_is_left_alone(target: Target) -> None:
    model = residual()
    found = quantised(model, target, keep=["conv2"])
    assert "conv2" not in found.layers
    assert ("conv2", "asked for") in [(kept.name, kept.reason) for kept in found.kept]
    layer = node_of(found.model, "conv2")
    assert layer.input[1:] == node_of(model, "conv2").input[1:]
    np.testing.assert_array_equal(constants(found.model)["w2"], constants(model)["w2"])


@pytest.mark.parametrize("target", TARGETS)
def test_with_all_layers_kept_nothing_changes(target: Target) -> None:
    model = residual()
    found = quantised(model, target, keep=layers_of(model, target))
    assert found.layers == ()
    assert "QuantizeLinear" not in [node.op_type for node in found.model.graph.node]
    np.testing.assert_allclose(outputs(found.model), outputs(model), rtol=1e-5, atol=1e-5)


def test_the_stem_stays_in_float() -> None:
    model = network(
        """c1 = Conv<pads = [1, 1, 1, 1]>(x, w1)
           c2 = Conv<pads = [1, 1, 1, 1], group = 16>(c1, w2)
           c3 = Conv(c2, w3)
           y = Conv(c3, w3)""",
        ("stem", "depthwise", "pointwise", "fourth"),
        {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (16, 16, 1, 1)},
        channels=3,
    )
    assert layers_of(model, "cpu") == ("fourth",)


def test_tensorrt_leaves_narrow_layers() -> None:
    model = network(
        """c1 = Conv<pads = [1, 1, 1, 1]>(x, w1)
           y = Conv<pads = [1, 1, 1, 1]>(c1, w2)""",
        ("wide", "narrow"),
        {"w1": (16, 16, 3, 3), "w2": (15, 16, 3, 3)},
    )
    assert layers_of(model, "cpu") == ("wide", "narrow")
    found = quantised(model, "tensorrt")
    assert found.layers == ("wide",)
    assert "15 channels" in found.kept[0].reason


def test_one_weight_may_serve_several_layers() -> None:
    model = network(
        """c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
           r1 = Relu(c1)
           y = Conv<pads = [1, 1, 1, 1]>(r1, w1, b1)""",
        ("first", "relu", "second"),
        {"w1": (16, 16, 3, 3), "b1": (16,)},
    )
    for target in TARGETS:
        found = quantised(model, target)
        assert found.layers == ("first", "second")
        assert "w1" not in constants(found.model)
        assert snr_db(model, found.model) > 30


def test_an_old_graph_with_nameless_nodes_is_raised() -> None:
    model = residual()
    for node in model.graph.node:
        node.name = ""
    model.opset_import[0].version = 11
    assert layers_of(model, "cpu") == ("Conv_0", "Conv_2")
    found = quantised(model, "cpu")
    assert found.layers == ("Conv_0", "Conv_2")
    assert snr_db(residual(), found.model) > 30
    assert not model.graph.node[0].name  # the caller's graph is as it was


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        ("Gemm<transB = 1>(f, w2, b2)", (24, 1024), 0),
        ("Gemm(f, w2, b2)", (1024, 24), 1),
        ("MatMul(f, w2)", (1024, 24), 1),
    ],
)
def test_dense_layers_have_a_scale_for_each_output(
    layer: str, shape: tuple[int, int], axis: int
) -> None:
    model = network(
        f"""c = Conv<pads = [1, 1, 1, 1]>(x, w1)
            f = Flatten(c)
            g = {layer}
            y = Reshape(g, four)""",
        ("conv", "flatten", "dense", "reshape"),
        {"w1": (16, 16, 3, 3), "w2": shape, "b2": (24,)},
    )
    four = onnx.numpy_helper.from_array(np.array([-1, 24, 1, 1]), "four")
    model.graph.initializer.append(four)
    for target in TARGETS:
        found = quantised(model, target)
        assert found.layers == ("conv", "dense")
        weight = makers(found.model)[node_of(found.model, "dense").input[1]]
        assert [attribute.i for attribute in weight.attribute] == [axis]
        assert constants(found.model)[weight.input[1]].shape == (24,)
        assert snr_db(model, found.model) > 30


def test_weights_that_are_also_inputs_do_not_become_required() -> None:
    model = residual()
    for tensor in model.graph.initializer:
        declared = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(declared)
    for target in TARGETS:
        assert snr_db(residual(), quantised(model, target).model) > 30


def test_names_that_the_graph_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match="`keep` names `conv9`"):
        quantised(residual(), "cpu", keep=["conv9"])


def test_a_table_of_another_graph_is_refused() -> None:
    with pytest.raises(InputError, match="made with another model"):
        quantise(residual(), Calibration("min-max", 1, {}), "cpu")


@pytest.mark.parametrize("target", TARGETS)
def test_a_trained_detector_stays_what_it_is(exported: Path, scenes: Path, target: Target) -> None:
    model = onnx.load(exported / "fused.onnx")
    with load(exported / "fused.onnx", "cpu", threads=1) as opened:
        images = list(image_feeds(opened, sorted((scenes / "train").glob("*.png"))[:8]))
    found = quantise(model, calibrate(model, images, method="min-max", threads=1), target)
    assert len(found.layers) > 60
    assert [f.name for f in found.model.functions] == [f.name for f in model.functions]
    assert [p.key for p in found.model.metadata_props] == [p.key for p in model.metadata_props]
    measured = layer_noise(model, found.model, images[:2], threads=1)
    assert np.median([layer.snr_db for layer in measured]) > 20
    if target == "tensorrt":
        assert tensorrt_int8_violations(found.model) == []
