"""`edgecv inspect` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
import onnx
from onnx import TensorProto, helper, numpy_helper


def test_it_shows_what_a_described_file_holds(edgecv: Any, exported: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    outcome = edgecv("inspect", exported / "fused.onnx", "--layers", "--json", figures)
    assert outcome.code == 0, outcome.err
    for shown in ("MAC for 1 image", "edgecv.EdgeNMS", "TensorRT 10.13+", "detect, "):
        assert shown in outcome.out
    plain = json.loads(figures.read_text())
    assert [entry["target"] for entry in plain["support"]] == [
        "onnxruntime",
        "tensorrt-10.3",
        "tensorrt-10.13",
        "tensorrt-11",
    ]
    assert plain["layers"][0]["operator"] == "Conv"
    assert plain["peak"]["method"].startswith("liveness")
    assert plain["spec"]["input"]["size_hw"] == [96, 128]


def test_a_batch_multiplies_the_work(edgecv: Any, exported: Path, tmp_path: Path) -> None:
    macs = []
    for batch in (1, 4):
        path = tmp_path / f"{batch}.json"
        assert edgecv("inspect", exported / "raw.onnx", "--batch", batch, "--json", path).code == 0
        macs.append(json.loads(path.read_text())["macs"])
    assert macs[1] == 4 * macs[0]


def test_a_file_without_a_description_will_do(edgecv: Any, foreign_onnx: Path) -> None:
    outcome = edgecv("inspect", foreign_onnx)
    assert outcome.code == 0, outcome.err
    assert "not described" in outcome.out


@pytest.fixture
def top_k(tmp_path: Path) -> Path:
    """A file that asks for more rows than TensorRT sorts."""
    graph = helper.make_graph(
        [helper.make_node("TopK", ["x", "k"], ["best", "rows"], "the best")],
        "sorting",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 9000])],
        [helper.make_tensor_value_info("best", TensorProto.FLOAT, [1, 5000])],
        [numpy_helper.from_array(np.array([5000]), "k")],
    )
    path = tmp_path / "top_k.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def test_a_target_makes_it_a_check(edgecv: Any, top_k: Path) -> None:
    outcome = edgecv("inspect", top_k, "--target", "tensorrt-10.3")
    assert (outcome.code, outcome.err) == (1, "")
    assert "K is 5000, and at most 3840 are taken. Take 3840" in " ".join(outcome.out.split())
    assert "TensorRT 10.3 does not run it, for 1 reason above." in outcome.out
    assert edgecv("inspect", top_k, "--target", "onnxruntime").code == 0
    both = ("--target", "onnxruntime", "--target", "tensorrt-11")
    assert edgecv("inspect", top_k, *both).code == 1
    assert edgecv("inspect", top_k).code == 0


def test_quiet_prints_nothing(edgecv: Any, top_k: Path) -> None:
    outcome = edgecv("inspect", top_k, "--target", "tensorrt-10.3", "-q")
    assert (outcome.code, outcome.out, outcome.err) == (1, "", "")


def test_bad_input_is_one_line(refused: Any, edgecv: Any, tmp_path: Path, top_k: Path) -> None:
    assert "no such file" in refused("inspect", tmp_path / "missing.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(top_k.read_bytes()[:-40])
    assert "is not a valid ONNX file" in refused("inspect", damaged)
    assert "bundle extract b.edgecv" in refused("inspect", "b.edgecv#fp16")
    assert "takes 1. Leave `--batch` out." in refused("inspect", top_k, "--batch", 2)
    assert edgecv("inspect", top_k, "--target", "tensorrt-7").code == 2
