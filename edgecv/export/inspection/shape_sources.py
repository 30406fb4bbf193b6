"""Where the shapes of a graph come from: stored, from other shapes, or from data.

TensorRT computes shapes on the host before anything runs: from the shapes of the inputs, and from
inputs that it is told the values of. One that depends on what the network computes cannot be.
"""

from collections.abc import Mapping

import onnx_ir as ir

from edgecv.export.graphs.nodes import STANDARD_DOMAINS, values_read
from edgecv.export.inspection.operand import Remark

# Inputs that say how large an output is, or which part of a tensor it is.
_OF_SHAPES: Mapping[str, frozenset[int]] = {
    "Reshape": frozenset({1}),
    "Expand": frozenset({1}),
    "ConstantOfShape": frozenset({0}),
    "Range": frozenset({0, 1, 2}),
    "Tile": frozenset({1}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Resize": frozenset({2, 3}),
    "Upsample": frozenset({1}),
    "Pad": frozenset({1}),
    "TopK": frozenset({1}),
    "OneHot": frozenset({1}),
    "Split": frozenset({1}),
}
_READS_SHAPES = frozenset({"Shape", "Size"})
_WHOLE = frozenset({"INT32", "INT64"})


class ShapeSources:
    """What the values of a graph are made of, as far as shapes may be computed from them."""

    def __init__(self, graph: ir.Graph) -> None:
        """Follow the graph from its inputs on."""
        self._known = set(graph.initializers.values())
        self._given: set[ir.Value] = set()
        for value in graph.inputs:
            if value not in self._known and _is_whole(value):
                self._given.add(value)
        for node in graph.all_nodes():
            read = values_read(node)
            if node.op_type in _READS_SHAPES or read <= self._known:
                self._known.update(node.outputs)
            elif read <= self._known | self._given:
                self._given.update(node.outputs)

    def remarks_on(self, node: ir.Node) -> list[Remark]:
        """Return what is to be said of the shapes that a node is told."""
        if node.domain not in STANDARD_DOMAINS:
            return []
        places = _OF_SHAPES.get(node.op_type, frozenset())
        told = [value for index, value in enumerate(node.inputs) if index in places and value]
        if any(value not in self._known | self._given for value in told):
            reason = "its shape is computed from data, and the builder must know every shape before"
            return [
                Remark("unsupported", reason, "keep a fixed number of rows and mark the wanted")
            ]
        if any(value in self._given for value in told):
            reason = "its shape comes from an input's values, which the profile must bound"
            return [Remark("limited", reason, "store the shape")]
        return []


def _is_whole(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.name in _WHOLE
