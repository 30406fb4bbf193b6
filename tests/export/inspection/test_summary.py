"""What a graph is said to hold and to cost, against torch's counts and against loops."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
import onnx
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper

from edgecv.errors import InputError
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.inspection.summary import Summary, activation_peak, summarise
from edgecv.output_spec import LogitsOutput
from edgecv.spec import METADATA_KEY, InputSpec, ModelSpec

from .graphs import model, of, tensor

HERE = Path("made-here.onnx")
FLOATS = np.ones((8, 3, 3, 3), np.float32)


def summary(file: onnx.ModelProto, batch: int | None = None) -> Summary:
    return summarise(file, HERE, batch=batch)


@pytest.mark.parametrize(
    ("file", "macs"),
    [
        (of("Conv", [(2, 3, 8, 8), (4, 3, 3, 3)], (2, 4, 6, 6)), 2 * 4 * 6 * 6 * 27),
        (of("Conv", [(1, 4, 8, 8), (4, 1, 3, 3)], (1, 4, 6, 6), group=4), 4 * 6 * 6 * 9),
        (of("ConvTranspose", [(1, 4, 5, 5), (4, 2, 3, 3)], (1, 2, 7, 7)), 4 * 25 * 2 * 9),
        (of("MatMul", [(2, 5, 3), (3, 7)], (2, 5, 7)), 2 * 5 * 7 * 3),
        (of("Gemm", [(3, 5), (3, 7)], (5, 7), transA=1), 5 * 7 * 3),
        (of("Einsum", [(2, 5, 3), (2, 7, 3)], (2, 5, 7), equation="bik,bjk->bij"), 2 * 5 * 7 * 3),
        (of("Einsum", [(5, 3)], (3, 5), equation="ij->ji"), 0),
        (
            of("LSTM", [(6, 2, 4), (1, 20, 4), (1, 20, 5)], (6, 1, 2, 5), hidden_size=5),
            6 * 2 * 20 * 9,
        ),
        (of("Relu", [(2, 3)], (2, 3)), 0),
    ],
)
def test_macs_follow_the_definitions(file: onnx.ModelProto, macs: int) -> None:
    assert summary(file).macs == macs


@pytest.mark.parametrize("head", ["raw", "fused"])
def test_macs_are_half_of_what_torch_counts(exported: Path, trained_run: Path, head: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from edgecv.train.checkpoint import load_trained

    network = load_trained(trained_run / "best.pt").network
    for batch in (1, 3):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(batch, 3, 96, 128))
        found = summarise(read_onnx(exported / f"{head}.onnx"), HERE, batch=batch)
        assert 2 * found.macs == counter.get_total_flops()
        assert (found.batch, found.unknown_macs) == (batch, 0)


def test_parameters_are_those_of_torch(exported_classifier: Path, trained_classifier: Path) -> None:
    pytest.importorskip("torch")
    from edgecv.train.checkpoint import load_trained

    network = load_trained(trained_classifier / "best.pt").network
    found = summary(read_onnx(exported_classifier / "raw.onnx"))
    assert found.parameters == sum(values.numel() for values in network.parameters())
    assert found.arithmetic == {"float32": (5, found.macs)}  # LeNet: two and three


def test_a_described_file_tells_who_it_is(exported: Path) -> None:
    found = summary(read_onnx(exported / "fused.onnx"))
    assert found.opset == {"ai.onnx": 20, "edgecv": 1}
    assert [(entry.name, entry.is_optional) for entry in found.inputs] == [
        ("images", False),
        ("score_threshold", True),
        ("iou_threshold", True),
    ]
    assert found.inputs[0].shape == ("batch", 3, 96, 128)
    assert [entry.name for entry in found.functions] == ["edgecv.EdgeNMS"]
    assert found.operators["edgecv.EdgeNMS"] == 1
    assert found.operators["Conv"] == sum(one.operator == "Conv" for one in found.layers)
    assert found.spec is not None
    plain = found.to_plain(with_layers=True)
    assert plain["spec"]["task"] == "detect"
    assert sum(layer["macs"] for layer in plain["layers"]) == plain["macs"]
    assert "layers" not in found.to_plain()


def test_a_quantised_weight_is_a_parameter_and_its_scale_is_none() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "s", "z"], ["x_"]),
        helper.make_node("DequantizeLinear", ["w8", "ws"], ["w_"], axis=0),
        helper.make_node("DequantizeLinear", ["b32", "ws"], ["b_"], axis=0),
        helper.make_node("Conv", ["x_", "w_", "b_"], ["y"]),
        helper.make_node("Conv", ["y", "v"], ["out"]),
    ]
    constants = {
        "s": np.float32(0.1),
        "z": np.uint8(3),
        "w8": np.ones((8, 3, 3, 3), np.int8),
        "ws": np.ones(8, np.float32),
        "b32": np.ones(8, np.int32),
        "v": np.ones((2, 8, 1, 1), np.float32),
    }
    shape = [1, 3, 10, 10]
    found = summary(model(nodes, [tensor("x", shape)], [tensor("out", [1, 2, 8, 8])], constants))
    assert found.parameters == 8 * 27 + 8 + 16
    assert found.arithmetic == {"uint8 x int8": (1, 64 * 8 * 27), "float32": (1, 64 * 16)}
    assert found.constants["int8"].num_bytes == 8 * 27
    assert found.constants["float32"].num_bytes == 4 * (1 + 8 + 16)
    names = {layer.name: layer.parameters for layer in found.layers}
    assert names["y"] == 8 * 27 + 8  # with the node that reads them, not with what prepares them
    assert names["w_"] == 0


def test_a_shared_weight_counts_once_and_scalars_and_shapes_not_at_all() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Mul", ["b", "two"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["out"]),
    ]
    constants = {
        "w": np.ones((4, 4), np.float32),
        "two": np.float32(2),
        "flat": np.array([-1], np.int64),
    }
    found = summary(model(nodes, [tensor("x", [3, 4])], [tensor("out", [12])], constants))
    assert found.parameters == 16
    assert [layer.parameters for layer in found.layers] == [16, 0, 0, 0]


def test_the_type_of_a_layer_is_that_it_computes_in() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["x16"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["x16", "w"], ["y16"]),
        helper.make_node("Cast", ["y16"], ["out"], to=TensorProto.FLOAT),
    ]
    constants = {"w": np.ones((4, 4), np.float16)}
    found = summary(model(nodes, [tensor("x", [3, 4])], [tensor("out", [3, 4])], constants))
    assert found.arithmetic == {"float16": (1, 48)}


def chain_of(edges: list[list[int]], sizes: list[int]) -> onnx.ModelProto:
    """Return a graph whose node i makes a tensor of sizes[i] of earlier tensors, 0 the input."""
    nodes = [
        helper.make_node("Op", [f"t{before}" for before in reads], [f"t{index}"], domain="test")
        for index, reads in enumerate(edges, start=1)
    ]
    file = model(nodes, [tensor("t0", [sizes[0]])], [tensor(f"t{len(edges)}", [sizes[len(edges)]])])
    inner = [tensor(f"t{index}", [sizes[index]]) for index in range(1, len(edges))]
    file.graph.value_info.extend(inner)
    return file


@given(st.data())
def test_the_peak_is_that_of_a_simulation(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=count + 1, max_size=count + 1))
    edges = [
        data.draw(st.lists(st.integers(0, index), min_size=1, max_size=3, unique=True))
        for index in range(count)
    ]
    # The definition: while a node runs, what is there is what exists and someone still needs.
    most = 4 * sizes[0]
    for now in range(1, count + 1):
        needed = [
            tensor_
            for tensor_ in range(now + 1)
            if tensor_ in (now, count)
            or any(tensor_ in edges[later - 1] for later in range(now, count + 1))
        ]
        most = max(most, 4 * sum(sizes[tensor_] for tensor_ in needed))
    found = activation_peak(ir.serde.deserialize_model(chain_of(edges, sizes)).graph)
    assert found.num_bytes == most
    assert found.num_unknown == 0


def test_sizes_that_depend_on_the_data_are_counted_apart() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["out"], to=TensorProto.FLOAT),
    ]
    found = summary(model(nodes, [tensor("x", [4, 4])], [tensor("out", [2, "n"])]))
    assert found.peak.num_unknown == 2
    assert found.peak.num_bytes == 64


def test_open_sides_take_the_size_of_the_description() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["out"], pads=[1, 1, 1, 1])
    file = model(
        [node],
        [tensor("x", ["n", 3, "h", "w_"])],
        [tensor("out", ["n", 8, "h", "w_"])],
        {"w": FLOATS},
    )
    assert summary(file).unknown_macs == 1
    spec = ModelSpec("classify", ("a", "b"), InputSpec("x", (6, 10)), LogitsOutput("out"))
    write_spec(file, spec)
    assert summary(file, 2).macs == 2 * 8 * 60 * 27
    write_spec(file, replace(spec, input=InputSpec("x", (3, 5))))
    assert summary(file).macs == 8 * 15 * 27


def test_functions_of_others_are_looked_into_and_edgecv_s_are_not() -> None:
    body = helper.make_function(
        "other",
        "Product",
        ["a", "b"],
        ["c"],
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        [helper.make_opsetid("", 20)],
    )
    node = helper.make_node("Product", ["x", "w"], ["out"], domain="other")
    constants = {"w": np.ones((4, 5), np.float32)}
    ends = [tensor("x", [3, 4])], [tensor("out", [3, 5])]
    file = model([node], *ends, constants, functions=[body])
    found = summary(file)
    assert (found.macs, found.operators) == (60, {"MatMul": 1})
    assert found.parameters == 20


def test_a_fixed_batch_is_not_changed() -> None:
    file = of("Conv", [(2, 3, 8, 8), (4, 3, 3, 3)], (2, 4, 6, 6))
    assert summary(file, 2).batch == 2
    with pytest.raises(InputError, match="`--batch` is 3, but the graph's input `in0` takes 2"):
        summary(file, 3)


def test_an_unreadable_description_is_told_not_raised() -> None:
    file = of("Relu", [(2, 3)], (2, 3))
    helper.set_model_props(file, {METADATA_KEY: '{"schema": 99}'})
    found = summary(file)
    assert found.spec is None
    assert "`schema` is 99" in found.spec_error


def test_weights_in_another_file_count(tmp_path: Path, exported: Path) -> None:
    file = read_onnx(exported / "raw.onnx")
    inside = summary(file)
    path = tmp_path / "outside.onnx"
    external_data_helper.convert_model_to_external_data(file, location="weights.bin")
    onnx.save(file, path)
    outside: Any = summary(read_onnx(path))
    assert outside == inside
