"""A smaller graph that computes the same, as the other passes want it.

onnxslim folds constants, fuses normalisations into convolutions and removes what does nothing. It
was made for graphs of standard operators: it rewrites the bodies of functions wrongly, takes an
input that has a default for a constant, and renames the free sides of the outputs. What it must
not touch is kept from it here.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import onnx
import onnxslim

from edgecv.errors import InputError
from edgecv.export.graphs.shapes import infer_shapes, refuse_unknowable_shapes

_ROUNDS = 8  # one is nearly always enough, each more follows from what the one before made possible


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph that computes the same with fewer nodes, each with a name of its own.

    Constants are folded, normalisations fused into the convolutions before them, identities and
    nodes without effect removed; every value has a type and, where it can be known, a shape. What a
    caller sees stays: the names, types and defaults of inputs and outputs, opsets, metadata, the
    definitions of operators. The names of the nodes that stay are kept. Results differ by the
    rounding of fused weights alone. Doing it twice changes nothing.

    Args:
        model: whole, see `read_onnx`; it is not changed.

    Raises:
        InputError: if the shapes of the graph contradict each other or depend on the data, see
            `edgecv.export.graphs.shapes`.

    """
    result = infer_shapes(_named(model))
    refuse_unknowable_shapes(result)
    for _ in range(_ROUNDS):
        smaller = infer_shapes(_named(_slim(result)))
        if smaller.SerializeToString(deterministic=True) == result.SerializeToString(
            deterministic=True
        ):
            break
        result = smaller
    return result


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return what onnxslim makes of the graph alone, with everything else as it was."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.functions[:]
    inputs = {value.name for value in model.graph.input}
    defaults = [tensor for tensor in model.graph.initializer if tensor.name in inputs]
    _replace(bare.graph.initializer, (x for x in model.graph.initializer if x.name not in inputs))
    try:
        with _quiet():
            slimmed: onnx.ModelProto = onnxslim.slim(bare, no_shape_infer=True)  # it has them
    except Exception as error:  # whatever a graph makes it trip over
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise InputError(
            f"the graph cannot be simplified: {reason}. Export it again from its project, or "
            "report it with the file."
        ) from error
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(slimmed.graph)
    result.graph.name = model.graph.name
    result.graph.doc_string = model.graph.doc_string
    _replace(result.graph.input, model.graph.input)
    _replace(result.graph.output, model.graph.output)
    result.graph.initializer.extend(defaults)
    _replace(result.graph.metadata_props, model.graph.metadata_props)
    kept = {node.name: node for node in model.graph.node}
    for node in result.graph.node:
        if node.name in kept and kept[node.name].op_type == node.op_type:
            _replace(node.metadata_props, kept[node.name].metadata_props)
            node.doc_string = kept[node.name].doc_string
            node.overload = kept[node.name].overload
    return result


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every node has a name that no other has; names that are stay."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    nodes = list(_nodes(named.graph))
    reserved = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    for node in nodes:
        if not node.name or node.name in seen:
            made = next((name for name in node.output if name), "")
            stem = f"{node.op_type}_{made}" if made else node.op_type
            name, count = stem, 1
            while name in reserved:
                count += 1
                name = f"{stem}_{count}"
            node.name = name
            reserved.add(name)
        seen.add(node.name)
    return named


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _replace(field: Any, entries: Iterable[Any]) -> None:  # noqa: ANN401  # protobuf's repeated field
    """Put `entries` in the place of what a repeated field holds."""
    copies = list(entries)
    del field[:]
    field.extend(copies)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what onnxslim says of its own work from the user's screen."""
    logger = logging.getLogger("onnxslim")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = was_disabled
