"""Each rule about TensorRT's parser catches a planted violation, and nothing next to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
import onnx
from onnx import TensorProto, helper

from edgecv.export.inspection.support import TARGETS, support
from edgecv.export.inspection.tensorrt_operators import importers
from edgecv.export.inspection.tensorrt_rules import RULES

from .graphs import model, tensor

OLD, NEW, NEWEST = TARGETS[1:]
FLOAT, HALF, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.BOOL,
)
IMAGE = (1, 4, 8, 8)


def node(
    op_type: str,
    inputs: dict[str, Any],
    *,
    outputs: int = 1,
    result: int = FLOAT,
    opset: int = 20,
    **attributes: Any,
) -> onnx.ModelProto:
    """A file with one node; an input is a shape, a shape and a type, or the values it stores."""
    given, stored = [], {}
    for name, value in inputs.items():
        if isinstance(value, np.ndarray | np.generic):
            stored[name] = value
        elif value and isinstance(value[-1], tuple):
            given.append(tensor(name, list(value[-1]), value[0]))
        else:
            given.append(tensor(name, list(value)))
    names = [name if name.isidentifier() else "" for name in inputs]
    made = [f"y{index}" for index in range(outputs)]
    it = helper.make_node(op_type, names, made, "it", **attributes)
    values = [tensor(name, None, result) for name in made]
    return model([it], given, values, stored, opset=opset)


def worst(file: onnx.ModelProto, target: Any) -> tuple[str, str]:
    found = support(file, Path("made-here.onnx"), target).findings
    return (found[0].verdict, found[0].reason) if found else ("supported", "")


ONE = np.float32([0.1])
PLANTED = [
    # what the file is, the parser that refuses it, why, and a parser or a file that does not
    (node("Softmax", {"x": (INT64, (2, 3))}, result=INT64), NEW, "it takes bfloat16, float16"),
    (node("And", {"a": (2,), "b": (2,)}, result=BOOL), NEW, "it takes bool, not float32"),
    (node("Where", {"c": (BOOL, (2,)), "a": (2,), "b": (2,)}), NEW, ""),
    (node("OneHot", {"i": (INT64, (2,)), "d": np.int64([3]), "v": (BOOL, (2,))}), NEW, ""),
    (node("Equal", {"a": (BOOL, (2,)), "b": (BOOL, (2,))}, result=BOOL), OLD, ""),
    (node("Clip", {"x": (INT64, (2,))}, result=INT64), OLD, ""),
    (node("Mish", {"x": (TensorProto.BFLOAT16, (2,))}, result=16, opset=22), NEW, "not bfloat16"),
    (node("Pow", {"x": (INT64, (2,)), "e": np.float32(2)}, result=INT64), OLD, "not int64"),
    (node("Pow", {"x": (INT64, (2,)), "e": np.int64(2)}, result=INT64), NEW, ""),
    (node("Pow", {"x": (2,), "e": np.int64(2)}), OLD, "exponent is read from 10.8 on"),
    (node("Pow", {"x": (2,), "e": np.int64(2)}), NEW, ""),
    (node("Relu", {"x": (1,) * 9}), NEWEST, "9 sides, and 8 are the most"),
    (node("Relu", {"x": (1,) * 8}), NEWEST, ""),
    (node("MaxPool", {"x": (1, 4, 8)}, kernel_shape=[2]), OLD, ""),
    (node("MaxPool", {"x": (1, 4, 2, 2, 2, 2)}, kernel_shape=[2] * 4), NEW, "1 to 3 dimensions"),
    (node("MaxPool", {"x": IMAGE}, outputs=2, kernel_shape=[2, 2]), NEW, "`Indices`"),
    (node("LpPool", {"x": IMAGE}, kernel_shape=[2, 2], p=3), NEW, "`p` is 3"),
    (node("LpPool", {"x": IMAGE}, kernel_shape=[2, 2], p=1), NEW, ""),
    (node("LpNormalization", {"x": IMAGE}, p=4), NEW, "`p` is 4"),
    (
        node("Conv", {"x": (1, 1, 2, 2, 2, 2), "w": np.ones((1, 1, 1, 1, 1, 1), np.float32)}),
        NEW,
        "it convolves in 1 to 3 dimensions",
    ),
    (
        node(
            "DeformConv",
            {"x": IMAGE, "w": np.ones((1, 4, 1, 1), np.float32), "o": (1, 2, 9, 9)},
            pads=[1, 0, 0, 1],
        ),
        NEW,
        "pads must be the same on both ends",
    ),
    (
        node("GridSample", {"x": (1, 3, 4, 4, 4), "g": (1, 2, 2, 2, 3)}, mode="nearest"),
        NEW,
        "the input must be 4-dimensional",
    ),
    (node("TopK", {"x": (9,), "k": np.int64([3])}, outputs=2, sorted=0), NEW, "`sorted` must be 1"),
    (node("TopK", {"x": (9,), "k": (INT64, (1,))}, outputs=2), NEW, "K is computed"),
    (
        node(
            "RoiAlign",
            {"x": IMAGE, "r": (5, 4), "b": (INT64, (5,))},
            sampling_ratio=-1,
        ),
        NEW,
        "must not be negative",
    ),
    (
        node(
            "RoiAlign",
            {"x": (HALF, IMAGE), "r": (HALF, (5, 4)), "b": (INT64, (5,))},
            result=HALF,
            sampling_ratio=2,
        ),
        NEW,
        "coordinates in float16",
    ),
    (
        node(
            "Resize",
            {"x": IMAGE, "-": np.float32([]), "s": np.float32([1, 1, 2, 2])},
            keep_aspect_ratio_policy="not_larger",
        ),
        NEW,
        "keep_aspect_ratio_policy `not_larger`",
    ),
    (
        node(
            "Resize",
            {"x": IMAGE, "-": np.float32([]), "s": np.float32([1, 1, 2, 2])},
            coordinate_transformation_mode="tf_half_pixel_for_nn",
            nearest_mode="ceil",
        ),
        NEW,
        "goes with round_prefer_floor alone",
    ),
    (
        node("Resize", {"x": IMAGE, "-": np.float32([]), "s": np.float32([2, 2])}, axes=[2, 2]),
        NEW,
        "`axes` must differ",
    ),
    (
        node("Resize", {"x": IMAGE, "-": np.float32([]), "s": (2,)}, axes=[2, 3]),
        NEW,
        "every axis in its order",
    ),
    (
        node("Resize", {"x": IMAGE, "-": np.float32([]), "s": np.float32([2] * 4)}, mode="linear"),
        NEW,
        "`linear` resizes 3 sides at most, not 4",
    ),
    (
        node("QuantizeLinear", {"x": IMAGE, "s": np.float32(-1), "z": np.int8(0)}, result=3),
        NEW,
        "scales must be above 0",
    ),
    (
        node(
            "QuantizeLinear",
            {"x": IMAGE, "s": np.float32([1, 1, 1]), "z": np.int8([0, 0, 0])},
            result=3,
        ),
        NEW,
        "3 scales for 4 channels",
    ),
    (
        node(
            "QuantizeLinear",
            {"x": IMAGE, "s": np.float32([1] * 4), "z": np.int8([0] * 4)},
            result=3,
        ),
        NEW,
        "",
    ),
    (
        node("DequantizeLinear", {"x": np.int32([3]), "s": ONE, "z": np.int32([0])}),
        NEW,
        "a quantised bias (int32)",
    ),
    (
        node("QuantizeLinear", {"x": IMAGE, "s": np.float32(1), "z": (3, ())}, result=3),
        NEW,
        "zero-points must be stored",
    ),
    (node("Squeeze", {"x": (1, 2)}), NEW, "without axes every side"),
    (node("CumSum", {"x": (2, 3), "a": (INT64, ())}), OLD, "its axes must be stored"),
    (node("CumSum", {"x": (2, 3), "a": (INT64, ())}), NEW, ""),
    (
        node("Pad", {"x": (2, 3), "p": np.int64([1, 1]), "-": np.float32(0), "a": (INT64, (1,))}),
        OLD,
        "its axes must be stored",
    ),
    (
        node(
            "ScatterND",
            {"x": (4,), "i": (INT64, (1, 1)), "u": (1,)},
            reduction="add",
        ),
        NEW,
        "only none is supported",
    ),
    (
        node("ScatterND", {"x": (4,), "i": (INT64, (1, 1)), "u": (1,)}, reduction="none"),
        OLD,
        "refused before 10.9",
    ),
    (
        node("ScatterND", {"x": (4,), "i": (INT64, (1, 1)), "u": (1,)}, reduction="none"),
        NEW,
        "",
    ),
    (node("ScatterND", {"x": (4,), "i": (INT64, (1, 1)), "u": (1,)}), OLD, ""),
    (node("Einsum", {"a": (2, 3)}, equation="IJ->JI"), NEW, "has capitals"),
    (
        node(
            "BatchNormalization",
            {"x": IMAGE, **{name: np.ones(4, np.float32) for name in "sbmv"}},
            training_mode=1,
            outputs=3,
        ),
        NEW,
        "`training_mode` must be 0",
    ),
    (
        node(
            "BatchNormalization",
            {"x": (HALF, IMAGE), **{name: np.ones(4, np.float32) for name in "sbmv"}},
            result=HALF,
        ),
        OLD,
        "of different types are read from 10.7 on",
    ),
    (
        node("Dropout", {"x": IMAGE, "r": np.float32(0.5), "t": np.array([True])[0:1].reshape(())}),
        NEW,
        "must not be in training mode",
    ),
    (
        node("LayerNormalization", {"x": (2, 4), "s": np.ones(4, np.float32)}, outputs=2),
        NEW,
        "only the first output",
    ),
    (
        node(
            "LSTM",
            {
                "x": (2, 1, 4),
                "w": np.ones((1, 8, 4), np.float32),
                "r": np.ones((1, 8, 2), np.float32),
            },
            hidden_size=2,
            layout=1,
        ),
        NEW,
        "`layout` must be 0",
    ),
    (
        node("ReverseSequence", {"x": (2, 3), "l": (INT64, (2,))}, batch_axis=0, time_axis=0),
        NEW,
        "must differ",
    ),
    (node("RandomNormalLike", {"x": (2,)}, seed=1.0), NEW, "`seed` is ignored"),
    (
        node("OneHot", {"i": (INT64, (2,)), "d": (INT64, ()), "v": np.float32([0, 1])}),
        NEW,
        "`depth` must be stored",
    ),
    (
        node("Constant", {}, value_strings=["a"], result=TensorProto.STRING),
        NEW,
        "`value_strings` is not supported",
    ),
    (
        node("STFT", {"x": (1, 16, 1), "s": np.int64(4), "w": (4,)}),
        NEW,
        "must be stored in the file",
    ),
    (
        node("Attention", dict.fromkeys("qkv", (1, 2, 3, 4)), opset=23),
        NEW,
        "from TensorRT 10.14",
    ),
    (
        node("TensorScatter", {"c": (1, 2, 3, 4), "u": (1, 2, 1, 4)}, opset=24, axis=1),
        NEW,
        "the parser has it from TensorRT 10.15 on",
    ),
]
LATEST = [
    (node("Attention", dict.fromkeys("qkv", (1, 2, 3, 4)), opset=23), ""),
    (node("Attention", dict.fromkeys("qkv", (1, 2, 3, 4)), opset=23, softcap=1.0), "`softcap`"),
    (
        node(
            "Attention",
            dict.fromkeys("qkv", (1, 2, 8)),
            opset=23,
            q_num_heads=2,
            kv_num_heads=2,
        ),
        "must be 4-dimensional",
    ),
    (
        node("TensorScatter", {"c": (1, 2, 3, 4), "u": (1, 2, 1, 4)}, opset=24, axis=1),
        "only -2 is supported",
    ),
    (
        node(
            "RotaryEmbedding",
            {"x": (1, 2, 3, 4), "c": (3, 2), "s": (3, 2), "p": (TensorProto.INT32, (1, 3))},
            opset=23,
        ),
        "`position_ids` must be int64",
    ),
]


@pytest.mark.parametrize(("file", "target", "said"), PLANTED)
def test_a_violation_is_found(file: onnx.ModelProto, target: Any, said: str) -> None:
    verdict, reason = worst(file, target)
    assert (verdict == "supported") == (not said), reason
    assert said in reason


@pytest.mark.parametrize(("file", "said"), LATEST)
def test_what_came_with_the_newest_opsets(file: onnx.ModelProto, said: str) -> None:
    verdict, reason = worst(file, NEWEST)
    assert (verdict == "supported") == (not said), reason
    assert said in reason


def test_every_operator_has_types_that_onnx_knows() -> None:
    for name, importer in importers().items():
        later = frozenset() if importer.later is None else importer.later[1]
        kinds = importer.types | later
        assert kinds <= set(TensorProto.DataType.keys()), name
        assert importer.types, name
        assert not importer.types & later, name
    assert RULES.keys() <= importers().keys()


def shaped_by(*nodes: onnx.NodeProto, stored: Any = ()) -> onnx.ModelProto:
    """A file that reshapes `x` [4, 6] to what the nodes make of `x`, or of the whole number `n`."""
    last = helper.make_node("Reshape", ["x", "shape"], ["y"], "it")
    inputs = [tensor("x", [4, 6]), tensor("n", [2], INT64)]
    return model([*nodes, last], inputs, [tensor("y", None)], dict(stored))


def make(op_type: str, given: str, made: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(
        op_type, given.split(), made.split(), made.split(maxsplit=1)[0], **attributes
    )


@pytest.mark.parametrize(
    ("file", "verdict", "said"),
    [
        (shaped_by(make("Shape", "x", "shape")), "supported", ""),
        (
            shaped_by(
                make("Shape", "x", "s"),
                make("Cast", "s", "f", to=FLOAT),
                make("Mul", "f f", "g"),
                make("Cast", "g", "shape", to=INT64),
            ),
            "supported",
            "",
        ),
        (shaped_by(stored={"shape": np.array([6, 4])}), "supported", ""),
        (shaped_by(make("Abs", "n", "shape")), "limited", "comes from an input's values"),
        (
            shaped_by(
                make("ReduceMax", "x", "m", keepdims=0),
                make("Cast", "m", "c", to=INT64),
                make("Unsqueeze", "c a", "shape"),
                stored={"a": np.array([0])},
            ),
            "unsupported",
            "computed from data",
        ),
        (
            shaped_by(
                make("NonZero", "x", "rows"),
                make("Shape", "rows", "shape"),
            ),
            "limited",
            "rows depend on the data",
        ),
    ],
)
def test_shapes_come_from_shapes(file: onnx.ModelProto, verdict: str, said: str) -> None:
    found, reason = worst(file, NEW)
    assert (found, said in reason) == (verdict, True), reason
