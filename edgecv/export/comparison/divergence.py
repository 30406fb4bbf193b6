"""Where two ONNX graphs part: the first layer whose output differs though its inputs agree.

Tensors of one name are the same tensor in both: the names survive what edgecv does to a graph, and
a float16 or quantised graph has them beside those that its conversions add.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import onnx
from onnx import helper

from edgecv.errors import InputError
from edgecv.export.comparison.tensors import (
    UNKNOWN_BYTES,
    Feeds,
    Gathered,
    Graph,
    TensorDifference,
    run_session,
    session_of,
)
from edgecv.precision import Precision

Match = Literal["name", "order", "nothing"]

# How far a tensor of one arithmetic may be from that of float32 before its layer is blamed, of its
# largest value: rounding in another order, in 11 bits, and in 8 bits through some layers.
LIMITS: Mapping[Precision, float] = {
    "fp32": 1e-4,
    "fp16": 2e-2,
    "int8-cpu": 0.25,
    "int8-tensorrt": 0.25,
}
_SUSPECTS = 16  # layers of each kind that are run alone before the search gives up
_CHUNK_BYTES = 256 * 2**20  # of the tensors that are looked at together
# Operators that only change how a value is written.
_REWRITING = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear", "Identity"})
_QUANTISING = frozenset({"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"})
# Operators that choose: of two values that are nearly equal, another may win for no reason.
_CHOOSING = frozenset({"TopK", "ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "EdgeNMS"})


@dataclass(frozen=True)
class Divergence:
    """What was found between two graphs.

    Args:
        matched_by: how tensors were paired: by `name`, by `order` where names differ but the
            operators are the same one after the other, or `nothing` where neither holds.
        num_tensors: pairs that the search compared until it ended.
        limit: what `relative` may be.
        node: the layer of the candidate that is to blame, empty where every pair agrees, and
            `the input` where what goes in differs already.
        operator: its operator.
        output: its output's difference.
        inputs: those of its inputs, the nearest tensors before it that both graphs have.
        alone: the difference of its output when it gets the reference's very inputs; None where
            that cannot be run.
        between: further nodes of the candidate between `inputs` and `output`.
        chooses: whether the layer, or one before it, chooses among values that may be nearly equal.
        grew: whether no layer is to blame by itself: each computes the same of the same inputs,
            and differences that were small grew beyond `limit` here.

    """

    matched_by: Match
    num_tensors: int
    limit: float
    node: str = ""
    operator: str = ""
    output: TensorDifference | None = None
    inputs: tuple[TensorDifference, ...] = ()
    alone: TensorDifference | None = None
    between: tuple[str, ...] = ()
    chooses: bool = False
    grew: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers; what is not finite is None."""
        plain = asdict(self)
        for entry in (plain["output"], plain["alone"], *plain["inputs"]):
            for key in ("absolute", "relative"):
                if entry is not None and not math.isfinite(entry[key]):
                    entry[key] = None
        return plain

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        if self.matched_by == "nothing":
            return "the graphs have no tensor in common, so no layer can be named"
        if not self.node or self.output is None:
            return f"the {self.num_tensors} tensors that both graphs have agree"
        if self.node == "the input":
            return f"the inputs differ already, by {_share(self.output)}: the descriptions disagree"
        text = f"the first to diverge is {self.operator} `{self.node}`"
        if self.grew:
            text = (
                "each layer does the same with the same inputs, small differences grow; the first "
                f"beyond {self.limit:g} is that of {self.operator} `{self.node}`"
            )
        text += f": its output differs by {_share(self.output)}"
        if self.inputs:
            worst = max(entry.relative for entry in self.inputs)
            text += f", its inputs by {'nothing' if worst == 0 else f'{worst:.1e} at most'}"
        if self.alone is not None:
            same = "nothing" if self.alone.relative == 0 else f"{self.alone.relative:.1e}"
            text += f"; with the very same inputs by {same}"
        return text


def _share(difference: TensorDifference) -> str:
    if not math.isfinite(difference.relative):
        return "values that are not finite, or its shape"
    return f"{difference.relative:.1e} of its largest value"


def precision_of(model: onnx.ModelProto, declared: Precision) -> Precision:
    """Return what a graph computes with, by its operators and weights where these tell."""
    if declared != "fp32":
        return declared
    types = {tensor.data_type for tensor in model.graph.initializer}
    if any(node.op_type in _QUANTISING for node in model.graph.node):
        return "int8-cpu" if onnx.TensorProto.UINT8 in types else "int8-tensorrt"
    return "fp16" if onnx.TensorProto.FLOAT16 in types else "fp32"


