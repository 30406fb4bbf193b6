"""What TensorRT's parser makes of the details of a node: a rule for each operator that has any.

Source: docs/operators.md and docs/Changelog.md of onnx-tensorrt at TensorRT 10.0 to 10.15, the
static checks of 10.15 (onnxOpCheckers.cpp) and the importers of 10.1 (onnxOpImporters.cpp).
"""

import numpy as np

from edgecv.export.inspection.operand import Operand, Remark, Rule, Version, but, no

TOPK_LIMIT = 3840
NMS_BOX_LIMIT = 5000

QUANTISED_TYPES = frozenset({"INT8", "INT4", "FLOAT8E4M3FN", "FLOAT4E2M1"})
_NORMS = (1, 2)
_HALF_SCALES = 19  # the opset that has them
_NEW_MODES = 20  # the opset that renamed those of GridSample


def _pool(seen: Operand) -> list[Remark | None]:
    dilations = seen.attribute("dilations", ())
    rank = seen.rank(0)
    return [
        no(any(step != 1 for step in dilations), "`dilations` must be 1", "use a convolution"),
        no(rank is not None and rank not in (3, 4, 5), "it pools in 1 to 3 dimensions", "reshape"),
        *(_lp_norm(seen) if seen.node.op_type == "LpPool" else ()),
        no(
            seen.node.op_type == "MaxPool" and seen.writes(1),
            "the output `Indices` is not written",
            "take the place of the maximum with ArgMax",
        ),
    ]


def _lp_norm(seen: Operand) -> list[Remark | None]:
    order = seen.attribute("p", 2)
    return [no(order not in _NORMS, f"`p` is {order}, and only 1 and 2 are norms that it has")]


def _grid_sample(seen: Operand) -> list[Remark | None]:
    mode = seen.attribute("mode", "linear" if seen.opset >= _NEW_MODES else "bilinear")
    return [
        no(
            mode in ("linear", "cubic"),
            f"mode `{mode}` of opset 20 is read as nearest, without a word",
            "export with opset 19, whose modes are named bilinear and bicubic",
        ),
        no(seen.rank(0) not in (None, 4), "the input must be 4-dimensional"),
    ]


def _top_k(seen: Operand) -> list[Remark | None]:
    count = seen.constant(1)
    largest = None if count is None else int(count.max(initial=0))
    return [
        no(
            largest is not None and largest > TOPK_LIMIT,
            f"K is {largest}, and at most {TOPK_LIMIT} are taken",
            f"take {TOPK_LIMIT}, or suppress with EdgeNMS, which needs no TopK",
        ),
        but(largest is None, f"K is computed, and at most {TOPK_LIMIT} are taken", "fix K"),
        no(seen.attribute("sorted", 1) != 1, "`sorted` must be 1"),
    ]


def _roi_align(seen: Operand) -> list[Remark | None]:
    is_given = "sampling_ratio" in seen.node.attributes
    return [
        no(
            not is_given,
            "without `sampling_ratio` the parser takes 1 where ONNX says 0, as many as needed",
            "write the attribute, or use EdgeRoiAlign",
        ),
        no(seen.attribute("sampling_ratio", 0) < 0, "`sampling_ratio` must not be negative"),
        no(seen.rank(1) not in (None, 2), "regions must be [K, 4]", "reshape them"),
        but(
            seen.dtype(0) == "FLOAT16",
            "it computes coordinates in float16 too, which moves boxes",
            "keep regions in float32: use EdgeRoiAlign",
        ),
    ]


