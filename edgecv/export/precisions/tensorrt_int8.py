"""Is a graph's rounding what TensorRT's builder takes? Asked of the file, without TensorRT."""

import onnx
import onnx_ir as ir

from edgecv.export.precisions.layers import channel_axis, constant

_LINEAR = ("QuantizeLinear", "DequantizeLinear")
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def tensorrt_int8_violations(model: onnx.ModelProto) -> list[str]:
    """Return what TensorRT's rules for explicit quantisation forbid in a graph, one phrase each.

    Codes are signed, zero points zero, scales constant; weights have a scale for each channel along
    the axis of outputs; biases are float; a layer's input is rounded exactly if its weight is; and
    no residual sum rounds the branch that it could be fused with.

    Source: NVIDIA, TensorRT developer guide, "Working with Quantized Types".
    """
    graph = ir.from_proto(model).graph
    found = []
    for node in graph:
        if node.op_type in _LINEAR:
            found += _of_linear(node)
        elif node.op_type in _LAYERS:
            found += _of_layer(node)
        elif node.op_type == "Add" and _is_unfusible(node):
            found.append(f"`{node.name}`: the branch that comes straight from a layer is rounded")
    return found


def _of_linear(node: ir.Node) -> list[str]:
    zero_point = constant(node.inputs[2]) if len(node.inputs) > 2 else None  # noqa: PLR2004
    found = []
    if constant(node.inputs[1]) is None:
        found.append(f"`{node.name}`: the scale is not constant")
    if zero_point is None or zero_point.dtype != "int8" or zero_point.any():
        found.append(f"`{node.name}`: the zero point is not a signed 8-bit zero")
    return found


def _of_layer(node: ir.Node) -> list[str]:
    weight = _dequantised(node.inputs[1])
    is_rounded = _dequantised(node.inputs[0]) is not None
    if weight is None:
        return [f"`{node.name}`: its input is rounded, its weight is not"] if is_rounded else []
    found = []
    if not is_rounded:
        found.append(f"`{node.name}`: its weight is rounded, its input is not")
    codes, scale, axis = constant(weight.inputs[0]), constant(weight.inputs[1]), channel_axis(node)
    if scale is None or codes is None or scale.shape != (codes.shape[axis],):
        found.append(f"`{node.name}`: its weight has no scale for each output")
    elif "axis" not in weight.attributes or weight.attributes["axis"].value != axis:
        found.append(f"`{node.name}`: the scales of its weight do not lie along axis {axis}")
    if len(node.inputs) > 2 and _dequantised(node.inputs[2]) is not None:  # noqa: PLR2004
        found.append(f"`{node.name}`: its bias is rounded")
    return found


def _is_unfusible(node: ir.Node) -> bool:
    """Tell whether every input of a sum is rounded, one of them a layer's own output."""
    rounded = [_dequantised(value) for value in node.inputs]
    before = [_maker(maker.inputs[0]) for maker in rounded if maker is not None]
    sources = [_maker(maker.inputs[0]) for maker in before if maker is not None]
    is_from_layer = any(maker is not None and maker.op_type in _LAYERS for maker in sources)
    return None not in rounded and is_from_layer


def _dequantised(value: ir.Value | None) -> ir.Node | None:
    """Return the DequantizeLinear that makes a value, None where something else does."""
    maker = _maker(value)
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None


def _maker(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()
