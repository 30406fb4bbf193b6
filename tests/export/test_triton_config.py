"""`config.pbtxt` of an ONNX file: tensors, batch, and a description that survives the quoting."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnx")

import onnx

from edgecv.errors import InputError, SpecError
from edgecv.export.triton_config import triton_config
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.spec import ModelSpec

Make = Callable[..., Path]


def described(text: str) -> ModelSpec:
    """Return the description: the escapes that it needs mean the same in JSON."""
    found = re.search(r'key: "edgecv\.spec"\n  value \{ string_value: ("(?:[^"\\]|\\.)*") \}', text)
    assert found is not None
    return ModelSpec.from_json(json.loads(found[1]))


def changed(path: Path, **sides: int | str | None) -> Path:
    """Return the file with other first sides of its tensors; None takes the side away."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        if value.name in sides:
            dims = value.type.tensor_type.shape.dim
            side = sides[value.name]
            if isinstance(side, int):
                dims[0].dim_value = side
            elif side is None:
                del dims[:]
            else:
                dims[0].dim_param = side
    onnx.save(model, path)
    return path


def test_a_fixed_batch(make_onnx: Make) -> None:
    path = make_onnx(classes=('say "cheese"', "back\\slash", "犬", "two\nlines"))
    text = triton_config(path)
    tensors = text.partition("parameters")[0]
    assert tensors == (
        'backend: "onnxruntime"\n'
        "max_batch_size: 0\n"
        "input {\n"
        '  name: "images"\n'
        "  data_type: TYPE_FP32\n"
        "  dims: [ 1, 3, 64, 64 ]\n"
        "}\n"
        "output {\n"
        '  name: "output"\n'
        "  data_type: TYPE_FP32\n"
        "  dims: [ 1, 84, 9 ]\n"
        "}\n"
    )
    assert described(text) == OnnxruntimeSession(path, "cpu").spec
    with pytest.raises(InputError, match="must be 0, got 4, for its batch is fixed"):
        triton_config(path, max_batch_size=4)


def test_a_free_batch(make_onnx: Make) -> None:
    path = changed(make_onnx(), images="N", output="N")
    text = triton_config(path, backend="python")
    assert text.startswith('backend: "python"\nmax_batch_size: 8\n')
    assert "dims: [ 3, 64, 64 ]" in text
    assert "dims: [ 84, 7 ]" in text
    alone = triton_config(path, max_batch_size=0)
    assert "max_batch_size: 0\n" in alone
    assert "dims: [ -1, 3, 64, 64 ]" in alone
    assert "max_batch_size: 3\n" in triton_config(path, max_batch_size=3)
    with pytest.raises(InputError, match="must be 0 or more, got -1"):
        triton_config(path, max_batch_size=-1)


def test_a_fused_head(exported: Path) -> None:
    text = triton_config(exported / "fused.onnx")
    assert "max_batch_size: 8\n" in text
    assert text.count("\ninput {") == 1  # thresholds have defaults
    count = (
        '  name: "num_detections"\n  data_type: TYPE_INT32\n  dims: [ 1 ] reshape { shape: [ ] }'
    )
    assert count in text


def test_what_triton_does_not_know(make_onnx: Make) -> None:
    path = changed(make_onnx(), output=None)
    with pytest.raises(InputError, match="`output` is open or that of a scalar"):
        triton_config(path)
    model = onnx.load(path := make_onnx())
    for tensor in (model.graph.input[0], model.graph.output[0]):
        tensor.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    onnx.save(model, path)
    with pytest.raises(InputError, match="Triton knows no BFLOAT16, the type of `images`"):
        triton_config(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(SpecError, match="edgecv adopt"):
        triton_config(path)
