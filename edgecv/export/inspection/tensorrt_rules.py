"""What TensorRT's parser makes of the details of a node: a rule for each operator that has any.

Source: docs/operators.md and docs/Changelog.md of onnx-tensorrt at TensorRT 10.0 to 10.15 and the
importers of 10.1 (onnxOpImporters.cpp); its limits as edgecv's own plugin tests found them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Verdict = Literal["supported", "limited", "plugin", "unsupported"]
Version = tuple[int, int]

TOPK_LIMIT = 3840
NMS_BOX_LIMIT = 5000

QUANTISED_TYPES = frozenset({"INT8", "INT4", "FLOAT8E4M3FN", "FLOAT4E2M1"})


@dataclass(frozen=True)
class Remark:
    """What is to be said of one node: why it is not simply supported, and what to do."""

    verdict: Verdict
    reason: str
    remedy: str = ""


class Operand:
    """A node as the rules look at it."""

    def __init__(self, node: ir.Node, version: Version, opset: int) -> None:
        """Look at `node` as the parser of `version` does, in a file of `opset`."""
        self.node = node
        self.version = version
        self.opset = opset

    def attribute(self, name: str, default: Any) -> Any:  # noqa: ANN401  # what ONNX allows
        """Return an attribute's value."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def has(self, index: int) -> bool:
        """Tell whether an input is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def writes(self, index: int) -> bool:
        """Tell whether an output is read by anyone."""
        if index >= len(self.node.outputs):
            return False
        value = self.node.outputs[index]
        return bool(value.name) and (bool(value.uses()) or value.is_graph_output())

    def constant(self, index: int) -> NDArray[Any] | None:
        """Return an input's values, None where they are computed or not given."""
        value = self.node.inputs[index] if self.has(index) else None
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        if tensor is None:
            return None
        try:
            return np.asarray(tensor.numpy())
        except (ValueError, TypeError):  # a large tensor whose values were left out
            return None

    def is_constant(self, index: int) -> bool:
        """Tell whether an input is stored in the file."""
        value = self.node.inputs[index] if self.has(index) else None
        return value is not None and ir.convenience.get_const_tensor(value) is not None

    def dtype(self, index: int) -> str:
        """Return the name of an input's type, empty where it is unknown."""
        value = self.node.inputs[index] if self.has(index) else None
        return "" if value is None or value.dtype is None else value.dtype.name

    def rank(self, index: int) -> int | None:
        """Return the number of sides of an input, None where it is unknown."""
        value = self.node.inputs[index] if self.has(index) else None
        return None if value is None or value.shape is None else len(value.shape)


Rule = Callable[[Operand], list[Remark | None]]


def _no(condition: object, reason: str, remedy: str = "") -> Remark | None:
    return Remark("unsupported", reason, remedy) if condition else None


def _but(condition: object, reason: str, remedy: str = "") -> Remark | None:
    return Remark("limited", reason, remedy) if condition else None


def _pool(seen: Operand) -> list[Remark | None]:
    dilations = seen.attribute("dilations", ())
    rank = seen.rank(0)
    return [
        _no(any(step != 1 for step in dilations), "`dilations` must be 1", "use a convolution"),
        _no(rank is not None and rank not in (4, 5), "it pools in 2 or 3 dimensions", "reshape"),
        _no(
            seen.node.op_type == "MaxPool" and seen.writes(1),
            "the output `Indices` is not written",
            "take the place of the maximum with ArgMax",
        ),
    ]


def _grid_sample(seen: Operand) -> list[Remark | None]:
    mode = seen.attribute("mode", "linear" if seen.opset >= 20 else "bilinear")  # noqa: PLR2004
    return [
        _no(
            mode in ("linear", "cubic"),
            f"mode `{mode}` of opset 20 is read as nearest, without a word",
            "export with opset 19, whose modes are named bilinear and bicubic",
        ),
        _no(seen.rank(0) not in (None, 4), "the input must be 4-dimensional"),
    ]


