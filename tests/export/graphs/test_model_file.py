"""ONNX files in and out: what cannot be read says why, what cannot be written leaves nothing."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402

from edgecv.errors import InputError, OutputError  # noqa: E402
from edgecv.export.graphs.model_file import opset_of, read_onnx, write_onnx  # noqa: E402

WEIGHTS = np.arange(600, dtype=np.float32).reshape(200, 3)  # above the limit of external data


def scaled(opset: int = 19) -> "onnx.ModelProto":
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "scaled",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [200, 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(scaled(), path)
    assert read_onnx(path) == scaled()
    assert opset_of(read_onnx(path)) == 19


def test_weights_in_another_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(scaled(), path, save_as_external_data=True, location="w.bin", size_threshold=64)
    (tensor,) = read_onnx(path).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), WEIGHTS)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match=r"keeps its weights in `w\.bin`, which is not beside it"):
        read_onnx(path)


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match=r"there is no such file\. Check the path"):
        read_onnx(path)
    path.write_bytes(b"no protobuf")
    with pytest.raises(InputError, match="is not a valid ONNX file"):
        read_onnx(path)
    onnx.save(scaled(opset=10), path)
    with pytest.raises(InputError, match=r"those of opset 10, and edgecv reads from 11 on"):
        read_onnx(path)


def test_a_model_that_is_not_valid_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(scaled(), path)
    broken = scaled()
    broken.graph.node[0].input[0] = "nobody makes this"
    with pytest.raises(onnx.checker.ValidationError):
        write_onnx(broken, path)
    assert read_onnx(path) == scaled()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_onnx(scaled(), tmp_path / "file" / "model.onnx")
