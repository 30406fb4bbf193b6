"""Float16 in the graph: features half, boxes, regions, scores and sums float32.

Where features end is for `edgecv.export.precisions.fp16_regions` to say; here the nodes, weights
and casts are written.
"""

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.graphs.shapes import infer_shapes
from edgecv.export.operators.definitions import redefine_operators
from edgecv.export.precisions.converted import Converted, KeptFloat
from edgecv.export.precisions.fp16_nodes import (
    feature_inputs,
    fixed_inputs,
    is_added,
    is_constant,
    is_float,
    is_weighing,
    reads_shape_alone,
    reason_against,
)
from edgecv.export.precisions.fp16_regions import Regions, choose_regions
from edgecv.spec import METADATA_KEY, ModelSpec

_LARGEST = float(np.finfo(np.float16).max)  # 65504
_SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)  # 2**-14
# Of weights rounded to 11 bits, uniform in their binade or not, the root mean square of the errors
# is at most 2**-11 of that of the weights. Four times as much comes of underflow alone.
_LARGEST_ERROR = 2.0**-9
_ASKED = "it was asked for"


@dataclass(frozen=True)
class Underflow:
    """What of a weight lies below the normal numbers of float16, 2**-14.

    Args:
        weight: its name.
        vanished: fraction of its values that are 0 in float16 and were not before.
        subnormal: fraction of its values that are less than 2**-14 and not 0, in float16.

    """

    weight: str
    vanished: float
    subnormal: float


@dataclass(frozen=True)
class ConvertedToHalf(Converted):
    """A graph in float16, and what was decided on the way.

    Args:
        model: see `Converted`, as the next two.
        layers: see there.
        kept: see there; in the graph's order.
        num_half: nodes that compute in float16.
        num_casts: casts that were added.
        underflows: weights with values that are subnormal or vanish.

    """

    num_half: int
    num_casts: int
    underflows: tuple[Underflow, ...]


def to_fp16(model: onnx.ModelProto, *, keep: Collection[str] = ()) -> ConvertedToHalf:
    """Compute features in float16 and everything that decodes them in float32.

    Inputs and outputs keep their names and types. Weights of float16 nodes are stored as float16. A
    weight or constant beyond 65504, or so small that float16 loses more than 2**-9 of it (root mean
    square, biases apart), keeps its node in float32. A description in the metadata says `fp16`
    afterwards.

    Args:
        model: in float32, best simplified (see `edgecv.export.graphs.simplify`); it is not changed.
        keep: names of nodes to leave in float32.

    Raises:
        InputError: if the graph is quantised, `keep` names a node that it does not have, its types
            contradict each other, or nothing of it can be float16.

    """
    typed = infer_shapes(model)
    intermediate = ir.from_proto(typed)
    graph = intermediate.graph
    _refuse_quantised(graph)
    _check_names(graph, keep)
    regions = choose_regions(graph, _reasons(graph, keep))
    if not regions.half:
        raise InputError(
            "nothing in this graph can be float16: it has no Conv, Gemm or MatMul that is float32, "
            "or all are kept. Export it with `--precision fp32`."
        )
    layers = tuple(node.name or "" for node in graph if node in regions.half and is_weighing(node))
    underflows = _halve(graph, regions)
    num_casts = _cast(graph, regions)
    result = ir.to_proto(intermediate)
    del result.functions[:]
    result.functions.extend(model.functions)
    redefine_operators(result)
    _describe(result)
    result = infer_shapes(result)
    onnx.checker.check_model(result, full_check=True)
    return ConvertedToHalf(
        model=result,
        layers=layers,
        kept=tuple(
            KeptFloat(node.name or "", node.op_type, reason)
            for node, reason in regions.kept.items()
        ),
        num_half=len(regions.half),
        num_casts=num_casts,
        underflows=tuple(underflows),
    )


def _refuse_quantised(graph: ir.Graph) -> None:
    for node in graph:
        if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
            raise InputError(
                f"the graph is quantised already (node `{node.name}`). Make the float16 file from "
                "the float32 one."
            )


def _check_names(graph: ir.Graph, keep: Collection[str]) -> None:
    known = [node.name or "" for node in graph]
    for name in keep:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise InputError(f"`keep` names a node `{name}`, which the graph does not have.{hint}")


def _reasons(graph: ir.Graph, keep: Collection[str]) -> dict[ir.Node, str]:
    """Return the nodes that must stay float32 for what they are called or what they hold."""
    reasons: dict[ir.Node, str] = {}
    for node in graph:
        if node.name in keep:
            reasons[node] = _ASKED
        elif reason_against(node) is None:
            constants = (value for value in feature_inputs(node) if is_constant(value))
            losses = (_loss(value, is_added=is_added(node, value)) for value in constants)
            reason = next((loss for loss in losses if loss), None)
            if reason:
                reasons[node] = reason
    return reasons


def _loss(value: ir.Value, *, is_added: bool) -> str | None:
    """Return why a constant cannot be float16, None if it can.

    What is lost of a bias is lost beside features that are rounded more.
    """
    array = _array(value)
    finite = array[np.isfinite(array)].astype(np.float64)
    largest = float(np.abs(finite).max(initial=0.0))
    if largest > _LARGEST:
        return f"`{value.name}` holds {largest:.3g}, beyond float16's {_LARGEST:.0f}"
    if is_added:
        return None
    error = np.linalg.norm(finite.astype(np.float16) - finite)
    if error > _LARGEST_ERROR * np.linalg.norm(finite):
        return f"`{value.name}` is too small for float16: its largest value is {largest:.3g}"
    return None


