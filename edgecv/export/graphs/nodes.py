"""What a node of a graph reads, which weights are its own and what it computes with."""

import math
from collections.abc import Iterable, Mapping

import onnx_ir as ir

from edgecv.export.inspection.macs import static_shape

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})

# Inputs that steer an operator rather than take part in its arithmetic.
_SETTINGS: Mapping[str, frozenset[int]] = {
    "QuantizeLinear": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "Resize": frozenset({1, 2, 3}),
    "Upsample": frozenset({1}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "ConvInteger": frozenset({2, 3}),
    "MatMulInteger": frozenset({2, 3}),
    "QGemm": frozenset({1, 2, 4, 5, 7, 8}),
}
_WEIGHT_OF = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
_INTEGER_KERNELS = frozenset(
    {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"}
)
# Operators that move values without computing, between a DequantizeLinear and its reader.
_MOVING = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast"})


def name_of(node: ir.Node) -> str:
    """Return a node's name, or that of its first output where it has none."""
    return node.name or next((value.name for value in node.outputs if value.name), "") or "?"


def operator_of(node: ir.Node) -> str:
    """Return a node's operator, with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"


def type_name(dtype: ir.DataType | None) -> str:
    """Return the name that NumPy gives an element type, `?` where it is unknown."""
    if dtype is None or dtype is ir.DataType.UNDEFINED:
        return "?"
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def values_read(node: ir.Node) -> set[ir.Value]:
    """Return what a node reads, also inside its subgraphs."""
    nested = (
        inner
        for attribute in node.attributes.values()
        for graph in _graphs(attribute)
        for inner in graph.all_nodes()
    )
    return {value for entry in (node, *nested) for value in entry.inputs if value is not None}


def _graphs(attribute: ir.Attr) -> Iterable[ir.Graph]:
    if attribute.type is ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return attribute.as_graphs() if attribute.type is ir.AttributeType.GRAPHS else ()


def constant_values(graph: ir.Graph) -> set[ir.Value]:
    """Return the values that no input of the graph leads to; an optional input's default is one."""
    constant = set(graph.initializers.values())
    for node in graph:
        if all(value in constant for value in values_read(node)):
            constant.update(node.outputs)
    return constant


def num_bytes(value: ir.Value) -> int | None:
    """Return the size of a tensor, None where its shape depends on the data or it holds text."""
    shape = static_shape(value)
    if shape is None or value.dtype in (None, ir.DataType.STRING, ir.DataType.UNDEFINED):
        return None
    return math.ceil(math.prod(shape) * value.dtype.itemsize)


def parameters_of(node: ir.Node, constant: set[ir.Value], counted: set[ir.Value]) -> int:
    """Return the elements of the weights that `node` reads first; those are noted in `counted`.

    What only prepares a constant, such as a DequantizeLinear on weights, leaves it to its reader.
    """
    if node.outputs and node.outputs[0] in constant:
        return 0
    total = 0
    for index, value in enumerate(node.inputs):
        if value is not None and index not in _SETTINGS.get(node.op_type, ()):
            total += _weights_behind(value, constant, counted)
    return total


def _weights_behind(value: ir.Value, constant: set[ir.Value], counted: set[ir.Value]) -> int:
    """Return the elements of the stored weights that `value` is made of, each counted once."""
    producer = value.producer()
    if producer is not None and not (producer.op_type == "Constant" and not producer.inputs):
        if value in counted or value not in constant:
            return 0
        counted.add(value)
        settings = _SETTINGS.get(producer.op_type, ())
        return sum(
            _weights_behind(entry, constant, counted)
            for index, entry in enumerate(producer.inputs)
            if entry is not None and index not in settings
        )
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or value in counted or not tensor.shape.dims:
        return 0
    counted.add(value)
    is_weight = tensor.dtype.is_floating_point() or tensor.dtype.bitwidth <= 8  # noqa: PLR2004
    is_bias = tensor.dtype is ir.DataType.INT32 and any(
        entry.op_type in ("DequantizeLinear", "QLinearConv", "QGemm") for entry in value.consumers()
    )
    if tensor.dtype is ir.DataType.BOOL or not (is_weight or is_bias):
        return 0
    return tensor.size


def arithmetic_of(node: ir.Node) -> str:
    """Return what a convolution or matrix product computes with: `float32`, `uint8 x int8`, ...

    Behind DequantizeLinear on both sides it computes in the quantised types, as runtimes fuse the
    three.
    """
    if node.op_type in _INTEGER_KERNELS:
        second = node.inputs[_WEIGHT_OF.get(node.op_type, 1)]
        types = [None if value is None else value.dtype for value in (node.inputs[0], second)]
        return " x ".join(dict.fromkeys(map(type_name, types)))
    kinds = [_dequantised(value) for value in node.inputs[:2]]
    if len(kinds) > 1 and all(kind is not None for kind in kinds):
        return " x ".join(dict.fromkeys(map(type_name, kinds)))
    first = node.inputs[0]
    return type_name(None if first is None else first.dtype)


def _dequantised(value: ir.Value | None) -> ir.DataType | None:
    """Return the quantised type that a value comes from, None if it is computed in floats."""
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _MOVING and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    if producer is None or producer.op_type != "DequantizeLinear" or producer.inputs[0] is None:
        return None
    return producer.inputs[0].dtype
