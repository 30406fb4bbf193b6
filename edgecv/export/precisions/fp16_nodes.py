"""What float16 does to each ONNX operator: which compute well in it, and why others do not."""

import math
from collections.abc import Mapping
from typing import TypeGuard

import onnx_ir as ir

from edgecv.export.operators.edge_nms import DOMAIN

# Operators that weigh features; nearly all the time of a network is theirs.
_WEIGHING = ("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul")
# Values are moved, not computed: the result is exact in any type. The first input is moved, or all.
_MOVING_FIRST = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "MaxPool",
    "ReduceMax",
    "ReduceMin",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
_MOVING_ALL = ("Concat", "Max", "Min")
# One rounding a value, of results no larger than what a network's activations are anyway.
_ELEMENTWISE = (
    "Abs",
    "Add",
    "Celu",
    "Clip",
    "Div",
    "Elu",
    "Erf",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Mul",
    "Neg",
    "PRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softsign",
    "Sub",
    "Sum",
    "Tanh",
)

_ALL = slice(None)
_FIRST = slice(1)
_FEATURE_INPUTS: Mapping[tuple[str, str], slice] = {
    **{("", name): _ALL for name in (*_WEIGHING, *_MOVING_ALL, *_ELEMENTWISE)},
    **{("", name): _FIRST for name in _MOVING_FIRST},
    ("", "AveragePool"): _FIRST,
    ("", "GlobalMaxPool"): _FIRST,
    ("", "GridSample"): _FIRST,
    ("", "Pad"): slice(0, 3, 2),  # the data and the value around it
    ("", "Resize"): _FIRST,
    ("", "Where"): slice(1, 3),
    (DOMAIN, "EdgeRoiAlign"): slice(1, None),
    (DOMAIN, "EdgeRoiPool"): _FIRST,
}

# Inputs that are boxes, regions or scores: what makes them decodes, whatever comes after.
_BOX_INPUTS: Mapping[tuple[str, str], slice] = {
    ("", "GridSample"): slice(1, 2),
    ("", "MaxRoiPool"): slice(1, 2),
    ("", "NonMaxSuppression"): _ALL,
    ("", "RoiAlign"): slice(1, 2),
    ("", "TopK"): _ALL,
    (DOMAIN, "EdgeNMS"): _ALL,
    (DOMAIN, "EdgeRoiAlign"): _FIRST,
    (DOMAIN, "EdgeRoiPool"): slice(1, 2),
}

_SUMS = "it sums many values, which float16 rounds away or overflows with"
_GROWS = "its results leave the range of float16 for inputs that do not"
_DECIDES = "it decides by boxes or scores"
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(("LogSoftmax", "ReduceLogSumExp", "Softmax"), "it sums exponentials"),
    **dict.fromkeys(
        (
            "CumSum",
            "GlobalAveragePool",
            "GroupNormalization",
            "InstanceNormalization",
            "LRN",
            "LayerNormalization",
            "LpNormalization",
            "LpPool",
            "MeanVarianceNormalization",
            "RMSNormalization",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceMean",
            "ReduceSum",
            "ReduceSumSquare",
        ),
        _SUMS,
    ),
    "BatchNormalization": "no convolution takes it up, and float16 may lose its variances",
    **dict.fromkeys(("Cast", "CastLike"), "it converts from or to float32"),
    **dict.fromkeys(("Exp", "Log", "Pow", "Reciprocal", "Softplus", "Sqrt"), _GROWS),
    **dict.fromkeys(
        ("ArgMax", "ArgMin", "EdgeNMS", "Equal", "Greater", "GreaterOrEqual", "Less"), _DECIDES
    ),
    **dict.fromkeys(("LessOrEqual", "NonMaxSuppression", "NonZero", "TopK"), _DECIDES),
    **dict.fromkeys(
        ("MaxRoiPool", "RoiAlign"), "its regions would have to be float16 with its features"
    ),
}
_UNKNOWN = "it is not known to be safe in float16"

# Scores and sizes are made with these, unless a gate is (see `is_gate`).
_DECODING = frozenset({"Exp", "Log", "LogSoftmax", "Pow", "Softmax", "Softplus", "Sqrt"})
_SIGMOIDS = frozenset({"HardSigmoid", "Sigmoid"})


def feature_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the float32 inputs that become float16 with the node."""
    part = _FEATURE_INPUTS.get((node.domain, node.op_type), slice(0))
    return tuple(value for value in node.inputs[part] if is_float(value))


def fixed_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the float32 inputs that stay float32 with any node, such as regions and scales."""
    part = _FEATURE_INPUTS.get((node.domain, node.op_type), slice(0))
    following = set(range(len(node.inputs))[part])
    return tuple(
        value
        for index, value in enumerate(node.inputs)
        if is_float(value) and index not in following
    )


def box_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the float32 inputs that are boxes, regions, sampling points or scores."""
    part = _BOX_INPUTS.get((node.domain, node.op_type), slice(0))
    return tuple(value for value in node.inputs[part] if is_float(value))


def is_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Return whether a value is float32."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def reason_against(node: ir.Node) -> str | None:
    """Return why a node's operator is left in float32, None if it computes well in float16."""
    if (node.domain, node.op_type) in _FEATURE_INPUTS:
        return None
    return _REASONS.get(node.op_type, _UNKNOWN)


def is_weighing(node: ir.Node) -> bool:
    """Return whether a node multiplies features by weights or by features."""
    return not node.domain and node.op_type in _WEIGHING


def is_moving(node: ir.Node) -> bool:
    """Return whether a node gives values that it was given and no other."""
    return not node.domain and node.op_type in (*_MOVING_FIRST, *_MOVING_ALL)


def is_decoding(node: ir.Node) -> bool:
    """Return whether a node makes scores or sizes of what a network gives, if such it makes."""
    if node.domain:
        return False
    return node.op_type in _DECODING or (node.op_type in _SIGMOIDS and not is_gate(node))


def is_added(node: ir.Node, value: ir.Value) -> bool:
    """Return whether a constant is a bias: added, and no lone number that keeps from 0."""
    if is_weighing(node):
        return value in node.inputs[2:]
    is_lone = value.shape is None or (
        value.shape.is_static() and math.prod(value.shape.numpy()) == 1
    )
    return node.op_type in ("Add", "Sub", "Sum") and not is_lone


def reads_shape_alone(node: ir.Node) -> bool:
    """Return whether a node asks only for the shape of its input, which no type changes."""
    return not node.domain and node.op_type in ("Shape", "Size")


def is_gate(node: ir.Node) -> bool:
    """Return whether a node is used to scale features alone, as in SiLU and squeeze-excitation."""
    uses = node.outputs[0].uses()
    return bool(uses) and all(
        use.node.op_type == "Mul" and not is_constant(use.node.inputs[1 - use.idx]) for use in uses
    )


def is_constant(value: ir.Value | None) -> bool:
    """Return whether a value is a weight or another constant that no caller can change."""
    if value is None:
        return False
    producer = value.producer()
    if producer is not None:
        return producer.op_type == "Constant" and not producer.domain
    return value.is_initializer() and not value.is_graph_input()