def _halve(graph: ir.Graph, regions: Regions) -> list[Underflow]:
    """Give the nodes of the float16 region their types and weights; return what underflows."""
    halves: dict[ir.Value, ir.Value] = {}
    underflows: list[Underflow] = []
    taken = _names(graph)
    for node in list(graph):
        if node not in regions.half:
            continue
        following = set(feature_inputs(node))
        for index, value in enumerate(node.inputs):
            if value in following and is_constant(value):
                if value not in halves:
                    halves[value], underflow = _half(graph, value, taken)
                    underflows += [underflow] if underflow else []
                node.replace_input_with(index, halves[value])
    for value in halves:
        _forget_unused(graph, value)
    return underflows


def _half(
    graph: ir.Graph, value: ir.Value, taken: Callable[[str], str]
) -> tuple[ir.Value, Underflow | None]:
    """Return a float16 initialiser with the values of a constant."""
    array = _array(value)
    half = array.astype(np.float16)
    size = np.abs(half)
    vanished = float(((size == 0) & (array != 0)).mean()) if array.size else 0.0
    subnormal = float(((size > 0) & (size < _SMALLEST_NORMAL)).mean()) if array.size else 0.0
    name = taken(f"{value.name}_float16")
    made = ir.Value(
        name=name,
        shape=ir.Shape(half.shape),
        type=ir.TensorType(ir.DataType.FLOAT16),
        const_value=ir.tensor(half, name=name),
    )
    graph.register_initializer(made)
    underflow = Underflow(value.name or "", vanished, subnormal) if vanished or subnormal else None
    return made, underflow


def _forget_unused(graph: ir.Graph, value: ir.Value) -> None:
    if value.uses() or value.is_graph_output():
        return
    producer = value.producer()
    if producer is not None:
        graph.remove(producer, safe=True)
    else:
        del graph.initializers[value.name or ""]


def _cast(graph: ir.Graph, regions: Regions) -> int:
    """Put a cast where a value goes from one type to the other, one for each value."""
    taken = _names(graph)
    values = [value for value in graph.inputs if is_float(value)]
    values += [value for node in graph for value in node.outputs if is_float(value)]
    count = 0
    for value in values:
        producer = value.producer()
        if is_constant(value):
            continue
        is_half = producer in regions.half
        if is_half:
            value.type = ir.TensorType(ir.DataType.FLOAT16)
        others = [
            (node, index)
            for node, index in value.uses()
            if not reads_shape_alone(node) and _wants_half(node, value, regions) != is_half
        ]
        is_shown = is_half and value.is_graph_output()
        if not others and not is_shown:
            continue
        target = ir.DataType.FLOAT if is_half else ir.DataType.FLOAT16
        made = _cast_node(graph, value, target, taken)
        for node, index in others:
            node.replace_input_with(index, made)
        if is_shown:
            _show_instead(graph, value, made, taken)
        count += 1
    return count


def _wants_half(node: ir.Node, value: ir.Value, regions: Regions) -> bool:
    return node in regions.half and value not in fixed_inputs(node)


def _cast_node(
    graph: ir.Graph, value: ir.Value, target: ir.DataType, taken: Callable[[str], str]
) -> ir.Value:
    """Insert a cast of a value right behind what makes it, and return the result."""
    suffix = "float16" if target == ir.DataType.FLOAT16 else "float32"
    made = ir.Value(
        name=taken(f"{value.name}_{suffix}"), shape=value.shape, type=ir.TensorType(target)
    )
    cast = ir.node("Cast", [value], {"to": int(target)}, outputs=[made])
    cast.name = taken(f"Cast_{value.name}_{suffix}")
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, cast)
    else:
        graph.insert_before(graph.node(0), cast)
    return made


def _show_instead(
    graph: ir.Graph, value: ir.Value, made: ir.Value, taken: Callable[[str], str]
) -> None:
    """Let `made` be the output that `value` was, under its name."""
    name = value.name
    value.name = taken(f"{name}_float16")
    made.name = name
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = made


def _names(graph: ir.Graph) -> Callable[[str], str]:
    """Return a function that makes a name that nothing in the graph has of one that may be had."""
    known = {value.name for value in (*graph.inputs, *graph.initializers.values())}
    for node in graph.all_nodes():
        known |= {node.name, *(value.name for value in node.outputs)}

    def taken(wanted: str) -> str:
        name, count = wanted, 1
        while name in known:
            count += 1
            name = f"{wanted}_{count}"
        known.add(name)
        return name

    return taken


def _array(value: ir.Value) -> NDArray[np.float32]:
    """Return the values of a constant."""
    producer = value.producer()
    if producer is None:
        if value.const_value is None:
            raise ValueError(f"fp16: the initialiser `{value.name}` has no values.")
        return value.const_value.numpy()
    (attribute,) = producer.attributes.values()
    if isinstance(attribute.value, ir.TensorProtocol):
        return attribute.value.numpy()
    return np.array(attribute.value, np.float32)


def _describe(model: onnx.ModelProto) -> None:
    """Let the file's description, if it has one, say what the graph computes with."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY in metadata:
        spec = ModelSpec.from_json(metadata[METADATA_KEY])
        write_spec(model, replace(spec, provenance=replace(spec.provenance, precision="fp16")))