def find_divergence(
    reference: Graph,
    candidate: Graph,
    *,
    limit: float,
    on_tensors: Callable[[int, int], None] = lambda _done, _total: None,
) -> Divergence:
    """Return the first layer of `candidate` that does not compute what `reference` does.

    Tensors are compared in the order of the graph, as many at a time as fit 256 MB, until one
    differs by more than `limit` and its layer does so too when it gets the reference's inputs.
    Where no layer does, differences grew, or rounding decided a choice such as TopK's.

    Args:
        reference: the graph that is right.
        candidate: the graph that is questioned, with the same images.
        limit: see `LIMITS`.
        on_tensors: told how many tensors of how many were compared.

    Raises:
        InputError: if a file cannot be read or run.

    """
    difference = _input_difference(reference, candidate)
    if difference is not None and not difference.relative <= limit:
        return Divergence("name", 0, limit, node="the input", output=difference)
    matched_by, pairs = _pairs(reference, candidate)
    if not pairs:
        return Divergence("nothing", 0, limit)
    search = _Search(reference, candidate, pairs)
    chosen = _chosen(reference)
    innocent: dict[bool, list[Divergence]] = {False: [], True: []}
    for names in search.chunks():
        search.compare(names)
        on_tensors(len(search.found), len(pairs))
        for name in names:
            entry, is_chosen = search.found.get(name), name in chosen
            if entry is None or entry.relative <= limit or len(innocent[is_chosen]) == _SUSPECTS:
                continue
            suspect = search.blame(name, matched_by, limit, chooses=is_chosen)
            if _is_guilty(suspect):
                return suspect
            innocent[is_chosen].append(suspect)
    # No layer computes anything else: differences grew, or a choice fell on another value.
    for suspects in innocent.values():
        if suspects:
            return replace(suspects[0], grew=True, num_tensors=len(search.found))
    return Divergence(matched_by, len(search.found), limit)


def _is_guilty(suspect: Divergence) -> bool:
    """Tell whether a layer itself differs, not its inputs alone.

    One that chooses is only guilty where its inputs are equal to the last bit.
    """
    if suspect.operator in _CHOOSING and any(entry.absolute > 0 for entry in suspect.inputs):
        return False
    if suspect.alone is None:
        return not suspect.chooses
    return not suspect.alone.relative <= suspect.limit


