"""Multiply-accumulate operations of a node: of convolutions and matrix products.

These are half of the FLOPs that `torch.utils.flop_counter` counts; what lies between them, such as
additions and activations, counts nothing there and nothing here.
"""

import math
from collections.abc import Callable

import onnx_ir as ir

Shape = tuple[int, ...]


def macs_of(node: ir.Node) -> int | None:
    """Return the multiply-accumulates of a node, 0 for one that has none, None if unknown.

    Source: the definitions of the operators, https://onnx.ai/onnx/operators/, and of
    `com.microsoft`'s in onnxruntime's docs/ContribOperators.md.
    """
    rule = _RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx", "com.microsoft"):
        return 0
    return rule(node)


def has_macs(node: ir.Node) -> bool:
    """Tell whether a node is a convolution or a matrix product."""
    return node.op_type in _RULES and node.domain in ("", "ai.onnx", "com.microsoft")


def static_shape(value: ir.Value | None) -> Shape | None:
    """Return a tensor's shape, None where a side of it is unknown."""
    if value is None or value.shape is None:
        return None
    sides = tuple(side for side in value.shape if isinstance(side, int))
    return sides if len(sides) == len(value.shape) else None


def _operand(node: ir.Node, index: int) -> Shape | None:
    return static_shape(node.inputs[index]) if index < len(node.inputs) else None


def _convolution(weight: int) -> Callable[[ir.Node], int | None]:
    """Each output is a sum over the kernel and the input channels of its group."""

    def count(node: ir.Node) -> int | None:
        output, kernel = static_shape(node.outputs[0]), _operand(node, weight)
        if output is None or kernel is None:
            return None
        return math.prod(output) * math.prod(kernel[1:])

    return count


def _transposed_convolution(node: ir.Node) -> int | None:
    """Each input is spread over the kernel and the output channels of its group."""
    given, kernel = _operand(node, 0), _operand(node, 1)
    if given is None or kernel is None:
        return None
    return math.prod(given) * math.prod(kernel[1:])


def _matrix_product(left: int) -> Callable[[ir.Node], int | None]:
    """Each output is a sum over the last side of the left operand."""

    def count(node: ir.Node) -> int | None:
        output, factor = static_shape(node.outputs[0]), _operand(node, left)
        if output is None or not factor:
            return None
        return math.prod(output) * factor[-1]

    return count


def _gemm(node: ir.Node) -> int | None:
    output, left = static_shape(node.outputs[0]), _operand(node, 0)
    if output is None or left is None:
        return None
    transposed = node.attributes.get("transA")
    return math.prod(output) * left[0 if transposed is not None and transposed.as_int() else 1]


def _einsum(node: ir.Node) -> int | None:
    """One product for each combination of the labels; a single operand is only moved or summed."""
    equation = node.attributes["equation"].as_string().replace(" ", "")
    sizes: dict[str, int] = {}
    for index, labels in enumerate(equation.split("->")[0].split(",")):
        shape = _operand(node, index)
        if shape is None or "." in labels or len(shape) != len(labels):
            return None
        sizes |= dict(zip(labels, shape, strict=True))
    return math.prod(sizes.values()) if len(node.inputs) > 1 else 0


def _recurrent(node: ir.Node) -> int | None:
    """W [D, G * H, I] and R [D, G * H, H] meet every step of every sequence once."""
    steps, weights, recurrence = (_operand(node, index) for index in range(3))
    if steps is None or weights is None or recurrence is None:
        return None
    return steps[0] * steps[1] * (math.prod(weights) + math.prod(recurrence))


_RULES: dict[str, Callable[[ir.Node], int | None]] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "DeformConv": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matrix_product(0),
    "MatMulInteger": _matrix_product(0),
    "QLinearMatMul": _matrix_product(0),
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "QGemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
