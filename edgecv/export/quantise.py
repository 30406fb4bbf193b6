"""int8 in the graph: QuantizeLinear and DequantizeLinear where a target's kernels want them.

Weights are stored as 8-bit integers, symmetric and one scale per output channel. A tensor's range
comes from a calibration.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecv.export.calibration import Calibration
from edgecv.export.placement import (
    KeptFloat,
    Plan,
    Target,
    channel_axis,
    plan_cpu,
    plan_tensorrt,
    prepared,
    skip_branches,
)
from edgecv.export.ranges import TensorRange

@dataclass(frozen=True)
class Quantised:
    """A graph with 8-bit layers.

    Args:
        model: the graph.
        layers: names of the nodes that compute in 8 bits.
        kept: the layers that stay in float32, and why.

    """

    model: onnx.ModelProto
    layers: tuple[str, ...]
    kept: tuple[KeptFloat, ...]


@dataclass(frozen=True)
class Grid:
    """The values that 8 bits can hold: `(code - zero_point) * scale`."""

    scale: np.float32
    zero_point: np.uint8 | np.int8


def quantise(
    model: onnx.ModelProto,
    calibration: Calibration,
    target: Target,
    *,
    keep: Collection[str] = (),
) -> Quantised:
    whole = ir.from_proto(prepared(model))
    graph = whole.graph
    if target == "cpu":
        plan = plan_cpu(graph, keep)
        _write_cpu(graph, plan, calibration)
    else:
        plan = plan_tensorrt(graph, keep)
        _write_tensorrt(graph, plan, calibration)
    layers = tuple(str(node.name) for node in plan.layers)
    return Quantised(ir.to_proto(whole), layers, tuple(plan.kept))


def grid_of(range_: TensorRange, target: Target) -> Grid:
    """Return the grid of a tensor: unsigned with a zero point, or signed and symmetric.

    Zero is on it exactly, as padding and activations need.
    """
    if target == "tensorrt":
        return Grid(_scale(range_.magnitude / 127), np.int8(0))
    low, high = min(range_.low, 0.0), max(range_.high, 0.0)
    scale = _scale((high - low) / 255)
    return Grid(scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255)))


def _scale(step: float) -> np.float32:
    # A tensor that was never anything but zero: any step does.
    return np.float32(step) if step > np.finfo(np.float32).tiny else np.float32(1)


def quantise_weight(
    weight: NDArray[np.float32], axis: int, smallest: NDArray[np.float32] | float = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return 8-bit codes in -127..127 and the scale of each channel.

    Args:
        weight: any shape.
        axis: of the channels.
        smallest: scale that a channel may have.

    """
    others = tuple(place for place in range(weight.ndim) if place != axis)
    scale = np.maximum(np.abs(weight).max(axis=others) / np.float32(127), smallest)
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, np.float32(1)).astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    codes = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
    return codes, scale


def _write_cpu(graph: ir.Graph, plan: Plan, calibration: Calibration) -> None:
    grids = {}
    for name in plan.tensors:
        source = name
        while source in plan.groups:
            source = plan.groups[source]
        grids[name] = grid_of(calibration.of(source), "cpu")
    for node in plan.layers:
        _quantise_weights(graph, node, grids[str(node.inputs[0].name)])
    for node in plan.folded:
        maker = node.inputs[0].producer()
        output, result = maker.outputs[0], node.outputs[0]
        result.replace_all_uses_with(output, replace_graph_outputs=True)
        graph.remove(node)
        name = result.name
        result.name = f"{name}_folded"
        output.name = name
        plan.tensors[name] = output
    for name, value in plan.tensors.items():
        _round(graph, value, grids[name], keep_name=True)


def _write_tensorrt(graph: ir.Graph, plan: Plan, calibration: Calibration) -> None:
    uses = {}
    for node in plan.layers:
        uses.setdefault(node.inputs[0], []).append((node, 0))
    for node, place in skip_branches(graph, plan.layers):
        uses.setdefault(node.inputs[place], []).append((node, place))
    for node in plan.layers:
        _quantise_weights(graph, node, None)
    for value, places in uses.items():
        grid = grid_of(calibration.of(str(value.name)), "tensorrt")
        rounded = _round(graph, value, grid, keep_name=False)
        for node, place in places:
            node.replace_input_with(place, rounded)


def _constant(graph: ir.Graph, name: str, array: NDArray) -> ir.Value:
    value = graph.initializers.get(name)
    if value is None:
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)), shape=ir.Shape(array.shape))
        graph.register_initializer(value)
    return value


def _quantise_weights(graph: ir.Graph, node: ir.Node, grid: Grid | None) -> None:
    weight = ir.convenience.get_const_tensor(node.inputs[1]).numpy()
    axis = channel_axis(node)
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = None if bias_value is None else ir.convenience.get_const_tensor(bias_value)
    smallest = 0.0
    if grid is not None and bias is not None:
        b = bias.numpy()
        smallest = (np.abs(b) / (float(grid.scale) * 2**30)).astype(np.float32)
    codes, scale = quantise_weight(weight, axis, smallest)
    stem = f"{node.name}_weight"
    w = ir.node("DequantizeLinear", [_constant(graph, f"{stem}_int8", codes), _constant(graph, f"{stem}_scale", scale),
        _constant(graph, f"{stem}_zero", np.zeros(scale.shape, np.int8))], {"axis": axis}, name=f"{stem}_dequantise",
        outputs=[ir.Value(name=f"{stem}_dequantised")])
    graph.insert_before(node, w)
    node.replace_input_with(1, w.outputs[0])
    if grid is not None and bias is not None:
        bscale = (scale * grid.scale).astype(np.float32)
        codes = np.rint(bias.numpy().astype(np.float64) / bscale).astype(np.int32)
        stem = f"{node.name}_bias"
        d = ir.node("DequantizeLinear", [_constant(graph, f"{stem}_int32", codes), _constant(graph, f"{stem}_scale", bscale)], {"axis": 0},
            name=f"{stem}_dequantise", outputs=[ir.Value(name=f"{stem}_dequantised")])
        graph.insert_before(node, d)
        node.replace_input_with(2, d.outputs[0])


def _round(graph: ir.Graph, value: ir.Value, grid: Grid, *, keep_name: bool) -> ir.Value:
    name = str(value.name)
    scale = _constant(graph, f"{name}_scale", np.asarray(grid.scale))
    zero = _constant(graph, f"{name}_zero", np.asarray(grid.zero_point))
    q = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}_quantise", outputs=[ir.Value(name=f"{name}_quantised")])
    d = ir.node("DequantizeLinear", [q.outputs[0], scale, zero], name=f"{name}_dequantise",
        outputs=[ir.Value(name=f"{name}_dequantised", type=value.type, shape=value.shape)])
    if keep_name:
        value.replace_all_uses_with(d.outputs[0], replace_graph_outputs=not value.is_graph_input())
        q.replace_input_with(0, value)
        if not value.is_graph_input():
            value.name = f"{name}_float"
            d.outputs[0].name = name
    maker = value.producer()
    if maker is None:
        graph.insert_before(graph[0], [q, d])
    else:
        graph.insert_after(maker, [q, d])
    return d.outputs[0]
