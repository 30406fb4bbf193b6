"""What lower precision does to a graph: noise at each layer, and what each layer costs by itself.

Signal-to-quantisation-noise is `10 log10(sum(reference²) / sum((candidate - reference)²))` in dB,
over all values of a tensor on all images: 20 dB is an error of a tenth of the signal, 40 dB of a
hundredth.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecv.errors import InputError
from edgecv.export.graphs.memory_session import open_in_memory
from edgecv.export.precisions.calibration import Feed
from edgecv.export.precisions.layers import is_layer, prepared

_TYPES: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
# Operators whose results jump, and how many of their inputs they choose by.
_CHOOSING = {"ArgMax": 1, "EdgeNMS": 2, "NonMaxSuppression": 2, "NonZero": 1, "TopK": 1}


@dataclass(frozen=True)
class LayerNoise:
    """How much noise a layer's output carries.

    Args:
        name: of the node.
        operator: such as `Conv`.
        tensor: where it was measured: the layer's output, or that of the activation after it where
            the candidate has joined the two.
        snr_db: signal to noise in dB, infinite where nothing differs.

    """

    name: str
    operator: str
    tensor: str
    snr_db: float


@dataclass(frozen=True)
class LayerCost:
    """What a layer alone in lower precision does to the graph's outputs.

    Args:
        name: of the node.
        noise: of an output feature's variance, the share that is noise, averaged over features and
            outputs; 0.01 is as much as 20 dB.

    """

    name: str
    noise: float

    @property
    def snr_db(self) -> float:
        """The noise as a signal-to-noise ratio in dB."""
        return -10 * math.log10(self.noise) if self.noise > 0 else math.inf


def layer_noise(
    reference: onnx.ModelProto,
    candidate: onnx.ModelProto,
    batches: Iterable[Feed],
    *,
    threads: int = 0,
) -> tuple[LayerNoise, ...]:
    """Return the noise at each layer of a graph, in the graph's order.

    Args:
        reference: the float32 graph.
        candidate: the same in lower precision; its tensors have the same names.
        batches: inputs by name.
        threads: of onnxruntime, 0 for one per core.

    Raises:
        InputError: if there are no batches, or the two have no layer's output in common.

    """
    graph = ir.from_proto(prepared(reference)).graph
    known = {name for node in candidate.graph.node for name in node.output}
    layers = []
    for node in graph:
        tensor = _measured_at(node, known)
        if tensor is not None:
            layers.append((node, tensor))
    if not layers:
        raise InputError(
            "layer_noise: the two graphs have no layer in common. Compare a model with its own "
            "lower precision."
        )
    tensors = list(dict.fromkeys(tensor for _, tensor in layers))
    first, second = (
        open_in_memory(_with_outputs(model, tensors), threads=threads)
        for model in (reference, candidate)
    )
    signal, noise = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    is_empty = True
    for feed in batches:
        is_empty = False
        pairs = zip(first.run(tensors, dict(feed)), second.run(tensors, dict(feed)), strict=True)
        for tensor, (wanted, found) in zip(tensors, pairs, strict=True):
            exact = wanted.astype(np.float64)
            signal[tensor] += float((exact**2).sum())
            noise[tensor] += float(((found.astype(np.float64) - exact) ** 2).sum())
    if is_empty:
        raise InputError("layer_noise: there are no images to measure with. Give some.")
    return tuple(
        LayerNoise(str(node.name), node.op_type, tensor, _snr_db(signal[tensor], noise[tensor]))
        for node, tensor in layers
    )


def rank_layers(
    reference: onnx.ModelProto,
    quantise_only: Callable[[str], onnx.ModelProto],
    layers: Sequence[str],
    batches: Iterable[Feed],
    *,
    on_layer: Callable[[], None] = lambda: None,
    threads: int = 0,
) -> tuple[LayerCost, ...]:
    """Return what each layer costs by itself, the most expensive first.

    Measured at the graph's outputs, and at the inputs of operators that choose (of regions, of
    detections), whose results jump. What follows such an operator is given the reference's choice,
    so that rows are compared with the same rows.

    Args:
        reference: the float32 graph.
        quantise_only: returns the graph with only the named layer in lower precision.
        layers: names of nodes.
        batches: inputs by name; a few images do.
        on_layer: called after each layer.
        threads: of onnxruntime, 0 for one per core.

    Raises:
        InputError: if there are no batches.

    """
    feeds = [dict(feed) for feed in batches]
    if not feeds:
        raise InputError("rank_layers: there are no images to measure with. Give some.")
    tensors, choices = _choices(reference)
    session = open_in_memory(_with_outputs(reference, [*tensors, *choices]), threads=threads)
    wanted = []
    for feed in feeds:
        values = session.run([*tensors, *choices], feed)
        wanted.append(values[: len(tensors)])
        feed.update(zip(choices, values[len(tensors) :], strict=True))
    costs = []
    for name in layers:
        candidate = _with_outputs(_with_inputs(quantise_only(name), choices), tensors)
        session = open_in_memory(candidate, threads=threads)
        types = {node.name: _TYPES.get(node.type) for node in session.get_inputs()}
        found = [session.run(tensors, _typed(feed, types)) for feed in feeds]
        shares = [
            feature_noise(np.concatenate(first), np.concatenate(second))
            for first, second in zip(
                zip(*wanted, strict=True), zip(*found, strict=True), strict=True
            )
        ]
        costs.append(LayerCost(name, float(np.mean(shares))))
        on_layer()
    return tuple(sorted(costs, key=lambda cost: -cost.noise))


def _snr_db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def feature_noise(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Return the noise's mean square over the signal's variance, averaged over features.

    A feature is a column of scores or a coordinate of boxes, wherever it is; of a [B, N, F] or
    [B, F, N] tensor the shorter axis counts features, of one with more axes the second; one with
    fewer is a single feature. A coordinate that is large everywhere thus weighs as much as others.
    """
    if reference.ndim < 3:  # noqa: PLR2004
        reference, candidate = reference.reshape(1, 1, -1), candidate.reshape(1, 1, -1)
    axis = 2 if reference.ndim == 3 and reference.shape[2] < reference.shape[1] else 1  # noqa: PLR2004
    others = tuple(place for place in range(reference.ndim) if place != axis)
    wanted, found = reference.astype(np.float64), candidate.astype(np.float64)
    variance = wanted.var(axis=others)
    noise = ((found - wanted) ** 2).mean(axis=others)
    alive = variance > 0
    return float((noise[alive] / variance[alive]).mean()) if alive.any() else 0.0