class _Search:
    """Compares pairs of tensors and finds what made one of them differ."""

    def __init__(self, reference: Graph, candidate: Graph, pairs: Mapping[str, str]) -> None:
        self.reference = reference
        self.candidate = candidate
        self.pairs = pairs
        self.found: dict[str, TensorDifference] = {}

    def chunks(self) -> Iterator[list[str]]:
        """Yield the names of the reference's tensors, as many as may be in memory."""
        sizes = self.reference.num_bytes()
        chunk: list[str] = []
        total = 0
        for name in self.pairs:
            size = 2 * sizes.get(name, UNKNOWN_BYTES)
            if chunk and total + size > _CHUNK_BYTES:
                yield chunk
                chunk, total = [], 0
            chunk.append(name)
            total += size
        if chunk:
            yield chunk

    def compare(self, names: Sequence[str]) -> None:
        """Note how far these tensors are apart over all images."""
        ours = [self.pairs[name] for name in names]
        sums = {name: Gathered() for name in names}
        images = zip(self.reference.values(names), self.candidate.values(ours), strict=True)
        for wanted, found in images:
            for name, other in zip(names, ours, strict=True):
                sums[name].add(wanted[name], found[other])
        for name, total in sums.items():
            if not total.is_incomparable:
                self.found[name] = total.difference(name)

    def blame(
        self,
        name: str,
        matched_by: Match,
        limit: float,
        *,
        chooses: bool = False,
    ) -> Divergence:
        """Return the divergence at a tensor of the reference."""
        theirs = {self.pairs[known]: known for known in self.found}
        nodes, before = self._between(self.pairs[name], set(theirs) - {self.pairs[name]})
        node = self.candidate.nodes[self.pairs[name]]
        working = [entry for entry in nodes if entry.op_type not in _REWRITING]
        if node.op_type in _REWRITING and working:
            node = working[-1]  # a Cast or a quantisation of what that one computed
        return Divergence(
            matched_by,
            len(self.found),
            limit,
            node=_name(node),
            operator=node.op_type,
            output=self.found[name],
            inputs=tuple(self.found[theirs[entry]] for entry in before if entry in theirs),
            alone=self._alone(name, nodes, before, theirs),
            between=tuple(_name(entry) for entry in working if entry is not node),
            chooses=chooses,
        )

    def _between(self, name: str, known: set[str]) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return the candidate's nodes behind `name` up to tensors of `known`, and those tensors.

        The tensors include inputs of the graph; the nodes are in the order of the graph.
        """
        given = {name for feeds in self.candidate.feeds for name in feeds}
        stored = {tensor.name for tensor in self.candidate.model.graph.initializer} - given
        produced = {out: node for node in self.candidate.model.graph.node for out in node.output}
        members: set[int] = set()
        before: list[str] = []
        waiting, seen = [name], {name}
        while waiting:
            node = produced.get(waiting.pop())
            if node is None or id(node) in members:
                continue
            members.add(id(node))
            for read in _read_by(node):
                if read in seen or not read or read in stored:
                    continue
                seen.add(read)
                if read in known or read not in produced:
                    before.append(read)
                else:
                    waiting.append(read)
        nodes = [node for node in self.candidate.model.graph.node if id(node) in members]
        return nodes, before

    def _alone(
        self,
        name: str,
        nodes: Sequence[onnx.NodeProto],
        before: Sequence[str],
        theirs: Mapping[str, str],
    ) -> TensorDifference | None:
        """Run only the blamed nodes on the reference's values and compare what comes out."""
        inner = [entry for entry in before if entry in theirs]
        outer = [entry for entry in before if entry not in theirs]
        wanted_names = [theirs[entry] for entry in inner]
        total = Gathered()
        images = zip(
            self.reference.values([*wanted_names, name]),
            self.candidate.values(inner) if inner else ({} for _ in self.candidate.feeds),
            self.candidate.feeds,
            strict=True,
        )
        path = self.candidate.path
        with contextlib.suppress(InputError):
            for wanted, own, feeds in images:
                given = {
                    entry: wanted[theirs[entry]].astype(own[entry].dtype) for entry in inner
                } | {entry: feeds[entry] for entry in outer if entry in feeds}
                # Anew for each image: sizes may differ, and operators want to know their ranks.
                session = session_of(self._part(nodes, given, name), path)
                total.add(wanted[name], run_session(session, None, given, path)[0])
            return None if total.is_incomparable else total.difference(name)
        return None

    def _part(self, nodes: Sequence[onnx.NodeProto], given: Feeds, name: str) -> onnx.ModelProto:
        """Return a file of some nodes of the candidate, with `given` as inputs."""
        model = self.candidate.model
        needed = {entry for node in nodes for entry in _read_by(node)}
        inputs = [
            helper.make_tensor_value_info(
                entry, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
            )
            for entry, values in given.items()
        ]
        outputs = [onnx.ValueInfoProto(name=self.pairs[name])]
        stored = [tensor for tensor in model.graph.initializer if tensor.name in needed]
        graph = helper.make_graph(list(nodes), "part", inputs, outputs, stored)
        return helper.make_model(
            graph,
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
            functions=model.functions,
        )


def _input_difference(reference: Graph, candidate: Graph) -> TensorDifference | None:
    """Compare what goes in, where both take one tensor of the same shape first."""
    total = Gathered()
    name = ""
    for ours, theirs in zip(reference.feeds, candidate.feeds, strict=True):
        name, wanted = next(iter(ours.items()))
        total.add(wanted, next(iter(theirs.values())))
    return None if total.is_incomparable else total.difference(name)


def _pairs(reference: Graph, candidate: Graph) -> tuple[Match, dict[str, str]]:
    """Return the tensors of both by the reference's name, in the order of its graph."""
    shared = [name for name in reference.nodes if name in candidate.nodes]
    if 2 * len(shared) < len(reference.nodes) and reference.operators == candidate.operators:
        return "order", dict(zip(reference.nodes, candidate.nodes, strict=False))
    return ("name" if shared else "nothing"), {name: name for name in shared}


def _chosen(graph: Graph) -> set[str]:
    """Return the tensors that an operator which chooses led to."""
    chosen: set[str] = set()
    for node in graph.model.graph.node:
        if node.op_type in _CHOOSING or any(name in chosen for name in _read_by(node)):
            chosen.update(name for name in node.output if name)
    return chosen


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, also inside its subgraphs."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read_by(inner)


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
