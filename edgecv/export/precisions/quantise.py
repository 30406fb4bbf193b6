"""int8 in the graph: QuantizeLinear and DequantizeLinear where a target's kernels want them.

Weights are stored as 8-bit integers, symmetric, with one scale for each output channel; the range
of a tensor comes from a calibration.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecv.errors import InputError
from edgecv.export.precisions.calibration import Calibration
from edgecv.export.precisions.converted import Converted
from edgecv.export.precisions.layers import Target, bias_of, channel_axis, prepared, weight_of
from edgecv.export.precisions.placement import Plan, plan_cpu, plan_tensorrt
from edgecv.export.precisions.ranges import TensorRange

_UNSIGNED = 255
_SIGNED = 127  # -128 is left unused: the grid is symmetric
_SIGNED_7_BITS = 63
_BIAS_CODES = 2.0**30  # a bias plus the sum of products must stay within int32


@dataclass(frozen=True)
class Grid:
    """The values that 8 bits can hold: `(code - zero_point) * scale`."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int8] | NDArray[np.uint8]


def quantise(
    model: onnx.ModelProto,
    calibration: Calibration,
    target: Target,
    *,
    keep: Collection[str] = (),
    reduce_range: bool = False,
) -> Converted:
    """Return a graph that computes in 8 bits wherever a target gains from it.

    For `cpu`, activations are unsigned with a zero point and all of a region between layers is
    rounded, so that onnxruntime joins it into integer kernels; a tensor that is rounded keeps its
    name, and an activation that saturation stands for is gone. For `tensorrt`, all is signed and
    symmetric, biases stay float, and only inputs of layers and of residual sums are rounded; see
    `edgecv.export.precisions.placement`.

    Args:
        model: the float32 graph, simplified.
        calibration: of the same graph.
        target: whose kernels.
        keep: names of nodes that stay in float32.
        reduce_range: give weights 7 bits. Without VNNI, onnxruntime's kernels on x86 add two
            products of an unsigned and a signed 8-bit value in 16 bits, which saturate; with 7 bits
            they cannot. Processors with AVX-512 VNNI or AVX-VNNI, and Arm's, do not need it.

    Raises:
        InputError: if a name in `keep` is no node, the calibration is of another graph, or see
            `edgecv.export.precisions.layers.prepared`.

    """
    whole = ir.from_proto(prepared(model))
    graph = whole.graph
    unknown = sorted(set(keep) - {str(node.name) for node in graph})
    if unknown:
        raise InputError(
            f"quantise: `keep` names {', '.join(f'`{name}`' for name in unknown)}, which the graph "
            "does not have. `edgecv inspect` lists its nodes."
        )
    largest = _SIGNED_7_BITS if reduce_range else _SIGNED
    if target == "cpu":
        plan = plan_cpu(graph, keep)
        _write_cpu(graph, plan, calibration, largest)
    else:
        plan = plan_tensorrt(graph, keep)
        _write_tensorrt(graph, plan, calibration, largest)
    RemoveUnusedNodesPass()(whole)
    layers = tuple(str(node.name) for node in plan.layers)
    return Converted(ir.to_proto(whole), layers, tuple(plan.kept))


def grid_of(range_: TensorRange, target: Target) -> Grid:
    """Return the grid of a tensor; zero is on it exactly, as padding needs.

    Args:
        range_: what it should span.
        target: `cpu` for unsigned codes with a zero point, `tensorrt` for signed ones around zero.

    """
    if target == "tensorrt":
        return Grid(_scale(range_.magnitude / _SIGNED), np.zeros((), np.int8))
    low, high = min(range_.low, 0.0), max(range_.high, 0.0)
    scale = _scale((high - low) / _UNSIGNED)
    zero_point = np.clip(np.rint(-low / scale), 0, _UNSIGNED).astype(np.uint8)
    return Grid(scale, np.asarray(zero_point))


