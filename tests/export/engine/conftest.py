"""What the tests of the engine builder share: real bindings, a stand-in of TensorRT, a model."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv.bundle.machine import Gpu

from ...tensorrt_fixtures import bindings, known, plugins  # noqa: TID252  # no package to import from
from ...tensorrt_stand_in import Script, make_module  # noqa: TID252

GPU = Gpu("Orin", "8.7", "10.3.0", 8)

GRAPH = """
<ir_version: 10, opset_import: ["" : 19, "edgecv" : 1]>
tested (float16[batch, 3, 8, 8] images, float[batch, 1, 4] boxes, float limit, float overlap) =>
       (int32[batch] number, float[batch, 2, 4] kept)
<int64[3] shape = {0, 1, 2}, float limit = {0.5},
 float overlap = {0.5}> {
  features = Conv (images, weight)
  rows = Reshape (features, shape)
  scores = Cast <to = 1> (rows)
  number, kept, best, classes = edgecv.EdgeNMS <max_detections = 2, class_agnostic = 0,
    background_class = -1, plugin_version = "1", plugin_namespace = "edgecv">
    (boxes, scores, limit, overlap)
}
"""

Install = Callable[[Script], Any]

__all__ = ["bindings", "known", "plugins"]  # fixtures of other places


@pytest.fixture
def install(known: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Put a stand-in in the place of TensorRT, on an Orin of its own cache."""

    def put(script: Script) -> Any:
        module = make_module(known, script)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        return module

    gpu = Gpu(GPU.name, GPU.capability, known["version"], GPU.multiprocessors)
    for place in ("build", "trtexec"):
        monkeypatch.setattr(f"edgecv.export.engine.{place}.find_gpu", lambda: gpu)
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    return put


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A float16 convolution and a suppression by plugin, of any batch."""
    return write_model(tmp_path / "model.onnx")


def write_model(path: Path, text: str = GRAPH) -> Path:
    """Write the graph, with a weight of zeros."""
    import numpy as np
    import onnx
    from onnx import numpy_helper, parser

    graph = parser.parse_model(text)
    kind = np.float16 if "float16" in text else np.float32
    weight = numpy_helper.from_array(np.zeros((2, 3, 8, 8), kind), "weight")
    graph.graph.initializer.append(weight)
    onnx.save(graph, path)
    return path
