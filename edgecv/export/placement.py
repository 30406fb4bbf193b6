"""Which layers of a graph compute in 8 bits, and which tensors are rounded on the way.

A *layer* is a node that multiplies by constant weights. What lies between layers (sums, joins,
pooling, resizing) follows them: on a CPU it computes in 8 bits too, wherever its result reaches a
layer, because every change between float32 and 8 bits costs a pass over the tensor. What comes
after the last layers, the decoding of boxes and scores, never does.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir
from edgecv.errors import InputError
from edgecv.export.model_file import opset_of

Target = Literal["cpu", "tensorrt"]

_PER_CHANNEL_OPSET = 13  # of QuantizeLinear with an axis
_RAISED_OPSET = 17
_STANDARD = ("", "ai.onnx")
_NARROW = 16  # channels; below, TensorRT's int8 kernels lose to its float ones

# These only move values or choose among them: what comes out lies on the grid of what went in.
MOVES = frozenset(
    {"DepthToSpace", "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth"}
    | {"Split", "Squeeze", "Transpose", "Unsqueeze"}
)
# These compute new values, and onnxruntime does so in 8 bits. The numbers of their inputs.
_MIXES = {"Add": 2, "AveragePool": 1, "Concat": None, "GlobalAveragePool": 1, "Mul": 2}
_ACTIVATIONS = ("Clip", "Relu")


@dataclass(frozen=True)
class KeptFloat:
    """A layer that stays in float32.

    Args:
        name: of the node.
        operator: such as `Conv`.
        reason: why.

    """

    name: str
    operator: str
    reason: str


@dataclass
class Plan:
    """What is to be quantised.

    Args:
        layers: nodes that get 8-bit weights.
        kept: layers that do not.
        tensors: values that are rounded to 8 bits.
        groups: values that share a scale: a tensor to the one whose range it takes.
        folded: activations that the range of their output makes superfluous.
        ends: names of the values that no layer sees: what scores and boxes are read from.

    """

    layers: list[ir.Node] = field(default_factory=list)
    kept: list[KeptFloat] = field(default_factory=list)
    tensors: dict[str, ir.Value] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    folded: list[ir.Node] = field(default_factory=list)
    ends: set[str] = field(default_factory=set)


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with a name on every node, those that it has kept."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    taken = {node.name for node in copy.graph.node}
    for index, node in enumerate(copy.graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name
    return copy


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    if opset_of(model) < _PER_CHANNEL_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, _RAISED_OPSET)
        except Exception as error:
            raise InputError(
                f"the graph is of opset {opset_of(model)}, 8 bits need {_PER_CHANNEL_OPSET}, and "
                f"it cannot be raised: {error}. Export it again with opset {_RAISED_OPSET}."
            ) from error
    return onnx.shape_inference.infer_shapes(named(model))


def layers_of(model: onnx.ModelProto, target: Target) -> tuple[str, ...]:
    """Return the names of the nodes that can compute in 8 bits, in the graph's order.

    Args:
        model: a float32 graph; nodes without a name are called by `named`.
        target: whose kernels.

    """
    graph = ir.from_proto(named(model)).graph
    return tuple(str(node.name) for node in graph if obstacle(node, target) == "")


def obstacle(node: ir.Node, target: Target) -> str | None:
    """Return why a layer cannot compute in 8 bits, an empty text if it can, None for no layer."""
    weight = weight_of(node)
    if weight is None:
        return None
    shape, group = weight.shape, _attribute(node, "group", 1)
    if node.op_type == "ConvTranspose":
        if target == "cpu":
            return "onnxruntime has no 8-bit kernel for ConvTranspose on CPUs"
        if group > 1:
            return "a grouped ConvTranspose has no scale per channel"
    if target == "tensorrt":
        channels = _channels(node, shape, group)
        if min(channels) < _NARROW:
            return f"{min(channels)} channels: TensorRT's int8 kernels want {_NARROW} or more"
    return ""


def weight_of(node: ir.Node) -> np.ndarray | None:
    """Return the constant weight of a layer, None for what is no layer."""
    if node.domain not in _STANDARD or len(node.inputs) < 2:  # noqa: PLR2004  # data, weight
        return None
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    found = node.inputs[1] and ir.convenience.get_const_tensor(node.inputs[1])
    if found is None or found.dtype != ir.DataType.FLOAT:
        return None
    weight = found.numpy()
    if node.op_type == "MatMul" and weight.ndim != 2:  # noqa: PLR2004  # [in, out]
        return None
    if node.op_type == "Gemm" and (
        _attribute(node, "alpha", 1.0) != 1
        or _attribute(node, "beta", 1.0) != 1
        or _attribute(node, "transA", 0)
    ):
        return None
    return weight


def channel_axis(node: ir.Node) -> int:
    """Return the axis of a layer's weight that counts its outputs."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and _attribute(node, "transB", 0):
        return 0
    return 1