def _measured_at(node: ir.Node, known: set[str]) -> str | None:
    """Return the first tensor from a layer's output on that the candidate has too."""
    if not is_layer(node):
        return None
    value = node.outputs[0]
    while value.name not in known:
        uses = value.uses()
        if len(uses) != 1:
            return None
        value = next(iter(uses)).node.outputs[0]
    return str(value.name)


def _choices(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Return what the graph chooses by, and what the choices are, as names of tensors.

    What is chosen by are the values that an operator sorts or compares, and the graph's outputs
    that come from no such operator alone.
    """
    graph = ir.from_proto(model).graph
    chosen_by: list[ir.Value] = []
    choices: list[ir.Value] = []
    for node in graph:
        if node.op_type in _CHOOSING:
            data = node.inputs[: _CHOOSING[node.op_type]]
            chosen_by += [value for value in data if value is not None and value.producer()]
            choices += [value for value in node.outputs if value.name]
    made = {value.producer() for value in choices}
    chosen_by += [value for value in graph.outputs if value.producer() not in made]
    read = [value for value in choices if value.uses()]
    return list(dict.fromkeys(str(value.name) for value in chosen_by)), [str(v.name) for v in read]


def _with_inputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return the graph with these tensors given, not computed."""
    whole = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    graph = whole.graph
    values = {str(value.name): value for node in graph for value in node.outputs}
    for name in names:
        computed = values[name]
        given = ir.Value(name=name, type=computed.type, shape=computed.shape)
        computed.replace_all_uses_with(given, replace_graph_outputs=False)
        computed.name = f"{name}_computed"
        graph.inputs.append(given)
    return ir.to_proto(whole)


def _typed(
    feed: Feed, types: Mapping[str, type[np.generic] | None]
) -> dict[str, NDArray[np.generic]]:
    """Return what a graph takes, half where it takes half."""
    return {
        name: value if types[name] is None else value.astype(types[name])
        for name, value in feed.items()
        if name in types
    }


def _with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return the graph with these tensors as outputs alone, and nothing that they do not need."""
    whole = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    graph = whole.graph
    values = {str(value.name): value for node in graph for value in node.outputs}
    graph.outputs.clear()
    graph.outputs.extend(values[name] for name in names)
    RemoveUnusedNodesPass()(whole)
    return ir.to_proto(whole)