_REDUCED = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_REDUCTIONS = [f"Reduce{kind}" for kind in _REDUCED]
_RESIZE_MODES = frozenset(
    {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
)


_RESIZED_SIDES = {"linear": 3, "cubic": 2}


def _resize(seen: Operand) -> list[Remark | None]:
    placing = seen.attribute("coordinate_transformation_mode", "half_pixel")
    policy = seen.attribute("keep_aspect_ratio_policy", "stretch")
    rounding = seen.attribute("nearest_mode", "round_prefer_floor")
    mode, axes = seen.attribute("mode", "nearest"), seen.attribute("axes", ())
    scales = seen.constant(2)
    num_resized = 0 if scales is None else int(np.sum(scales != 1))
    return [
        no(
            seen.attribute("antialias", 0),
            "antialiasing is not supported",
            "export without `antialias`, or shrink with AveragePool",
        ),
        no(
            placing not in _RESIZE_MODES,
            f"coordinate_transformation_mode `{placing}` is not supported",
            "use half_pixel, asymmetric or align_corners",
        ),
        no(policy != "stretch", f"keep_aspect_ratio_policy `{policy}` is not supported"),
        no(
            placing == "tf_half_pixel_for_nn" and rounding != "round_prefer_floor",
            f"`tf_half_pixel_for_nn` goes with round_prefer_floor alone, not with {rounding}",
        ),
        no(len(set(axes)) < len(axes), "`axes` must differ from one another"),
        no(
            axes and seen.has(2) and not seen.is_constant(2) and list(axes) != [*range(len(axes))],
            "computed scales go with every axis in its order",
            "store the scales, or give sizes",
        ),
        no(
            num_resized > _RESIZED_SIDES.get(mode, num_resized),
            f"`{mode}` resizes {_RESIZED_SIDES.get(mode)} sides at most, not {num_resized}",
            "resize in two steps",
        ),
        but(
            mode == "cubic",
            "the documentation names nearest and linear only",
            "compare the results, or use linear",
        ),
    ]


def _suppression(seen: Operand) -> list[Remark | None]:
    return [
        but(
            seen.node,
            f"its rows depend on the data, so no CUDA graph holds the engine, and only the best "
            f"{NMS_BOX_LIMIT} boxes of an image are looked at",
            "use EdgeNMS: `edgecv export` writes it",
        )
    ]


def _non_zero(seen: Operand) -> list[Remark | None]:
    reason = "its rows depend on the data, so no CUDA graph holds the engine"
    return [but(seen.node, reason, "keep every row and mark the wanted ones with Where")]


def _quantised(seen: Operand) -> list[Remark | None]:
    is_dequantize = seen.node.op_type == "DequantizeLinear"
    zero_point = seen.constant(2)
    stored = seen.dtype(0) if is_dequantize else seen.node.outputs[0].dtype
    name = stored if isinstance(stored, str) else "" if stored is None else stored.name
    symmetric = "quantise with `edgecv export --precision int8-tensorrt`"
    is_shifted = zero_point is not None and bool(np.any(np.asarray(zero_point, np.float64)))
    scale, shape = seen.constant(1), seen.shape(0)
    is_positive = scale is None or bool(np.all(np.asarray(scale, np.float64) > 0))
    num_scales = 1 if scale is None or scale.ndim != 1 else scale.size
    axis = seen.attribute("axis", 1)
    is_row = shape is not None and num_scales > 1 and -len(shape) <= axis < len(shape)
    channels = shape[axis] if shape is not None and is_row else None
    return [
        no(name == "UINT8", "uint8 is no type of its quantised layers, int8 is", symmetric),
        no(
            name == "INT32",
            "a quantised bias (int32) is not dequantised",
            f"keep biases in float32: {symmetric}",
        ),
        no(
            name not in ("", "UINT8", "INT32") and name not in QUANTISED_TYPES,
            f"{name.lower()} is no type of its quantised layers",
            symmetric,
        ),
        no(is_shifted and name != "UINT8", "zero-points must be 0", symmetric),
        no(seen.has(2) and not seen.is_constant(2), "zero-points must be stored", symmetric),
        no(not is_positive, "scales must be above 0", symmetric),
        no(
            channels is not None and channels != num_scales,
            f"it has {num_scales} scales for {channels} channels",
            symmetric,
        ),
        no(
            seen.dtype(1) == "FLOAT16" and seen.opset < _HALF_SCALES,
            f"ONNX has no float16 scales in opset {seen.opset}",
            "raise the opset to 19 or more",
        ),
    ]


def _axes(index: int, *, since: Version | None = None) -> Rule:
    """Return a rule: from `since` on an input may be computed, before it must be stored."""

    def rule(seen: Operand) -> list[Remark | None]:
        is_computed = seen.has(index) and not seen.is_constant(index)
        is_free = since is not None and seen.version >= since
        return [no(is_computed and not is_free, "its axes must be stored in the file", "fix them")]

    return rule


def _squeeze(seen: Operand) -> list[Remark | None]:
    is_open = not seen.has(1) and "axes" not in seen.node.attributes
    reason = "without axes every side of its input must be fixed"
    return [*_axes(1, since=(10, 7))(seen), but(is_open, reason, "write the axes")]


def _scatter_nd(seen: Operand) -> list[Remark | None]:
    reduction = seen.attribute("reduction", "none")
    is_named = "reduction" in seen.node.attributes
    return [
        no(reduction != "none", f"`reduction` is `{reduction}`, only none is supported"),
        no(
            is_named and reduction == "none" and seen.version < (10, 9),
            "the attribute `reduction` is refused before 10.9, also where it is none",
            "leave it out",
        ),
    ]


def _einsum(seen: Operand) -> list[Remark | None]:
    equation = seen.attribute("equation", "")
    terms = equation.split("->")[0].split(",")
    is_diagonal = any(len(set(term.strip())) < len(term.strip()) for term in terms)
    is_new = "." in equation or is_diagonal
    reason = f"`{equation}` has an ellipsis or a diagonal, which are read from 10.12 on"
    return [
        no(is_new and seen.version < (10, 12), reason, "write it with MatMul and Transpose"),
        no(equation != equation.lower(), f"`{equation}` has capitals, which are not read"),
    ]


def _recurrent(seen: Operand) -> list[Remark | None]:
    kinds = list(seen.attribute("activations", ()))
    half = len(kinds) // 2
    is_both = seen.attribute("direction", "forward") == "bidirectional"
    return [
        no(
            is_both and kinds[:half] != kinds[half:],
            "both directions must have the same activations",
        ),
        no(seen.attribute("input_forget", 0), "`input_forget` must be 0"),
        no(seen.attribute("layout", 0), "`layout` must be 0", "transpose around it"),
    ]


def _loop(seen: Operand) -> list[Remark | None]:
    reason = "shapes must be the same in every round, and the length of a scan output known"
    return [but(seen.node, reason, "unroll it where the number of rounds is fixed")]


def _branch(seen: Operand) -> list[Remark | None]:
    reason = "both branches are built, and their outputs must have the same rank"
    return [but(seen.node, reason, "export without the branch where its condition is fixed")]


def _constant(seen: Operand) -> list[Remark | None]:
    given = set(seen.node.attributes) & {"sparse_value", "value_string", "value_strings"}
    return [no(given, f"`{', '.join(sorted(given))}` is not supported")]


def _pow(seen: Operand) -> list[Remark | None]:
    is_whole = seen.dtype(1) in ("INT32", "INT64")
    reason = "a whole-numbered exponent is read from 10.8 on"
    return [no(is_whole and seen.version < (10, 8), reason, "cast it to float32")]


def _normalise_batch(seen: Operand) -> list[Remark | None]:
    is_mixed = bool(seen.dtype(0) and seen.dtype(1)) and seen.dtype(0) != seen.dtype(1)
    return [
        no(
            seen.attribute("training_mode", 0),
            "`training_mode` must be 0",
            "export in evaluation mode",
        ),
        no(
            is_mixed and seen.version < (10, 7),
            "data and statistics of different types are read from 10.7 on",
            "cast one of them",
        ),
    ]


def _dropout(seen: Operand) -> list[Remark | None]:
    mode = seen.constant(2)
    is_training = seen.has(2) and (mode is None or bool(mode.any()))
    return [no(is_training, "it must not be in training mode", "export in evaluation mode")]


def _one_output(seen: Operand) -> list[Remark | None]:
    return [no(seen.writes(1) or seen.writes(2), "only the first output is written")]


def _deformable(seen: Operand) -> list[Remark | None]:
    pads = list(seen.attribute("pads", ()))
    half = len(pads) // 2
    return [
        no(pads[:half] != pads[half:], "pads must be the same on both ends of an axis"),
        no(seen.rank(0) not in (None, 3, 4), "it convolves in 1 or 2 dimensions", "reshape"),
    ]


def _seeded(seen: Operand) -> list[Remark | None]:
    return [but("seed" in seen.node.attributes, "`seed` is ignored")]


def _reverse(seen: Operand) -> list[Remark | None]:
    is_same = seen.attribute("batch_axis", 1) == seen.attribute("time_axis", 0)
    return [no(is_same, "`batch_axis` and `time_axis` must differ")]


def _attention(seen: Operand) -> list[Remark | None]:
    ranks = {seen.rank(index) for index in range(4)} - {None}
    return [
        no(seen.attribute("softcap", 0.0), "`softcap` is not supported", "write it with Tanh"),
        no(
            "softmax_precision" in seen.node.attributes,
            "`softmax_precision` is not supported",
            "leave it out",
        ),
        no(ranks - {4}, "Q, K, V and the mask must be 4-dimensional", "reshape them"),
        no(any(seen.has(index) for index in (4, 5, 6)), "keys and values of before are not read"),
        no(any(seen.writes(index) for index in (1, 2, 3)), "only the first output is written"),
    ]


def _rotate(seen: Operand) -> list[Remark | None]:
    return [no(seen.dtype(3) not in ("", "INT64"), "`position_ids` must be int64", "cast them")]


def _scatter_cache(seen: Operand) -> list[Remark | None]:
    axis = seen.attribute("axis", -2)
    ranks = {seen.rank(0), seen.rank(1)} - {None}
    return [
        no(axis != -2, f"`axis` is {axis}, only -2 is supported"),  # noqa: PLR2004
        no(ranks - {4}, "cache and update must be 4-dimensional", "reshape them"),
    ]


def _fourier(seen: Operand) -> list[Remark | None]:
    is_computed = any(seen.has(index) and not seen.is_constant(index) for index in (1, 2))
    return [no(is_computed, "`frame_step` and `window` must be stored in the file", "fix them")]


def _large_kernel(seen: Operand) -> list[Remark | None]:
    rank = seen.rank(0)
    is_other = rank is not None and not 3 <= rank <= 5  # noqa: PLR2004  # 1 to 3 dimensions
    return [no(is_other, "it convolves in 1 to 3 dimensions")]


def _depth(seen: Operand) -> list[Remark | None]:
    return [no(not seen.is_constant(1), "`depth` must be stored in the file", "fix it")]


RULES: dict[str, Rule] = {
    "AveragePool": _pool,
    "MaxPool": _pool,
    "LpPool": _pool,
    "Conv": _large_kernel,
    "ConvTranspose": _large_kernel,
    "DeformConv": _deformable,
    "GridSample": _grid_sample,
    "TopK": _top_k,
    "RoiAlign": _roi_align,
    "Resize": _resize,
    "NonMaxSuppression": _suppression,
    "NonZero": _non_zero,
    "QuantizeLinear": _quantised,
    "DequantizeLinear": _quantised,
    "CumSum": _axes(1, since=(10, 8)),
    "Squeeze": _squeeze,
    "Unsqueeze": _axes(1, since=(10, 7)),
    "Slice": _axes(3, since=(10, 3)),
    "Pad": _axes(3, since=(10, 4)),
    "ScatterND": _scatter_nd,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Loop": _loop,
    "Scan": _loop,
    "If": _branch,
    "Constant": _constant,
    "Pow": _pow,
    "BatchNormalization": _normalise_batch,
    "Dropout": _dropout,
    "LayerNormalization": _one_output,
    "OneHot": _depth,
    "Attention": _attention,
    "RotaryEmbedding": _rotate,
    "TensorScatter": _scatter_cache,
    "STFT": _fourier,
    "LpNormalization": _lp_norm,
    "ReverseSequence": _reverse,
    "RandomNormal": _seeded,
    "RandomNormalLike": _seeded,
    "RandomUniform": _seeded,
    "RandomUniformLike": _seeded,
} | dict.fromkeys(_REDUCTIONS, _axes(1))
