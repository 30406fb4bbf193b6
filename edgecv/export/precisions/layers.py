"""The layers of a graph: the nodes that multiply by constant weights, and which 8 bits suit."""

from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.graphs.model_file import opset_of
from edgecv.export.precisions.converted import KeptFloat

Target = Literal["cpu", "tensorrt"]
"""Whose 8-bit kernels: onnxruntime's on x86 and Arm, or TensorRT's."""

STANDARD = ("", "ai.onnx")

_PER_CHANNEL_OPSET = 13  # of QuantizeLinear with an axis
_RAISED_OPSET = 17
_NARROW = 16  # channels; below, TensorRT's int8 kernels lose to its float ones
_STEM_DEPTH = 3
_STEM_PRODUCTS = 128  # summed for one output; below, moving the data is the work, not multiplying
_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph ready to be quantised: new enough, every node named, types inferred.

    Names that are there stay; a node without one is called by its operator and place.

    Raises:
        InputError: if its operators are too old for 8 bits and cannot be converted.

    """
    if opset_of(model) < _PER_CHANNEL_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, _RAISED_OPSET)
        except Exception as error:  # the converter's errors share no base class
            raise InputError(
                f"the operators of this graph are those of opset {opset_of(model)}, and 8 bits "
                f"need {_PER_CHANNEL_OPSET}, but they cannot be converted ({error}). "
                f"Export it again with opset {_RAISED_OPSET}."
            ) from error
    named = onnx.ModelProto()
    named.CopyFrom(model)
    taken = {node.name for node in named.graph.node}
    for index, node in enumerate(named.graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name
    return onnx.shape_inference.infer_shapes(named)


def layers_of(model: onnx.ModelProto, target: Target) -> tuple[str, ...]:
    """Return the names of the nodes that `quantise` puts into 8 bits, in the graph's order.

    Args:
        model: a float32 graph.
        target: whose kernels.

    Raises:
        InputError: see `prepared`.

    """
    graph = ir.from_proto(prepared(model)).graph
    kept = {layer.name for layer in kept_float(graph, target)}
    return tuple(str(node.name) for node in graph if is_layer(node) and node.name not in kept)


def kept_float(graph: ir.Graph, target: Target) -> list[KeptFloat]:
    """Return the layers that stay in float32 whatever the calibration, each with the reason."""
    depths = _depths(graph)
    found = []
    for node in graph:
        weight = weight_of(node)
        if weight is None:
            continue
        reason = _obstacle(node, weight, target) or _stem(node, weight, depths[node])
        if reason is not None:
            found.append(KeptFloat(str(node.name), node.op_type, reason))
    return found


def is_layer(node: ir.Node) -> bool:
    """Tell whether a node multiplies by a constant weight."""
    return weight_of(node) is not None


def weight_of(node: ir.Node) -> NDArray[np.float32] | None:
    """Return the constant weight of a layer, None for what is no layer."""
    if node.domain not in STANDARD or node.op_type not in _OPERATORS:
        return None
    weight = constant(node.inputs[1])
    if weight is None or weight.dtype != np.float32:
        return None
    if node.op_type == "MatMul" and weight.ndim != 2:  # noqa: PLR2004  # [inputs, outputs]
        return None
    is_plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
    if node.op_type == "Gemm" and (not is_plain or attribute(node, "transA", 0)):
        return None
    return weight


def bias_of(node: ir.Node) -> NDArray[np.float32] | None:
    """Return the constant bias of a layer, None where it has none or another type or shape."""
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None  # noqa: PLR2004
    return bias if bias is not None and bias.dtype == np.float32 and bias.ndim == 1 else None


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """Return the value of an initialiser or a Constant node, None for what is computed."""
    if value is None or (value.is_graph_input() and not value.is_initializer()):
        return None
    found = ir.convenience.get_const_tensor(value)
    return None if found is None else found.numpy()


def channel_axis(node: ir.Node) -> int:
    """Return the axis of a layer's weight that counts its outputs."""
    is_first = node.op_type == "Conv" or (
        node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
    )
    return 0 if is_first else 1


def attribute(node: ir.Node, name: str, default: Any) -> Any:  # noqa: ANN401  # as the operator says
    """Return the value of a node's attribute, the operator's default where it is left out."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def _obstacle(node: ir.Node, weight: NDArray[np.float32], target: Target) -> str | None:
    """Return why the target's 8-bit kernels do not take a layer, None if they do."""
    group = attribute(node, "group", 1)
    if node.op_type == "ConvTranspose":
        if target == "cpu":
            return "onnxruntime has no 8-bit ConvTranspose on CPUs"
        if group > 1:
            return "a grouped ConvTranspose has no scale for each channel"
    if target == "tensorrt":
        narrower = min(_channels(node, weight, group))
        if narrower < _NARROW:
            return f"{narrower} channels: TensorRT's 8-bit kernels want {_NARROW} or more"
    return None


def _stem(node: ir.Node, weight: NDArray[np.float32], depth: int) -> str | None:
    """Return why one of the first layers stays in float32, None for any other.

    They tell apart pixels that are nearly equal, so that their rounding is the largest noise of the
    whole network, and with few products to sum they gain no time from 8 bits.
    """
    products = weight.size // weight.shape[channel_axis(node)]
    if depth >= _STEM_DEPTH or products >= _STEM_PRODUCTS or node.op_type != "Conv":
        return None
    return (
        f"one of the first {_STEM_DEPTH} layers, with {products} products for an output: 8 bits "
        "cost the most accuracy here and gain no time"
    )


def _depths(graph: ir.Graph) -> dict[ir.Node, int]:
    """Return for each node the largest number of layers on a way from an input to it."""
    depths: dict[ir.Node, int] = {}
    for node in graph:
        makers = [value.producer() for value in node.inputs if value is not None]
        before = [maker for maker in makers if maker is not None and maker in depths]
        depths[node] = max((depths[maker] + is_layer(maker) for maker in before), default=0)
    return depths


def _channels(node: ir.Node, weight: NDArray[np.float32], group: int) -> tuple[int, int]:
    """Return the numbers of a layer's input and output channels."""
    axis = channel_axis(node)
    inputs, outputs = weight.shape[1 - axis], weight.shape[axis]
    return (inputs * group, outputs) if node.op_type == "Conv" else (inputs, outputs * group)
