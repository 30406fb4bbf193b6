"""Channels of one tensor brought to one range, so that a single 8-bit scale suits them all.

A tensor has one scale, but its channels may differ by a factor of a hundred: the small ones are
then rounded away. Multiplying a channel by a constant where it is made and dividing by it where it
is used changes nothing in float32 and costs nothing: both vanish in the weights of the layers. This
is the equalisation of Nagel et al., Data-Free Quantization through Weight Equalization and Bias
Correction, 2019, section 4.1, with ranges seen on images as in SmoothQuant (Xiao et al. 2023). It
is carried further here: through sums, joins and splits, by keeping a factor for every channel, not
for every pair of layers; through a Clip at six, by enlarging only channels that stay below; and
through SiLU, which is not homogeneous: `x' * sigmoid(x' / a)` with `x' = a x` is `a * silu(x)`, for
one more multiplication.
"""

from collections.abc import Iterable

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.calibration import Feed
from edgecv.export.memory_session import open_in_memory
from edgecv.export.placement import channel_axis, clip_bounds, prepared, weight_of

_REACH = 6.0  # what every channel is brought to: where ReLU6 ends
_STRENGTH = 0.75  # 1 would make all channels equal and leave no room for an image not seen
_LARGEST = 64.0  # factor; a channel that was hardly ever alive must not explode

Ids = NDArray[np.int64]


def equalise(
    model: onnx.ModelProto, batches: Iterable[Feed], *, threads: int = 0
) -> onnx.ModelProto:
    whole = ir.from_proto(prepared(model))
    graph = whole.graph
    channels = _Channels(graph)
    reach = _reach(model, channels, batches, threads)
    factors = channels.factors(reach)
    _apply(graph, channels, factors)
    return ir.to_proto(whole)


class _Channels:
    """Which channels of which tensors must share a factor, and which can have none."""

    def __init__(self, graph: ir.Graph) -> None:
        self.of: dict[str, Ids] = {}
        self.measured: list[str] = []
        self.silus: list[tuple[ir.Node, ir.Node]] = []
        self._parents: list[int] = []
        self._caps: dict[int, float] = {}
        self._fixed: set[int] = set()
        silu_muls = {}
        for node in graph:
            if node.op_type == "Sigmoid":
                pair = _silu(node)
                if pair is not None:
                    self.silus.append((node, pair))
                    silu_muls[pair] = node
        sigmoids = set(silu_muls.values())
        for node in graph:
            if node in sigmoids:
                continue
            if node in silu_muls:
                node_input = silu_muls[node].inputs[0]
                self._pass(node, self.of.get(str(node_input.name)))
            else:
                self._visit(node)
        for value in graph.outputs:
            self._fix(value)

    def _visit(self, node: ir.Node) -> None:
        if weight_of(node) is not None and node.op_type in ("Conv", "ConvTranspose"):
            weight = weight_of(node)
            assert weight is not None
            group = node.attributes["group"].value if "group" in node.attributes else 1
            is_new = node.op_type == "Conv" or group == 1
            if is_new:
                count = weight.shape[channel_axis(node)]
                self.of[str(node.outputs[0].name)] = self._new(count)
                if _only_use(node.outputs[0]) not in ("Clip", "Relu") and not self._is_silu(node.outputs[0]):
                    self.measured.append(str(node.outputs[0].name))
            if node.op_type == "ConvTranspose" and group > 1:
                self._fix(node.inputs[0])
            return
        ids = None if not node.inputs or node.inputs[0] is None else self.of.get(str(node.inputs[0].name))
        if node.op_type == "Shape":
            return
        if ids is not None and node.op_type in ("Relu", "MaxPool", "Resize", "AveragePool", "GlobalAveragePool", "Identity"):
            self._pass(node, ids)
            return
        if ids is not None and node.op_type == "Clip" and (bounds := clip_bounds(node)) and bounds[0] == 0:
            for i in ids:
                root = self._root(int(i))
                self._caps[root] = min(self._caps.get(root, np.inf), bounds[1])
            self._pass(node, ids)
            return
        inputs = [value for value in node.inputs if value is not None]
        all_ids = [self.of.get(str(value.name)) for value in inputs]
        if node.op_type == "Add" and all(x is not None for x in all_ids) and len({len(x) for x in all_ids}) == 1:
            for a, b in zip(*all_ids):
                self._join(int(a), int(b))
            self._pass(node, all_ids[0])
            return
        if node.op_type == "Concat" and node.attributes["axis"].value == 1 and any(x is not None for x in all_ids):
            parts = []
            for value, ids in zip(inputs, all_ids):
                if ids is None:
                    ids = self._new(int(value.shape[1]))
                    self._fixed.update(int(i) for i in ids)
                parts.append(ids)
            self._pass(node, np.concatenate(parts), measured=False)
            return
        if node.op_type == "Split" and ids is not None and node.attributes.get("axis") and node.attributes["axis"].value == 1:
            ends = np.cumsum([int(value.shape[1]) for value in node.outputs])
            for value, part in zip(node.outputs, np.split(ids, ends[:-1])):
                self.of[str(value.name)] = part
            return
        for value in inputs:
            self._fix(value)

    def _is_silu(self, value):
        return any(value is s.inputs[0] for s, _ in self.silus)

    def _pass(self, node, ids, measured=True):
        if ids is None:
            return
        name = str(node.outputs[0].name)
        self.of[name] = ids
        if measured:
            self.measured.append(name)

    def _new(self, count: int) -> Ids:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _root(self, item: int) -> int:
        while self._parents[item] != item:
            self._parents[item] = self._parents[self._parents[item]]
            item = self._parents[item]
        return item

    def _join(self, first: int, second: int) -> None:
        first, second = self._root(first), self._root(second)
        if first == second:
            return
        self._parents[second] = first
        if second in self._fixed:
            self._fixed.add(first)
        if second in self._caps:
            self._caps[first] = min(self._caps.get(first, np.inf), self._caps[second])

    def _fix(self, value: ir.Value) -> None:
        ids = self.of.get(str(value.name))
        if ids is not None:
            self._fixed.update(self._root(int(item)) for item in ids)

    def factors(self, reach) -> NDArray[np.float64]:
        largest = np.zeros(len(self._parents))
        for name, seen in reach.items():
            roots = [self._root(int(i)) for i in self.of[name]]
            np.maximum.at(largest, roots, seen)
        fixed = {self._root(i) for i in self._fixed}
        factors = np.ones(len(self._parents))
        for item in range(len(factors)):
            root = self._root(item)
            if root in fixed or largest[root] == 0:
                continue
            cap = self._caps.get(root, np.inf)
            target = cap if np.isfinite(cap) else _REACH
            factors[item] = np.clip((target / largest[root]) ** _STRENGTH, 1 / _LARGEST, _LARGEST)
            if np.isfinite(cap): factors[item] = max(1.0, factors[item])
        return factors