def plan_cpu(graph: ir.Graph, keep: Collection[str]) -> Plan:
    """Return what onnxruntime's CPU kernels compute in 8 bits: whole regions, not single layers.

    A layer rounds its input and its output. An activation that only cuts values off is dropped
    where the 8 bits of its output end at the same places: saturation does its work for nothing.
    """
    plan = Plan()
    _sort_layers(plan, graph, keep, "cpu")
    followed = set()
    for node in plan.layers:
        output = node.outputs[0]
        activation = _folding(output)
        if activation is not None:
            plan.folded.append(activation)
            output = activation.outputs[0]
        followed.add(node.inputs[0])
        _take(plan, node.inputs[0])
        _take(plan, output)
    for node in reversed(list(graph)):
        if node.name in keep or not _follows(node, plan):
            continue
        inputs = _data_inputs(node)
        followed.update(inputs)
        for value in (*inputs, *node.outputs):
            _take(plan, value)
        if is_move(node):
            for value in node.outputs:
                plan.groups[str(value.name)] = str(inputs[0].name)
    plan.ends = {name for name, value in plan.tensors.items() if value not in followed}
    return plan


def plan_tensorrt(graph: ir.Graph, keep: Collection[str]) -> Plan:
    """Return the inputs of layers that TensorRT is to round; what it fuses stays whole."""
    plan = Plan()
    _sort_layers(plan, graph, keep, "tensorrt")
    for node in plan.layers:
        _take(plan, node.inputs[0])
    return plan


def skip_branches(graph: ir.Graph, layers: Collection[ir.Node]) -> Iterator[tuple[ir.Node, int]]:
    """Yield each residual Add with the input that does not come straight from a quantised layer.

    TensorRT fuses Conv, Add and activation into one int8 kernel if that input is 8-bit and the
    other is not rounded in between. Where both come from layers, the one made first is rounded.
    """
    order = {node: place for place, node in enumerate(graph)}
    for node in graph:
        if node.op_type != "Add" or node.domain not in _STANDARD or len(_data_inputs(node)) < 2:  # noqa: PLR2004
            continue
        makers = [value.producer() for value in node.inputs if value is not None]
        fused = [
            place
            for place, maker in enumerate(makers)
            if maker in layers and len(maker.outputs[0].uses()) == 1
        ]
        if fused:
            last = max(fused, key=lambda place: order[makers[place]])
            yield node, 1 - last


def is_move(node: ir.Node) -> bool:
    """Tell whether all values of a node's outputs are values of its first input."""
    if node.op_type == "Resize":
        return _attribute(node, "mode", "nearest") == "nearest"
    return node.op_type in MOVES


def _sort_layers(plan: Plan, graph: ir.Graph, keep: Collection[str], target: Target) -> None:
    for node in graph:
        reason = obstacle(node, target)
        if reason is None:
            continue
        if not reason and node.name in keep:
            reason = "asked for"
        if reason:
            plan.kept.append(KeptFloat(str(node.name), node.op_type, reason))
        else:
            plan.layers.append(node)


def _take(plan: Plan, value: ir.Value | None) -> None:
    if value is not None:
        plan.tensors[str(value.name)] = value


def _follows(node: ir.Node, plan: Plan) -> bool:
    """Tell whether a node between layers computes in 8 bits because its result goes there."""
    if node.domain not in _STANDARD or not any(out.name in plan.tensors for out in node.outputs):
        return False
    if any(value.dtype != ir.DataType.FLOAT for value in _data_inputs(node)):
        return False
    if is_move(node):
        return True
    if node.op_type not in _MIXES:
        return False
    wanted = _MIXES[node.op_type]
    return wanted is None or len(_data_inputs(node)) == wanted


def _data_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs that are activations: not shapes, axes or other constants."""
    inputs = [value for value in node.inputs if value is not None]
    if is_move(node):
        inputs = inputs[:1]
    return [value for value in inputs if ir.convenience.get_const_tensor(value) is None]


def _folding(value: ir.Value) -> ir.Node | None:
    """Return the activation that `value` goes to alone and that saturation can stand for."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = next(iter(uses)).node
    if node.op_type not in _ACTIVATIONS or node.domain not in _STANDARD:
        return None
    return node if clip_bounds(node) is not None else None


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return what a Relu or Clip cuts to, None where a bound is no constant."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    bounds = [-np.inf, np.inf]
    for place, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        found = ir.convenience.get_const_tensor(value)
        if found is None:
            return None
        bounds[place] = float(found.numpy())
    return bounds[0], bounds[1]


def _channels(node: ir.Node, shape: tuple[int, ...], group: int) -> tuple[int, int]:
    """Return the numbers of a layer's input and output channels."""
    axis = channel_axis(node)
    inputs, outputs = shape[1 - axis], shape[axis]
    if node.op_type == "Conv":
        inputs *= group
    return inputs, outputs


def _attribute(node: ir.Node, name: str, default):  # noqa: ANN001, ANN202
    found = node.attributes.get(name)
    return default if found is None else found.value