def _top_k(seen: Operand) -> list[Remark | None]:
    count = seen.constant(1)
    largest = None if count is None else int(count.max(initial=0))
    return [
        _no(
            largest is not None and largest > TOPK_LIMIT,
            f"K is {largest}, and at most {TOPK_LIMIT} are taken",
            f"take {TOPK_LIMIT}, or suppress with EdgeNMS, which needs no TopK",
        ),
        _but(largest is None, f"K is computed, and at most {TOPK_LIMIT} are taken", "fix K"),
        _no(seen.attribute("sorted", 1) != 1, "`sorted` must be 1"),
    ]


def _roi_align(seen: Operand) -> list[Remark | None]:
    is_given = "sampling_ratio" in seen.node.attributes
    return [
        _no(
            not is_given,
            "without `sampling_ratio` the parser takes 1 where ONNX says 0, as many as needed",
            "write the attribute, or use EdgeRoiAlign",
        ),
        _but(
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


def _resize(seen: Operand) -> list[Remark | None]:
    placing = seen.attribute("coordinate_transformation_mode", "half_pixel")
    policy = seen.attribute("keep_aspect_ratio_policy", "stretch")
    return [
        _no(
            seen.attribute("antialias", 0),
            "antialiasing is not supported",
            "export without `antialias`, or shrink with AveragePool",
        ),
        _no(
            placing not in _RESIZE_MODES,
            f"coordinate_transformation_mode `{placing}` is not supported",
            "use half_pixel, asymmetric or align_corners",
        ),
        _no(policy != "stretch", f"keep_aspect_ratio_policy `{policy}` is not supported"),
        _but(
            seen.attribute("mode", "nearest") == "cubic",
            "the documentation names nearest and linear only",
            "compare the results, or use linear",
        ),
    ]


def _suppression(seen: Operand) -> list[Remark | None]:
    return [
        _but(
            seen.node,
            f"its rows depend on the data, so no CUDA graph holds the engine, and only the best "
            f"{NMS_BOX_LIMIT} boxes of an image are looked at",
            "use EdgeNMS: `edgecv export` writes it",
        )
    ]


def _non_zero(seen: Operand) -> list[Remark | None]:
    reason = "its rows depend on the data, so no CUDA graph holds the engine"
    return [_but(seen.node, reason, "keep every row and mark the wanted ones with Where")]


def _quantised(seen: Operand) -> list[Remark | None]:
    is_dequantize = seen.node.op_type == "DequantizeLinear"
    zero_point = seen.constant(2)
    stored = seen.dtype(0) if is_dequantize else seen.node.outputs[0].dtype
    name = stored if isinstance(stored, str) else "" if stored is None else stored.name
    symmetric = "quantise with `edgecv export --precision int8-tensorrt`"
    is_shifted = zero_point is not None and bool(np.any(np.asarray(zero_point, np.float64)))
    return [
        _no(name == "UINT8", "uint8 is no type of its quantised layers, int8 is", symmetric),
        _no(
            name == "INT32",
            "a quantised bias (int32) is not dequantised",
            f"keep biases in float32: {symmetric}",
        ),
        _no(
            name not in ("", "UINT8", "INT32") and name not in QUANTISED_TYPES,
            f"{name.lower()} is no type of its quantised layers",
            symmetric,
        ),
        _no(is_shifted and name != "UINT8", "zero-points must be 0", symmetric),
        _no(seen.has(2) and not seen.is_constant(2), "zero-points must be stored", symmetric),
        _no(
            seen.dtype(1) == "FLOAT16" and seen.opset < 19,  # noqa: PLR2004
            f"ONNX has no float16 scales in opset {seen.opset}",
            "raise the opset to 19 or more",
        ),
    ]


def _axes(index: int, *, since: Version | None = None) -> Rule:
    """Return a rule: from `since` on an input may be computed, before it must be stored."""

    def rule(seen: Operand) -> list[Remark | None]:
        is_computed = seen.has(index) and not seen.is_constant(index)
        is_free = since is not None and seen.version >= since
        return [_no(is_computed and not is_free, "its axes must be stored in the file", "fix them")]

    return rule


def _scatter_nd(seen: Operand) -> list[Remark | None]:
    reduction = seen.attribute("reduction", "none")
    return [_no(reduction != "none", f"`reduction` is `{reduction}`, only none is supported")]


def _einsum(seen: Operand) -> list[Remark | None]:
    equation = seen.attribute("equation", "")
    terms = equation.split("->")[0].split(",")
    is_diagonal = any(len(set(term.strip())) < len(term.strip()) for term in terms)
    is_new = "." in equation or is_diagonal
    reason = f"`{equation}` has an ellipsis or a diagonal, which are read from 10.12 on"
    return [_no(is_new and seen.version < (10, 12), reason, "write it with MatMul and Transpose")]


def _recurrent(seen: Operand) -> list[Remark | None]:
    kinds = list(seen.attribute("activations", ()))
    half = len(kinds) // 2
    is_both = seen.attribute("direction", "forward") == "bidirectional"
    return [
        _no(
            is_both and kinds[:half] != kinds[half:],
            "both directions must have the same activations",
        ),
        _no(seen.attribute("input_forget", 0), "`input_forget` must be 0"),
        _no(seen.attribute("layout", 0), "`layout` must be 0", "transpose around it"),
    ]


def _loop(seen: Operand) -> list[Remark | None]:
    reason = "shapes must be the same in every round, and the length of a scan output known"
    return [_but(seen.node, reason, "unroll it where the number of rounds is fixed")]


def _branch(seen: Operand) -> list[Remark | None]:
    reason = "both branches are built, and their outputs must have the same rank"
    return [_but(seen.node, reason, "export without the branch where its condition is fixed")]


def _constant(seen: Operand) -> list[Remark | None]:
    given = set(seen.node.attributes) & {"sparse_value", "value_string", "value_strings"}
    return [_no(given, f"`{', '.join(sorted(given))}` is not supported")]


def _pow(seen: Operand) -> list[Remark | None]:
    is_whole = seen.dtype(0) in ("INT32", "INT64")
    reason = "a whole-numbered base is read from 10.12 on"
    return [_no(is_whole and seen.version < (10, 12), reason, "cast to float32 around it")]


def _training(name: str) -> Rule:
    def rule(seen: Operand) -> list[Remark | None]:
        return [_no(seen.attribute(name, 0), f"`{name}` must be 0", "export in evaluation mode")]

    return rule


def _dropout(seen: Operand) -> list[Remark | None]:
    mode = seen.constant(2)
    is_training = seen.has(2) and (mode is None or bool(mode.any()))
    return [_no(is_training, "it must not be in training mode", "export in evaluation mode")]


def _one_output(seen: Operand) -> list[Remark | None]:
    return [_no(seen.writes(1) or seen.writes(2), "only the first output is written")]


def _deformable(seen: Operand) -> list[Remark | None]:
    pads = list(seen.attribute("pads", ()))
    half = len(pads) // 2
    return [_no(pads[:half] != pads[half:], "pads must be the same on both ends of an axis")]


def _seeded(seen: Operand) -> list[Remark | None]:
    return [_but("seed" in seen.node.attributes, "`seed` is ignored")]


def _large_kernel(seen: Operand) -> list[Remark | None]:
    rank = seen.rank(0)
    is_other = rank is not None and not 3 <= rank <= 5  # noqa: PLR2004  # 1 to 3 dimensions
    return [_no(is_other, "it convolves in 1 to 3 dimensions")]


def _depth(seen: Operand) -> list[Remark | None]:
    return [_no(not seen.is_constant(1), "`depth` must be stored in the file", "fix it")]


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
    "Squeeze": _axes(1, since=(10, 7)),
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
    "BatchNormalization": _training("training_mode"),
    "Dropout": _dropout,
    "LayerNormalization": _one_output,
    "OneHot": _depth,
    "RandomNormal": _seeded,
    "RandomNormalLike": _seeded,
    "RandomUniform": _seeded,
    "RandomUniformLike": _seeded,
} | dict.fromkeys(_REDUCTIONS, _axes(1))
