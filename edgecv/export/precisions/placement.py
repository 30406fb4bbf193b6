"""Which tensors of a graph are rounded to 8 bits, for the layers that compute with them.

On a CPU every change between float32 and 8 bits is a pass over the tensor, so what lies between
layers (sums, joins, pooling, resizing, SiLU) computes in 8 bits too wherever its result reaches a
layer. TensorRT finds such regions itself and wants to be told as little as possible. What comes
after the last layers, the decoding of boxes and scores, stays in float32 for both.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgecv.export.precisions.converted import KeptFloat
from edgecv.export.precisions.layers import (
    STANDARD,
    Target,
    attribute,
    constant,
    is_layer,
    kept_float,
)

# These move values or choose among them: what comes out lies on the grid of what went in.
_REORDERS = frozenset({"DepthToSpace", "SpaceToDepth", "Split", "Slice", "Transpose"})
_RESHAPES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_MOVES = _REORDERS | _RESHAPES | {"MaxPool"}
# These compute new values, and onnxruntime has an 8-bit kernel for each.
_MIXES = frozenset(
    ("Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid")
)


@dataclass
class Plan:
    """What is to be quantised.

    Args:
        layers: nodes that get 8-bit weights.
        kept: layers that do not.
        tensors: values that are rounded to 8 bits, by name.
        sources: names of values that lie on the grid of another one, to the name of that.
        folded: activations that the range of their output makes superfluous.
        ends: names of values that no layer sees: what scores and boxes are read from.
        skips: sums and the place of their input that is rounded, for TensorRT.

    """

    layers: list[ir.Node] = field(default_factory=list)
    kept: list[KeptFloat] = field(default_factory=list)
    tensors: dict[str, ir.Value] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    folded: list[ir.Node] = field(default_factory=list)
    ends: set[str] = field(default_factory=set)
    skips: list[tuple[ir.Node, int]] = field(default_factory=list)

    def source(self, name: str) -> str:
        """Return the name of the value whose range a value takes."""
        while name in self.sources:
            name = self.sources[name]
        return name


def plan_cpu(graph: ir.Graph, keep: Collection[str] = ()) -> Plan:
    """Return what onnxruntime's CPU kernels are to compute in 8 bits.

    A layer rounds its input and its output. An activation that only cuts values off is dropped
    where the grid of its output ends at the same places: saturation does its work for nothing.

    Args:
        graph: of a model that is `prepared`.
        keep: names of nodes that stay in float32.

    """
    plan = _layers(graph, "cpu", keep)
    for node in plan.layers:
        _take(plan, [_data(node)[0], _result(node)])
    followers = _followers(graph, plan, keep)
    for node in followers:
        if is_move(node):
            source = str(_data(node)[0].name)
            plan.sources |= {str(value.name): source for value in node.outputs}
    computed = [*plan.layers, *followers]
    plan.folded = [
        activation
        for node in computed
        if (activation := _saturating(node)) is not None and not is_move(node)
    ]
    seen = {value for node in computed for value in _data(node)}
    plan.ends = {name for name, value in plan.tensors.items() if value not in seen}
    return plan


def plan_tensorrt(graph: ir.Graph, keep: Collection[str] = ()) -> Plan:
    """Return what TensorRT is to compute in 8 bits: the inputs of layers and of residual sums.

    Of a sum in front of a layer the input that comes straight from a layer is left alone, because
    TensorRT then fuses the two, and the other is rounded, so that the fused kernel reads 8 bits.
    Where both come from layers, the one that is made first is rounded.

    Args:
        graph: of a model that is `prepared`.
        keep: names of nodes that stay in float32.

    """
    plan = _layers(graph, "tensorrt", keep)
    reached = Plan()
    for node in plan.layers:
        _take(plan, [_data(node)[0]])
        _take(reached, [_data(node)[0]])
    order = {node: place for place, node in enumerate(graph)}
    sums = [node for node in _followers(graph, reached, keep) if node.op_type == "Add"]
    for node in sums:
        fused = {
            order[maker]: place
            for place, value in enumerate(_data(node))
            if (maker := value.producer()) in plan.layers and len(value.uses()) == 1
        }
        if fused:
            skip = 1 - fused[max(fused)]
            plan.skips.append((node, skip))
            _take(plan, [_data(node)[skip]])
    return plan


def is_move(node: ir.Node) -> bool:
    """Tell whether all values of a node's outputs are values of its first input."""
    if node.op_type == "Resize":
        return bool(attribute(node, "mode", "nearest") == "nearest")
    return node.op_type in _MOVES


def _layers(graph: ir.Graph, target: Target, keep: Collection[str]) -> Plan:
    """Return a plan of the layers alone."""
    kept = kept_float(graph, target)
    names = {layer.name for layer in kept}
    rest = [node for node in graph if is_layer(node) and node.name not in names]
    asked = [KeptFloat(str(n.name), n.op_type, "asked for") for n in rest if n.name in keep]
    return Plan([node for node in rest if node.name not in keep], [*kept, *asked])


def _followers(graph: ir.Graph, plan: Plan, keep: Collection[str]) -> list[ir.Node]:
    """Add to a plan what lies between its layers; return those nodes, the last first."""
    found = []
    for node in reversed(list(graph)):
        is_known = node.domain in STANDARD and (is_move(node) or node.op_type in _MIXES)
        if not is_known or node.name in keep:
            continue
        results = node.outputs if is_move(node) else [_result(node)]
        data = _data(node)
        is_float = all(value.dtype == ir.DataType.FLOAT for value in data)
        is_whole = is_move(node) or len(data) == len(node.inputs)  # no operand is a constant
        if is_float and is_whole and any(value.name in plan.tensors for value in results):
            found.append(node)
            _take(plan, [*data, *results])
    return found


def _take(plan: Plan, values: Sequence[ir.Value]) -> None:
    plan.tensors |= {str(value.name): value for value in values}


def _data(node: ir.Node) -> list[ir.Value]:
    """Return the inputs that are activations: not weights, shapes or other constants."""
    inputs = node.inputs[:1] if is_move(node) or is_layer(node) else node.inputs
    return [value for value in inputs if value is not None and constant(value) is None]


def _result(node: ir.Node) -> ir.Value:
    """Return a node's output, or that of the activation that saturation stands for."""
    activation = _saturating(node)
    return node.outputs[0] if activation is None else activation.outputs[0]


def _saturating(node: ir.Node) -> ir.Node | None:
    """Return the activation that a node's output goes to alone and that only cuts values off."""
    output = node.outputs[0]
    uses = list(output.uses())
    if len(uses) != 1 or output.is_graph_output():
        return None
    after = uses[0].node
    bounds = _bounds(after)
    # A grid always has zero on it.
    return after if bounds is not None and bounds[0] <= 0 <= bounds[1] else None


def _bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return what a Relu or Clip cuts to, None where a bound is computed or it is neither."""
    if node.domain not in STANDARD or node.op_type not in ("Clip", "Relu"):
        return None
    if node.op_type == "Relu":
        return 0.0, np.inf
    bounds = [-np.inf, np.inf]
    for place, value in enumerate(node.inputs[1:]):
        found = constant(value)
        if found is not None:
            bounds[place] = float(found)
        elif value is not None:
            return None
    return bounds[0], bounds[1]
