"""A graph that lies in no file, open in the pipeline that `run` uses."""

from pathlib import Path

import onnx

from edgecv.runtime.model import Model
from edgecv.runtime.onnxruntime import OnnxruntimeSession


def open_graph(graph: onnx.ModelProto, *, threads: int = 0) -> Model:
    """Return a described graph as a model on the CPU.

    Args:
        graph: with its description and weights inside.
        threads: of one inference, 0 for one per core.

    Raises:
        InputError: if onnxruntime cannot run it.
        SpecError: if it carries no usable description.

    """
    content = graph.SerializeToString()
    name = Path(graph.graph.name or "graph")  # for messages
    return Model(OnnxruntimeSession(name, "cpu", threads=threads, content=content))
