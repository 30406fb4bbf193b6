"""What an ONNX file holds and what running it takes, from the graph alone."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from edgecv.errors import SpecError
from edgecv.export.graphs.fixed_shapes import with_shapes
from edgecv.export.graphs.nodes import (
    STANDARD_DOMAINS,
    arithmetic_of,
    constant_values,
    name_of,
    num_bytes,
    operator_of,
    parameters_of,
    type_name,
    values_read,
)
from edgecv.export.inspection.macs import has_macs, macs_of, static_shape
from edgecv.spec import METADATA_KEY, ModelSpec

PEAK_METHOD = (
    "liveness in topological order: a tensor lives from its node to its last reader, nothing is "
    "computed in place or fused, weights and workspace do not count"
)


@dataclass(frozen=True)
class Tensor:
    """An input or an output; a side that is not fixed bears its name, or `?`."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    is_optional: bool = False


@dataclass(frozen=True)
class Layer:
    """One node.

    Args:
        name: the node's, or that of its first output where it has none.
        operator: with its domain, where that is not ONNX's own.
        shape: of the first output, None where it depends on the data.
        dtype: of the first output.
        parameters: elements of the weights that are read here first.
        macs: multiply-accumulates, None where a shape is unknown.
        arithmetic: what a convolution or matrix product computes with, such as `float32` or
            `int8`; empty for any other node.

    """

    name: str
    operator: str
    shape: tuple[int, ...] | None
    dtype: str
    parameters: int
    macs: int | None
    arithmetic: str


@dataclass(frozen=True)
class Constants:
    """The constants of one type: weights, and what shapes and axes are made of."""

    tensors: int
    elements: int
    num_bytes: int


@dataclass(frozen=True)
class Peak:
    """The most memory that activations need at one time, see `PEAK_METHOD`.

    Args:
        num_bytes: of all tensors that live while `layer` runs.
        layer: the node at which that is reached.
        num_unknown: tensors whose size depends on the data and that were not counted.

    """

    num_bytes: int
    layer: str
    num_unknown: int


@dataclass(frozen=True)
class Function:
    """A definition that the file carries for an operator."""

    name: str
    overload: str
    num_nodes: int


@dataclass(frozen=True)
class Summary:
    """What an ONNX file holds.

    Args:
        opset: by domain, the standard operators' first.
        batch: images a call that shapes, MACs and the peak are given for.
        parameters: elements of weights and biases: constants of a floating or quantised type that
            are no scalars and no scales or zero-points; baked-in grids and anchors count too.
        constants: by element type.
        macs: of one call; of layers whose shapes are known.
        unknown_macs: convolutions and matrix products whose shapes are not.
        arithmetic: by what convolutions and matrix products compute with, their number and MACs.
        spec: the description, None where there is none.
        spec_error: why the description cannot be read, empty where it can or there is none.

    """

    ir_version: int
    opset: dict[str, int]
    producer: str
    batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: dict[str, int]
    functions: tuple[Function, ...]
    parameters: int
    constants: dict[str, Constants]
    macs: int
    unknown_macs: int
    arithmetic: dict[str, tuple[int, int]]
    peak: Peak
    layers: tuple[Layer, ...]
    spec: ModelSpec | None
    spec_error: str

    def to_plain(self, *, with_layers: bool = False) -> dict[str, Any]:
        """Return dictionaries, lists and numbers."""
        plain = asdict(self)
        plain["spec"] = None if self.spec is None else json.loads(self.spec.to_json())
        plain["peak"]["method"] = PEAK_METHOD
        plain["arithmetic"] = {
            name: {"layers": layers, "macs": macs}
            for name, (layers, macs) in self.arithmetic.items()
        }
        if not with_layers:
            del plain["layers"]
        return plain


def summarise(model: onnx.ModelProto, path: Path, *, batch: int | None = None) -> Summary:
    """Return what is in `model`.

    Args:
        model: as `edgecv.export.graphs.model_file.read_onnx` returns it.
        path: where it was read, for messages.
        batch: images a call where the graph leaves that open, None for 1.

    Raises:
        InputError: if `batch` contradicts a graph whose batch is fixed.

    """
    spec, spec_error = _spec_of(model, path)
    shaped = with_shapes(model, batch=batch, wanted=None if spec is None else spec.input)
    layers = _layers(shaped.graph)
    counts = Counter(layer.operator for layer in layers)
    first = static_shape(_images(shaped.graph))
    return Summary(
        ir_version=model.ir_version,
        opset=_opsets(model),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        batch=first[0] if first else batch or 1,
        inputs=_inputs(model.graph),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        operators=dict(counts.most_common()),
        functions=tuple(
            Function(f"{entry.domain}.{entry.name}", entry.overload, len(entry.node))
            for entry in model.functions
        ),
        parameters=sum(layer.parameters for layer in layers),
        constants=_constants(shaped.graph),
        macs=sum(layer.macs or 0 for layer in layers),
        unknown_macs=sum(layer.macs is None for layer in layers),
        arithmetic=_arithmetic(layers),
        peak=activation_peak(shaped.graph),
        layers=layers,
        spec=spec,
        spec_error=spec_error,
    )


