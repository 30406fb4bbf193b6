"""Which nodes of a graph compute features, and so may be float16, and which decode results.

Nothing is known of a graph but its operators, since it may be anybody's. Five rules decide:

1. Features are what flows to an operator that weighs them (Conv, Gemm, MatMul): a node is one of
   features if such an operator comes after it. The way does not lead through the regions, sampling
   points, boxes and scores that operators like `EdgeRoiAlign`, `GridSample`, `EdgeNMS` and `TopK`
   take: the proposals of a two-stage detector are decoded, though convolutions follow.
2. What comes after the last of them decodes, and stays float32; but values that are only moved
   (Reshape, Concat and the like) lose nothing in float16 and may be cast after it.
3. Boxes that are refined step by step, as by DETR's decoders, flow both to weights and to an
   output. So a node from which Sigmoid, Exp, Log or Softmax leads to an output or to one of the
   inputs of rule 1, without a weight between, decodes too. A Sigmoid that scales features is none.
4. A convolution with constant weights over a softmax is the mean of a distribution of distances
   (Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 5), and decodes.
5. Operators that sum many values or leave float16's range stay float32 wherever they are, and so
   does what the caller names or whose constants float16 cannot hold.

Of the rest, each node is as most are around it: so that there are as few casts as there can be
(one for each value that is used in the other type), and among such choices as much float16 as
there can be. That is a minimum cut, and no region of float32 or float16 is too small for its casts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecv.export.precisions.fp16_nodes import (
    box_inputs,
    feature_inputs,
    fixed_inputs,
    is_constant,
    is_decoding,
    is_float,
    is_moving,
    is_weighing,
    reads_shape_alone,
    reason_against,
)
from edgecv.export.precisions.min_cut import SINK, SOURCE, MinCut

_DECODES = "it decodes boxes or scores: nothing after it weighs features"
_REFINES = "it refines boxes or scores that an output shows"
_MEAN_DISTANCE = "it is the mean of a distribution of distances"
_NOT_WORTH = "its neighbours are float32, and casts would cost more than they save"


@dataclass(frozen=True)
class Regions:
    """What a graph computes in which type.

    Args:
        half: the nodes that compute in float16.
        kept: of every other node that computes in float32, the reason, in the graph's order.

    """

    half: frozenset[ir.Node]
    kept: Mapping[ir.Node, str]


def choose_regions(graph: ir.Graph, reasons: Mapping[ir.Node, str]) -> Regions:
    """Return which nodes of a graph are to compute in float16.

    Args:
        graph: in topological order, with the type of every value.
        reasons: nodes that must stay float32, and why.

    """
    flow = _Flow(graph)
    kept: dict[ir.Node, str] = {}
    free: dict[ir.Node, bool] = {}  # whether float16 is better, where the casts are as many
    forced: list[ir.Node] = []
    for node in graph:
        reason = reasons.get(node) or reason_against(node)
        if reason is None and is_weighing(node) and _is_mean_distance(node):
            reason = _MEAN_DISTANCE
        if not _computes(node):
            continue
        movable = is_moving(node) and not any(is_constant(x) for x in feature_inputs(node))
        if reason is not None:
            kept[node] = reason
        elif is_weighing(node):
            forced.append(node)
        elif node in flow.to_weights and node not in flow.decoding:
            free[node] = True
        elif movable:
            free[node] = node not in flow.to_weights
        else:
            kept[node] = _REFINES if node in flow.to_weights else _DECODES
    half = _fewest_casts(flow, free, forced)
    for node in free:
        if node not in half:
            kept[node] = _NOT_WORTH if node in flow.to_weights else _DECODES
    order = {node: index for index, node in enumerate(graph)}
    return Regions(half, dict(sorted(kept.items(), key=lambda item: order[item[0]])))


@dataclass
class _Flow:
    """Where the float32 values of a graph go."""

    graph: ir.Graph
    users: dict[ir.Value, list[ir.Node]] = field(default_factory=dict)
    inner: set[ir.Value] = field(default_factory=set)  # values that a graph within a node takes
    to_weights: set[ir.Node] = field(default_factory=set)  # rule 1
    decoding: set[ir.Node] = field(default_factory=set)  # rule 3

    def __post_init__(self) -> None:
        """Follow the values from the outputs back to the inputs."""
        top = set(self.graph)
        for node in self.graph:
            for value in (*node.inputs, *node.outputs):
                if is_float(value) and value not in self.users:
                    users = [use.node for use in value.uses()]
                    self.users[value] = [user for user in dict.fromkeys(users) if user in top]
                    if len(self.users[value]) < len(set(users)):
                        self.inner.add(value)
        shown: set[ir.Node] = set()  # an output shows it, with no weights between
        for node in reversed(self.graph):
            for value in node.outputs:
                self._follow(node, value, shown)
            if is_weighing(node):
                self.to_weights.add(node)
                self.decoding.discard(node)
                shown.discard(node)
            elif node in shown and is_decoding(node):
                self.decoding.add(node)

    def _follow(self, node: ir.Node, value: ir.Value, shown: set[ir.Node]) -> None:
        if value.is_graph_output():
            shown.add(node)
        for user in self.users.get(value, ()):
            if value in box_inputs(user):
                shown.add(node)
                self.decoding.add(node)
                continue
            if user in self.to_weights:
                self.to_weights.add(node)
            if user in shown and not is_weighing(user):
                shown.add(node)
            if user in self.decoding:
                self.decoding.add(node)


def _computes(node: ir.Node) -> bool:
    """Return whether a node takes or gives float32 values."""
    values = (*node.inputs, *node.outputs)
    return not reads_shape_alone(node) and any(
        is_float(value) and not is_constant(value) for value in values
    )


def _is_mean_distance(node: ir.Node) -> bool:
    """Return whether a node weighs what comes, only moved, from a softmax by constants."""
    if len(node.inputs) < 2 or not is_constant(node.inputs[1]):  # noqa: PLR2004  # data, weights
        return False
    value = node.inputs[0]
    while value is not None and (producer := value.producer()) is not None:
        if producer.op_type == "Softmax":
            return True
        if not is_moving(producer):
            return False
        value = producer.inputs[0]
    return False


def _fewest_casts(
    flow: _Flow, free: Mapping[ir.Node, bool], forced: list[ir.Node]
) -> frozenset[ir.Node]:
    """Return the nodes on float16's side of the cheapest cut."""
    cut = MinCut()
    cast = len(free) + 1  # dearer than all preferences together
    never = cast * (2 * len(flow.users) + 2)  # dearer than all casts together
    for node, is_better in free.items():
        if is_better:
            cut.add(SOURCE, node, 1)
        else:
            cut.add(node, SINK, 1)
    for node in forced:
        cut.add(SOURCE, node, never)
    able = {*free, *forced}
    for value in flow.users:
        if is_constant(value):
            continue
        producer = value.producer()
        origin = producer if producer in able else SINK
        takers: list[ir.Node | str] = [
            user if user in able and value not in fixed_inputs(user) else SINK
            for user in flow.users[value]
            if not reads_shape_alone(user)
        ]
        if value in flow.inner or value.is_graph_output():
            takers.append(SINK)
        # A value made in float16 is cast once if any taker wants float32, and the other way round.
        to_float, to_half = ("to float", value), ("to half", value)
        cut.add(origin, to_float, cast)
        cut.add(to_half, origin, cast)
        for taker in takers:
            cut.add(to_float, taker, never)
            cut.add(taker, to_half, never)
    side = cut.source_side()
    return frozenset(node for node in able if node in side)
