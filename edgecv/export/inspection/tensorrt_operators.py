"""Which ONNX operators TensorRT's parser takes, by version, and on which element types.

Source: docs/operators.md and docs/Changelog.md of onnx-tensorrt at TensorRT 10.0 to 10.15 and the
importers of 10.1 (onnxOpImporters.cpp); its limits as edgecv's own plugin tests found them.
"""

import onnx_ir as ir

from edgecv.export.inspection.tensorrt_rules import QUANTISED_TYPES, RULES, Operand, Remark, Version

_NAMES = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
    CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike
    Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax
    Identity If ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad
    ParametricSoftplus Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence
    RoiAlign Round ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign
    Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
_OPERATORS = frozenset(_NAMES.split())
_ADDED: dict[str, Version] = {
    "BlackmanWindow": (10, 4),
    "HammingWindow": (10, 4),
    "HannWindow": (10, 4),
    "STFT": (10, 5),
    "Attention": (10, 14),
    "RMSNormalization": (10, 15),
    "RotaryEmbedding": (10, 15),
    "TensorScatter": (10, 15),
}
_INSTEAD = {
    "MaxRoiPool": "use `EdgeRoiPool`, for which edgecv has a plugin",
    "MaxUnpool": "upsample with Resize or ConvTranspose",
    "DynamicQuantizeLinear": "fix the scales: `edgecv export --precision int8-tensorrt`",
    "QLinearConv": "write QuantizeLinear and DequantizeLinear around a float Conv",
    "QLinearMatMul": "write QuantizeLinear and DequantizeLinear around a float MatMul",
    "ConvInteger": "write QuantizeLinear and DequantizeLinear around a float Conv",
    "MatMulInteger": "write QuantizeLinear and DequantizeLinear around a float MatMul",
    "Compress": "keep every row and mark the wanted ones with Where",
    "Unique": "do it after the network",
    "Col2Im": "use ConvTranspose",
    "CenterCropPad": "use Slice and Pad",
    "AffineGrid": "make the grid with MatMul, or bake it in where theta is fixed",
    "BitwiseAnd": "use And on booleans",
    "BitwiseOr": "use Or on booleans",
    "BitwiseNot": "use Not on booleans",
    "BitwiseXor": "use Xor on booleans",
    "SequenceConstruct": "use Concat or Split on tensors",
    "SplitToSequence": "use Split",
    "ConcatFromSequence": "use Concat",
}

# The opsets that the parser's documentation names, and those that its ONNX version defines.
_NEWEST_OPSET: tuple[tuple[Version, int], ...] = (((10, 15), 24), ((10, 6), 22), ((10, 0), 20))
_OLDEST_OPSET = 9

_COMPUTED = frozenset(
    {"FLOAT", "FLOAT16", "BFLOAT16", "INT32", "INT64", "BOOL"}
)  # what tensors between layers may be
_OF_QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FLOATS_ONLY = frozenset(
    {"CumSum", "Gemm", "GridSample", "Hardmax", "MatMul", "PRelu", "Resize", "Upsample"}
)


def remarks_on(node: ir.Node, version: Version, opset: int) -> list[Remark]:
    """Return what the parser of TensorRT `version` has against a node of ONNX's own domain."""
    name = node.op_type
    if name not in _OPERATORS:
        since = _ADDED.get(name)
        if since is None:
            return [
                Remark("unsupported", "the parser has no importer for it", _INSTEAD.get(name, ""))
            ]
        if version < since:
            added = ".".join(map(str, since))
            return [Remark("unsupported", f"the parser has it from TensorRT {added} on")]
    seen = Operand(node, version, opset)
    rule = RULES.get(name)
    found = [] if rule is None else [remark for remark in rule(seen) if remark is not None]
    return found + _types(seen)


def remarks_on_opset(opset: int, version: Version) -> list[Remark]:
    """Return what is to be said of the version of the standard operators."""
    newest = next(limit for since, limit in _NEWEST_OPSET if version >= since)
    if opset < _OLDEST_OPSET:
        return [Remark("unsupported", f"the parser reads opsets from {_OLDEST_OPSET} on")]
    if opset > newest:
        reason = f"opset {opset} is newer than what the parser was written for ({newest})"
        return [Remark("limited", reason, f"export with opset {newest} or older")]
    return []


def _types(seen: Operand) -> list[Remark]:
    """Refuse element types that no layer computes with."""
    kinds = [seen.dtype(index) for index in range(len(seen.node.inputs))]
    kinds += [value.dtype.name for value in seen.node.outputs if value.dtype is not None]
    remarks = []
    wrong = set(filter(None, kinds)) - _COMPUTED
    if "DOUBLE" in wrong:
        remarks.append(Remark("limited", "float64 is computed in float32", "export in float32"))
        wrong -= {"DOUBLE"}
    if seen.node.op_type in _OF_QUANTISED:
        wrong -= QUANTISED_TYPES | {"UINT8"}  # their own rule speaks of those
    elif seen.node.op_type in ("Cast", "CastLike"):
        wrong -= {"UINT8"}
    elif _moves_weights(seen.node):
        wrong -= QUANTISED_TYPES
    for name in sorted(wrong):
        reason = f"no layer computes with {name.lower()}"
        remarks.append(Remark("unsupported", reason, "cast to int32 or float32 before it"))
    if seen.node.op_type in _FLOATS_ONLY and kinds and kinds[0] in ("INT32", "INT64"):
        reason = f"it takes floats only, not {kinds[0].lower()}"
        remarks.append(Remark("unsupported", reason, "cast to float32 around it"))
    return remarks


def _moves_weights(node: ir.Node) -> bool:
    return node.op_type in ("Constant", "ConstantOfShape", "Identity", "Reshape", "Transpose")
