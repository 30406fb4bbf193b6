"""The precision audit: what the inspector says, in its several wordings, against the file."""

import json
from typing import Any

import pytest

pytest.importorskip("onnx_ir")

from edgecv.errors import DeviceError
from edgecv.export.engine.audit import (
    data_type,
    file_precision,
    read_layers,
    require_precision,
    with_times,
)
from edgecv.export.inspection.summary import Layer


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Row major linear FP32", "fp32"),
        ("Float", "fp32"),
        ("Row major linear FP16 format", "fp16"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Half", "fp16"),
        ("BF16", "bf16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("Int8", "int8"),
        ("FP8", "fp8"),
        ("Int64", "int64"),
        ("Int32", "int32"),
        ("Bool", "bool"),
        ("N/A due to dynamic shapes", ""),
    ],
)
def test_types_in_the_words_of_each_version(words: str, kind: str) -> None:
    assert data_type(words) == kind


def described(name: str, words: str, **more: Any) -> dict[str, Any]:
    tensor = {"Name": "x", "Format/Datatype": words}
    return {"Name": name, "LayerType": "CaskConvolution", "Inputs": [tensor], **more}


def test_layers_name_the_nodes_that_they_are_made_of() -> None:
    by_metadata = described(
        "__myl_ConvAdd", "Half", Metadata="[ONNX Layer: /a/Conv]\x1f[ONNX Layer: /a/Add]"
    )
    by_name = described("/b/Conv + /b/Relu", "Float", Metadata="")
    gather = described("gather", "Int64", Outputs=[{"Format/Datatype": "Half"}])
    text = json.dumps({"Layers": [by_metadata, by_name, gather, "/c/Conv + /c/Relu"]})
    layers = read_layers(text)
    assert [layer.nodes for layer in layers] == [
        ("/a/Conv", "/a/Add"),
        ("/b/Conv", "/b/Relu"),
        ("gather",),
        ("/c/Conv", "/c/Relu"),
    ]
    assert [layer.computes_in for layer in layers] == ["fp16", "fp32", "fp16", ""]
    timed = with_times(layers, {"gather": 0.5})
    assert [layer.time_ms for layer in timed] == [None, None, 0.5, None]


def node(name: str, arithmetic: str) -> Layer:
    return Layer(name, "Conv", (1, 2), "float16", 0, None, arithmetic)


FILE = (node("a", "float16"), node("b", "float16"), node("box", "float32"), node("relu", ""))


def engine(**types: str) -> Any:
    return read_layers(json.dumps({"Layers": [described(n, t) for n, t in types.items()]}))


def test_what_the_file_keeps_in_another_type_may_stay() -> None:
    require_precision(engine(a="Half", b="Half", box="Float", relu="Float"), FILE, "fp16")


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({"a": "Half", "b": "Float"}, "`b` in fp32, of 2 layers"),
        ({"a": "Half", "b": "N/A due to dynamic shapes"}, "`b` in an unknown type"),
        ({"box": "Half"}, "no layer of the engine stands for"),
    ],
)
def test_layers_that_disagree_are_named(types: dict[str, str], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        require_precision(engine(**types), FILE, "fp16")


def test_at_most_five_are_named() -> None:
    names = [f"n{index}" for index in range(8)]
    file = [node(name, "int8") for name in names]
    with pytest.raises(DeviceError, match="`n4` in fp16 and 3 more, of 8 layers"):
        require_precision(engine(**dict.fromkeys(names, "Half")), file, "int8")


def test_a_copy_that_serves_a_layer_is_not_the_layer() -> None:
    copy = described("Reformatting CopyNode for Input Tensor 0 to a", "Float", LayerType="Reformat")
    copy["Metadata"] = "[ONNX Layer: a]"
    text = json.dumps({"Layers": [copy, described("a", "Half")]})
    require_precision(read_layers(text), FILE, "fp16")


@pytest.mark.parametrize(
    ("arithmetic", "expected"),
    [
        (["float16", "float16", "float32"], "fp16"),
        (["int8", "int8", "float32"], "int8"),
        (["uint8 x int8"], "int8-cpu"),
        (["bfloat16"], "bfloat16"),
        (["", ""], ""),
    ],
)
def test_the_precision_of_a_file_is_that_of_most(arithmetic: list[str], expected: str) -> None:
    assert file_precision([node("n", kind) for kind in arithmetic]) == expected
