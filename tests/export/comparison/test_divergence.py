"""The search for the layer where two graphs part, on graphs that are broken on purpose."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecv.errors import InputError
from edgecv.export.comparison.divergence import LIMITS, find_divergence, precision_of
from edgecv.export.comparison.tensors import Graph

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(-1, 1, (1, 4, 6, 6)).astype(np.float32)


def file(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    output: str,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


KINDS = ("Conv", "Clip", "Sigmoid", "Mul", "Add")


def chain(
    path: Path, kinds: Sequence[str], broken: int | None = None, prefix: str = "t"
) -> tuple[Path, list[str]]:
    """Write a chain of operators, one of them other than it should be; return the node names."""
    rng = np.random.default_rng(len(kinds))
    nodes, constants, last = [], {}, "image"
    for index, kind in enumerate(kinds):
        is_broken = index == broken
        name, made = f"{kind}_{index}", f"{prefix}{index}"
        reads, attributes, op_type = [last], {}, kind
        if kind == "Conv":
            weight = rng.uniform(-1, 1, (4, 4, 3, 3)).astype(np.float32)
            weight[2, 1, 1, 1] += 0.5 * is_broken  # one weight of many
            constants[f"{prefix}w{index}"] = weight
            reads.append(f"{prefix}w{index}")
            attributes["pads"] = [1, 1, 1, 1]
        elif kind == "Clip":
            low, high = (-2.0, 2.0 - 1.9 * is_broken)
            constants |= {
                f"{prefix}l{index}": np.float32(low),
                f"{prefix}h{index}": np.float32(high),
            }
            reads += [f"{prefix}l{index}", f"{prefix}h{index}"]
        elif kind == "Sigmoid":
            op_type = "HardSigmoid" if is_broken else "Sigmoid"
        else:
            constants[f"{prefix}c{index}"] = np.float32(1.1 + 0.2 * is_broken)
            reads.append(f"{prefix}c{index}")
        nodes.append(helper.make_node(op_type, reads, [made], name, **attributes))
        last = made
    return file(path, nodes, constants, last), [node.name for node in nodes]


def graph(path: Path, **feeds: np.ndarray) -> Graph:
    return Graph(path, [feeds or {"image": IMAGE}])


@settings(max_examples=25)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8),
    data=st.data(),
)
def test_the_broken_node_is_named(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], data: st.DataObject
) -> None:
    broken = data.draw(st.integers(0, len(kinds) - 1))
    folder = tmp_path_factory.mktemp("chain")
    right, names = chain(folder / "right.onnx", kinds)
    wrong, _ = chain(folder / "wrong.onnx", kinds, broken)
    found = find_divergence(graph(right), graph(wrong), limit=LIMITS["fp32"])
    # A Clip whose bound no value reaches changes nothing, and is rightly not found.
    if found.node or kinds[broken] != "Clip":
        assert found.node == names[broken]
        assert found.output is not None
        assert found.output.relative > LIMITS["fp32"]
        assert all(entry.relative == 0 for entry in found.inputs)
        assert found.alone is not None
        assert found.alone.absolute == found.output.absolute
    same = find_divergence(graph(right), graph(right), limit=0.0)
    assert (same.node, same.num_tensors) == ("", len(kinds))


def test_inputs_and_output_are_told_apart(tmp_path: Path) -> None:
    kinds = ("Conv", "Clip", "Conv", "Add", "Sigmoid")
    right, _ = chain(tmp_path / "right.onnx", kinds)
    wrong, _ = chain(tmp_path / "wrong.onnx", kinds, 2)
    found = find_divergence(graph(right), graph(wrong), limit=1e-4)
    assert (found.node, found.operator, found.matched_by) == ("Conv_2", "Conv", "name")
    assert [entry.name for entry in found.inputs] == ["t1"]
    assert "the first to diverge is Conv `Conv_2`" in str(found)
    assert "its inputs by nothing" in str(found)


def test_graphs_with_other_names_are_paired_by_order(tmp_path: Path) -> None:
    kinds = ("Conv", "Clip", "Conv", "Add")
    right, _ = chain(tmp_path / "right.onnx", kinds)
    wrong, names = chain(tmp_path / "wrong.onnx", kinds, 2, prefix="other")
    found = find_divergence(graph(right), graph(wrong), limit=1e-4)
    assert (found.matched_by, found.node) == ("order", names[2])
    assert [entry.name for entry in found.inputs] == ["t1"]


def test_graphs_with_nothing_in_common_say_so(tmp_path: Path) -> None:
    right, _ = chain(tmp_path / "right.onnx", ("Conv", "Clip"))
    other, _ = chain(tmp_path / "other.onnx", ("Add", "Mul", "Add"), prefix="other")
    found = find_divergence(graph(right), graph(other), limit=1e-4)
    assert (found.matched_by, found.node, found.num_tensors) == ("nothing", "", 0)
    assert "no tensor in common" in str(found)


def test_inputs_that_differ_are_named_first(tmp_path: Path) -> None:
    path, _ = chain(tmp_path / "a.onnx", ("Conv",))
    found = find_divergence(graph(path), graph(path, image=IMAGE[:, ::-1].copy()), limit=1e-4)
    assert found.node == "the input"
    assert "descriptions disagree" in str(found)


def test_a_quantised_graph_is_compared_at_the_float_tensors(tmp_path: Path) -> None:
    weight = RNG.uniform(-1, 1, (4, 4, 3, 3)).astype(np.float32)
    plain = [
        helper.make_node("Conv", ["image", "w"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "second"),
        helper.make_node("Conv", ["b", "w"], ["c"], "third", pads=[1, 1, 1, 1]),
    ]
    right = file(tmp_path / "right.onnx", plain, {"w": weight}, "c")

    def quantised(path: Path, scale: float) -> Path:
        """Both sides of the second Conv in 8 bits; `scale` clips its input where too small."""
        nodes = [
            helper.make_node("QuantizeLinear", ["b", "s", "z"], ["b8"], "quantise"),
            helper.make_node("DequantizeLinear", ["b8", "s", "z"], ["b_"], "dequantise"),
            helper.make_node("Conv", ["b_", "w"], ["c"], "third", pads=[1, 1, 1, 1]),
        ]
        constants = {"w": weight, "s": np.float32(scale), "z": np.uint8(0)}
        return file(path, [*plain[:2], *nodes], constants, "c")

    fine = quantised(tmp_path / "fine.onnx", 0.05)
    found = find_divergence(graph(right), graph(fine), limit=LIMITS["int8-cpu"])
    assert (found.node, found.num_tensors) == ("", 3)
    assert precision_of(onnx.load(fine), "fp32") == "int8-cpu"
    clipped = quantised(tmp_path / "clipped.onnx", 0.001)
    found = find_divergence(graph(right), graph(clipped), limit=LIMITS["int8-cpu"])
    assert found.node == "third"
    assert [entry.name for entry in found.inputs] == ["b"]
    assert found.alone is not None
    assert found.alone.relative > LIMITS["int8-cpu"]


def test_a_float16_graph_is_compared_across_its_casts(tmp_path: Path) -> None:
    weight = RNG.uniform(-1, 1, (4, 4, 3, 3)).astype(np.float32)
    plain = [
        helper.make_node("Conv", ["image", "w"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["a", "k"], ["b"], "second"),
        helper.make_node("Sigmoid", ["b"], ["c"], "third"),
    ]
    right = file(tmp_path / "right.onnx", plain, {"w": weight, "k": np.float32(3)}, "c")

    def half(path: Path, factor: float) -> Path:
        nodes = [
            helper.make_node("Cast", ["image"], ["image16"], "down", to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["image16", "w"], ["a"], "first", pads=[1, 1, 1, 1]),
            helper.make_node("Mul", ["a", "k"], ["b"], "second"),
            helper.make_node("Cast", ["b"], ["b32"], "up", to=TensorProto.FLOAT),
            helper.make_node("Sigmoid", ["b32"], ["c"], "third"),
        ]
        constants = {"w": weight.astype(np.float16), "k": np.float16(factor)}
        return file(path, nodes, constants, "c")

    fine = half(tmp_path / "fine.onnx", 3)
    found = find_divergence(graph(right), graph(fine), limit=LIMITS["fp16"])
    assert (found.node, found.num_tensors) == ("", 3)
    assert precision_of(onnx.load(fine), "fp32") == "fp16"
    broken = half(tmp_path / "broken.onnx", 3.2)
    found = find_divergence(graph(right), graph(broken), limit=LIMITS["fp16"])
    assert found.node == "second"
    overflowing = half(tmp_path / "over.onnx", 60000.0)
    found = find_divergence(graph(right), graph(overflowing), limit=LIMITS["fp16"])
    assert found.node == "second"
    assert found.to_plain()["output"]["relative"] is None
    assert "not finite" in str(found)


def test_nodes_that_the_reference_has_not_are_listed(tmp_path: Path) -> None:
    constants = {"k": np.float32(2)}
    plain = [
        helper.make_node("Sigmoid", ["image"], ["a"], "first"),
        helper.make_node("Mul", ["a", "k"], ["b"], "second"),
    ]
    longer = [
        helper.make_node("Neg", ["image"], ["n"], "turned"),
        helper.make_node("Sigmoid", ["n"], ["m"], "its sigmoid"),
        helper.make_node("Mul", ["m", "k"], ["b"], "second"),
    ]
    right = file(tmp_path / "right.onnx", plain, constants, "b")
    wrong = file(tmp_path / "wrong.onnx", longer, constants, "b")
    found = find_divergence(graph(right), graph(wrong), limit=1e-4)
    assert (found.node, found.between) == ("second", ("turned", "its sigmoid"))


def test_a_node_whose_shape_is_computed_runs_alone_too(tmp_path: Path) -> None:
    def enlarged(path: Path, rounding: str) -> Path:
        nodes = [
            helper.make_node("Shape", ["image"], ["first"], "a", end=2),
            helper.make_node("Concat", ["first", "rest"], ["sizes"], "b", axis=0),
            helper.make_node(
                "Resize",
                ["image", "", "", "sizes"],
                ["large"],
                "it",
                mode="nearest",
                nearest_mode=rounding,
                coordinate_transformation_mode="asymmetric",
            ),
        ]
        return file(path, nodes, {"rest": np.array([9, 9])}, "large")

    right = enlarged(tmp_path / "right.onnx", "floor")
    wrong = enlarged(tmp_path / "wrong.onnx", "ceil")
    found = find_divergence(graph(right), graph(wrong), limit=1e-4)
    assert (found.node, [entry.relative for entry in found.inputs]) == ("it", [0])
    assert found.alone == found.output


def test_another_shape_is_a_divergence(tmp_path: Path) -> None:
    weight = RNG.uniform(-1, 1, (4, 4, 3, 3)).astype(np.float32)

    def strided(path: Path, stride: int) -> Path:
        node = helper.make_node("Conv", ["image", "w"], ["a"], "it", strides=[stride, stride])
        return file(path, [node], {"w": weight}, "a")

    right, wrong = strided(tmp_path / "right.onnx", 1), strided(tmp_path / "wrong.onnx", 2)
    found = find_divergence(graph(right), graph(wrong), limit=1e-4)
    assert found.node == "it"
    assert "its shape" in str(found)


def test_a_choice_is_doubted_and_what_it_led_to_comes_last(tmp_path: Path) -> None:
    """TopK sees two equal values; the fault that matters lies after it in the file, not behind."""
    column = np.array([[1.0, 1.0 + 1e-7, 0.5, 0.2]], np.float32)

    def choosing(path: Path, nudge: float, factor: float) -> Path:
        nodes = [
            helper.make_node("Add", ["column", "nudge"], ["scores"], "scores"),
            helper.make_node("TopK", ["scores", "two"], ["best", "rows"], "choice"),
            helper.make_node("Mul", ["image", "factor"], ["scaled"], "scale"),
        ]
        constants = {
            "column": column,
            "nudge": np.array([[nudge, 0, 0, 0]], np.float32),
            "two": np.array([2], np.int64),
            "factor": np.float32(factor),
        }
        return file(path, nodes, constants, "scaled")

    right = choosing(tmp_path / "right.onnx", 0, 2.0)
    tie = choosing(tmp_path / "tie.onnx", 1e-6, 2.0)
    found = find_divergence(graph(right), graph(tie), limit=1e-4)
    assert (found.node, found.chooses, found.grew) == ("choice", True, True)
    both = choosing(tmp_path / "both.onnx", 1e-6, 2.1)
    found = find_divergence(graph(right), graph(both), limit=1e-4)
    assert (found.node, found.chooses) == ("scale", False)


def test_differences_that_grow_are_no_layer_s_fault(tmp_path: Path) -> None:
    """The rounding of a first layer is a small share of its output, and a large one of the next."""

    def cancelling(path: Path, offset: float, factor: float) -> Path:
        nodes = [
            helper.make_node("Add", ["image", "high"], ["a"], "lift"),
            helper.make_node("Sub", ["a", "thousand"], ["b"], "lower"),
            helper.make_node("Mul", ["b", "factor"], ["c"], "scale"),
        ]
        constants = {
            "high": np.float32(1000 + offset),
            "thousand": np.float32(1000),
            "factor": np.float32(factor),
        }
        return file(path, nodes, constants, "c")

    right = cancelling(tmp_path / "right.onnx", 0, 2)
    rounded = cancelling(tmp_path / "rounded.onnx", 0.02, 2)
    found = find_divergence(graph(right), graph(rounded), limit=1e-3)
    assert (found.node, found.grew, found.num_tensors) == ("lower", True, 3)
    assert found.alone is not None
    assert found.alone.relative == 0
    assert "small differences grow" in str(found)
    broken = cancelling(tmp_path / "broken.onnx", 0.02, 2.1)
    found = find_divergence(graph(right), graph(broken), limit=1e-3)
    assert (found.node, found.grew) == ("scale", False)


def test_memory_is_bounded_and_the_search_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("Conv",) * 6
    right, names = chain(tmp_path / "right.onnx", kinds)
    wrong, _ = chain(tmp_path / "wrong.onnx", kinds, 2)
    monkeypatch.setattr("edgecv.export.comparison.divergence._CHUNK_BYTES", 2 * IMAGE.nbytes)
    steps: list[int] = []
    found = find_divergence(
        graph(right), graph(wrong), limit=1e-4, on_tensors=lambda done, _: steps.append(done)
    )
    assert (found.node, steps) == (names[2], [1, 2, 3])


def test_a_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    path, _ = chain(tmp_path / "a.onnx", ("Conv",))
    with pytest.raises(InputError, match="does not run"):
        find_divergence(
            graph(path, image=IMAGE[:, :2]), graph(path, image=IMAGE[:, :2]), limit=1e-4
        )
