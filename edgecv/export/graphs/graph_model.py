"""A graph that lies in no file, open in the pipeline that `run` uses."""

from pathlib import Path

import onnx

from edgecv.proposals import Proposals
from edgecv.runtime.model import Model
from edgecv.runtime.onnxruntime import OnnxruntimeSession


def open_graph(
    graph: onnx.ModelProto, *, threads: int = 0, proposals: Proposals | None = None
) -> Model:
    """Return a described graph as a model on the CPU.

    Args:
        graph: with its description and weights inside.
        threads: of one inference, 0 for one per core.
        proposals: the regions of image files, for a model that looks at given ones.

    Raises:
        InputError: if onnxruntime cannot run it.
        SpecError: if it carries no usable description.

    """
    content = graph.SerializeToString()
    name = Path(graph.graph.name or "graph")  # for messages
    model = Model(OnnxruntimeSession(name, "cpu", threads=threads, content=content))
    return model if proposals is None else model.with_proposals(proposals)