def activation_peak(graph: ir.Graph) -> Peak:
    """Return the most memory that the activations of a graph need, see `PEAK_METHOD`.

    Nodes run in the order of the file. A tensor that no input of the graph leads to is a constant.
    What the nodes of an `If`, `Loop` or `Scan` need inside is not counted.
    """
    constant = constant_values(graph)
    last_use: dict[ir.Value, int] = {}
    for index, node in enumerate(graph):
        last_use |= dict.fromkeys(values_read(node), index)
    last_use |= dict.fromkeys(graph.outputs, len(graph))
    live = {value: num_bytes(value) for value in graph.inputs if value not in constant}
    unknown = sum(size is None for size in live.values())
    peak, where = _total(live), "the inputs"
    for index, node in enumerate(graph):
        made = {
            value: num_bytes(value)
            for value in node.outputs
            if value.name and value not in constant
        }
        unknown += sum(size is None for size in made.values())
        live |= made
        if _total(live) > peak:
            peak, where = _total(live), name_of(node)
        live = {value: size for value, size in live.items() if last_use.get(value, -1) > index}
    return Peak(peak, where, unknown)


def _total(live: Mapping[ir.Value, int | None]) -> int:
    return sum(size for size in live.values() if size is not None)


def _spec_of(model: onnx.ModelProto, path: Path) -> tuple[ModelSpec | None, str]:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in metadata:
        return None, ""
    try:
        return ModelSpec.from_metadata(metadata, path=path), ""
    except SpecError as error:
        return None, str(error)


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Return the versions of the domains that nodes use: some exporters name every one there is."""
    used = {node.domain for node in model.graph.node}
    used |= {node.domain for entry in model.functions for node in entry.node}
    versions = {entry.domain: entry.version for entry in model.opset_import}
    return {
        domain or "ai.onnx": version
        for domain, version in sorted(versions.items())
        if domain in used or domain in STANDARD_DOMAINS
    }


def _images(graph: ir.Graph) -> ir.Value | None:
    return next((value for value in graph.inputs if not value.is_initializer()), None)


def _inputs(graph: onnx.GraphProto) -> tuple[Tensor, ...]:
    defaults = {tensor.name for tensor in graph.initializer}
    return tuple(
        _tensor(value, is_optional=value.name in defaults)
        for value in graph.input
        if value.name not in defaults or not value.type.tensor_type.shape.dim
    )


def _tensor(value: onnx.ValueInfoProto, *, is_optional: bool = False) -> Tensor:
    kind = value.type.tensor_type
    dims = tuple(dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim)
    return Tensor(value.name, type_name(ir.DataType(kind.elem_type)), dims, is_optional)


def _layers(graph: ir.Graph) -> tuple[Layer, ...]:
    constant = constant_values(graph)
    counted: set[ir.Value] = set()
    layers = []
    for node in graph.all_nodes():
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
            continue
        first = node.outputs[0] if node.outputs else None
        layers.append(
            Layer(
                name=name_of(node),
                operator=operator_of(node),
                shape=static_shape(first),
                dtype=type_name(None if first is None else first.dtype),
                parameters=parameters_of(node, constant, counted),
                macs=macs_of(node),
                arithmetic=arithmetic_of(node) if has_macs(node) else "",
            )
        )
    return tuple(layers)


def _arithmetic(layers: Iterable[Layer]) -> dict[str, tuple[int, int]]:
    """Return number and MACs of the convolutions and matrix products by what they compute with."""
    found: dict[str, tuple[int, int]] = {}
    for layer in layers:
        if layer.arithmetic:
            number, macs = found.get(layer.arithmetic, (0, 0))
            found[layer.arithmetic] = number + 1, macs + (layer.macs or 0)
    return dict(sorted(found.items(), key=lambda entry: entry[1], reverse=True))


def _constants(graph: ir.Graph) -> dict[str, Constants]:
    """Return the stored tensors by element type, those of subgraphs and Constant nodes too."""
    tensors: list[ir.TensorProtocol] = []
    for scope in (graph, *graph.subgraphs()):
        tensors += [
            value.const_value
            for value in scope.initializers.values()
            if value.const_value is not None
        ]
    for node in graph.all_nodes():
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
            tensor = ir.convenience.get_const_tensor(node.outputs[0])
            tensors += [] if tensor is None else [tensor]
    found: dict[str, Constants] = {}
    for tensor in tensors:
        name = type_name(tensor.dtype)
        old = found.get(name, Constants(0, 0, 0))
        is_text = tensor.dtype is ir.DataType.STRING
        size = 0 if is_text else math.ceil(tensor.size * tensor.dtype.itemsize)
        found[name] = Constants(old.tensors + 1, old.elements + tensor.size, old.num_bytes + size)
    return dict(sorted(found.items(), key=lambda entry: -entry[1].num_bytes))