def quantise_weight(
    weight: NDArray[np.float32],
    axis: int,
    *,
    largest: int = _SIGNED,
    smallest_scale: NDArray[np.float64] | float = 0.0,
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return symmetric 8-bit codes, and a scale for each channel.

    Args:
        weight: float32 of any shape.
        axis: of the channels.
        largest: magnitude of a code.
        smallest_scale: that a channel may have, one for all or one for each.

    """
    others = tuple(place for place in range(weight.ndim) if place != axis)
    reach = np.abs(weight.astype(np.float64)).max(axis=others, initial=0.0)
    scale = _scale(np.maximum(reach / largest, smallest_scale))
    along = [-1 if place == axis else 1 for place in range(weight.ndim)]
    codes = np.clip(np.rint(weight / scale.reshape(along)), -largest, largest)
    return codes.astype(np.int8), scale


def _scale(steps: NDArray[np.float64] | float) -> NDArray[np.float32]:
    """Return float32 scales; where nothing was ever but zero, any step does."""
    scale = np.asarray(steps, np.float32)
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)


def _write_cpu(graph: ir.Graph, plan: Plan, calibration: Calibration, largest: int) -> None:
    grids = {name: grid_of(calibration.of(plan.source(name)), "cpu") for name in plan.tensors}
    for node in plan.layers:
        _round_weights(graph, node, largest, grids[str(_input(node, 0).name)])
    for activation in plan.folded:
        _fold(graph, plan, activation)
    for name, value in plan.tensors.items():
        readers = list(value.uses())
        rounded = _rounded(graph, value, grids[name])
        for use in readers:
            use.node.replace_input_with(use.idx, rounded)
        if value.is_graph_input():
            continue
        for place, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[place] = rounded
        value.name, rounded.name = f"{name}_float", name


def _fold(graph: ir.Graph, plan: Plan, activation: ir.Node) -> None:
    """Let the node before an activation make the activation's output itself."""
    made, result = _input(activation, 0), activation.outputs[0]
    name = str(result.name)
    result.replace_all_uses_with(made, replace_graph_outputs=True)
    graph.remove(activation)
    result.name, made.name = None, name
    plan.tensors[name] = made


def _write_tensorrt(graph: ir.Graph, plan: Plan, calibration: Calibration, largest: int) -> None:
    readers: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    for node, place in [*((node, 0) for node in plan.layers), *plan.skips]:
        readers.setdefault(_input(node, place), []).append((node, place))
    for node in plan.layers:
        _round_weights(graph, node, largest, None)
    for value, uses in readers.items():
        rounded = _rounded(graph, value, grid_of(calibration.of(str(value.name)), "tensorrt"))
        for node, place in uses:
            node.replace_input_with(place, rounded)


def _rounded(graph: ir.Graph, value: ir.Value, grid: Grid) -> ir.Value:
    """Return a value's image on a grid, for others to read."""
    name = str(value.name)
    scale = _initialiser(graph, f"{name}_scale", grid.scale)
    zero_point = _initialiser(graph, f"{name}_zero_point", grid.zero_point)
    quantise_ = ir.node(
        "QuantizeLinear",
        [value, scale, zero_point],
        outputs=[ir.Value(name=f"{name}_quantised")],
        name=f"{name}_quantise",
    )
    dequantise = ir.node(
        "DequantizeLinear",
        [quantise_.outputs[0], scale, zero_point],
        outputs=[ir.Value(name=f"{name}_dequantised", type=value.type, shape=value.shape)],
        name=f"{name}_dequantise",
    )
    maker = value.producer()
    if maker is None:
        graph.insert_before(graph[0], [quantise_, dequantise])
    else:
        graph.insert_after(maker, [quantise_, dequantise])
    return dequantise.outputs[0]


def _round_weights(graph: ir.Graph, node: ir.Node, largest: int, grid: Grid | None) -> None:
    """Store a layer's weight in 8 bits, and its bias in 32 where the input's grid is given."""
    weight, bias, axis = weight_of(node), bias_of(node), channel_axis(node)
    if weight is None:
        raise ValueError(f"_round_weights: `{node.name}` must be a layer, got a {node.op_type}.")
    if grid is None or bias is None or len(bias) != weight.shape[axis]:
        _replace(graph, node, 1, *quantise_weight(weight, axis, largest=largest), axis)
        return
    # The scale of a bias is that of the products: a large bias needs a large enough one.
    smallest = np.abs(bias.astype(np.float64)) / (float(grid.scale) * _BIAS_CODES)
    codes, scale = quantise_weight(weight, axis, largest=largest, smallest_scale=smallest)
    _replace(graph, node, 1, codes, scale, axis)
    step = scale * grid.scale
    _replace(graph, node, 2, np.rint(bias / step.astype(np.float64)).astype(np.int32), step, 0)


def _replace(
    graph: ir.Graph,
    node: ir.Node,
    place: int,
    codes: NDArray[np.int8] | NDArray[np.int32],
    scale: NDArray[np.float32],
    axis: int,
) -> None:
    """Let a layer read a constant from integers, whose zero point is zero."""
    stem = f"{node.name}_{'weight' if place == 1 else 'bias'}"
    inputs = [
        _initialiser(graph, f"{stem}_codes", codes),
        _initialiser(graph, f"{stem}_scale", scale),
        _initialiser(graph, f"{stem}_zero_point", np.zeros(scale.shape, codes.dtype)),
    ]
    dequantise = ir.node(
        "DequantizeLinear",
        inputs,
        {"axis": axis},
        outputs=[ir.Value(name=f"{stem}_dequantised")],
        name=f"{stem}_dequantise",
    )
    graph.insert_before(node, dequantise)
    node.replace_input_with(place, dequantise.outputs[0])


def _input(node: ir.Node, place: int) -> ir.Value:
    """Return an input that the operator cannot do without."""
    value = node.inputs[place]
    if value is None:
        raise ValueError(f"`{node.name}` must have an input {place}, got none.")
    return value


def _initialiser(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    value = ir.Value(
        name=name,
        const_value=ir.Tensor(array, name=name),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
    )
    graph.register_initializer(value)
    return value