def _only_use(value):
    uses = value.uses()
    return next(iter(uses)).node.op_type if len(uses) == 1 else None


def _silu(sigmoid: ir.Node) -> ir.Node | None:
    uses = sigmoid.outputs[0].uses()
    if len(uses) != 1:
        return None
    mul = next(iter(uses)).node
    if mul.op_type != "Mul" or sigmoid.inputs[0] not in mul.inputs:
        return None
    return mul if len(sigmoid.inputs[0].uses()) == 2 else None


def _reach(model, channels, batches, threads):
    whole = ir.from_proto(prepared(model))
    values = {str(v.name): v for node in whole.graph for v in node.outputs}
    for name in channels.measured:
        if not values[name].is_graph_output():
            whole.graph.outputs.append(values[name])
    session = open_in_memory(ir.to_proto(whole), threads=threads)
    found = {}
    for feed in batches:
        for name, value in zip(channels.measured, session.run(channels.measured, dict(feed))):
            seen = np.abs(value).max(axis=(0, *range(2, value.ndim)))
            found[name] = np.maximum(found.get(name, 0), seen)
    if not found:
        raise InputError("equalise: there are no images. Give some.")
    return found


def _apply(graph, channels, factors):
    for node in list(graph):
        weight = weight_of(node)
        if weight is None or node.op_type not in ("Conv", "ConvTranspose"):
            continue
        group = node.attributes["group"].value if "group" in node.attributes else 1
        new = weight.astype(np.float64)
        ids_in = channels.of.get(str(node.inputs[0].name))
        ids_out = channels.of.get(str(node.outputs[0].name))
        if ids_in is not None:
            a = factors[ids_in]
            if node.op_type == "Conv":
                per = a.reshape(group, -1)  # [group, in per group]
                out_per = weight.shape[0] // group
                d = np.repeat(per, out_per, axis=0)  # [out, in per group]
                new /= d.reshape(*d.shape, *[1] * (weight.ndim - 2))
            else:
                new /= a.reshape(-1, *[1] * (weight.ndim - 1))
        if ids_out is not None:
            a = factors[ids_out]
            shape = [1] * weight.ndim; shape[channel_axis(node)] = -1
            new *= a.reshape(shape)
            if len(node.inputs) > 2 and node.inputs[2] is not None:
                b = ir.convenience.get_const_tensor(node.inputs[2]).numpy()
                node.replace_input_with(2, _const(graph, f"{node.name}_bias_equalised", (b * a).astype(np.float32)))
        node.replace_input_with(1, _const(graph, f"{node.name}_weight_equalised", new.astype(np.float32)))
    for sigmoid, _ in channels.silus:
        x = sigmoid.inputs[0]
        ids = channels.of.get(str(x.name))
        if ids is None or np.all(factors[ids] == 1):
            continue
        c = _const(graph, f"{sigmoid.name}_factor", (1 / factors[ids]).astype(np.float32).reshape(1, -1, 1, 1))
        mul = ir.node("Mul", [x, c], name=f"{sigmoid.name}_scaled", outputs=[ir.Value(name=f"{sigmoid.name}_scaled", type=x.type, shape=x.shape)])
        graph.insert_before(sigmoid, mul)
        sigmoid.replace_input_with(0, mul.outputs[0])


def _const(graph, name, array):
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name), type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value
