"""A graph whose tensors have shapes: open sides fixed, the rest inferred."""

import contextlib

import onnx
import onnx_ir as ir
from onnx import inliner

from edgecv.errors import InputError
from edgecv.export.operators.edge_nms import DOMAIN
from edgecv.spec import InputSpec

_HEAVY_BYTES = 65536  # no tensor that shapes are computed from is larger
_IMAGE_RANK = 4


def with_shapes(
    model: onnx.ModelProto, *, batch: int | None = None, wanted: InputSpec | None = None
) -> ir.Model:
    """Return the graph for inputs of one size, its shapes inferred, without its large weights.

    Functions of other domains than `edgecv` are inlined: their nodes do work like any other. Those
    of `edgecv` stay, one node each, as a runtime that has them natively sees them.

    Args:
        model: it is not changed.
        batch: what an open first side of an input becomes, at least 1; None for 1.
        wanted: the input's description, which says what open sides of an image become.

    Raises:
        InputError: if `batch` contradicts an input whose batch is fixed.

    """
    light = _without_weights(model)
    others = {function.domain for function in light.functions} - {DOMAIN}
    if others:
        kept = [(entry.domain, entry.name) for entry in light.functions if entry.domain == DOMAIN]
        light = inliner.inline_selected_functions(light, kept, exclude=True)
    sizes = _fix_inputs(light.graph, batch, wanted)
    for value in (*light.graph.value_info, *light.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    # Where an operator contradicts its shapes, those that are given must do.
    with contextlib.suppress(RuntimeError, ValueError):
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
    return ir.serde.deserialize_model(light)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large tensors have a type and a shape but no values."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if len(tensor.raw_data) > _HEAVY_BYTES:
            tensor.raw_data = b""
        elif len(tensor.float_data) > _HEAVY_BYTES // 4:
            del tensor.float_data[:]
    return light


def _fix_inputs(
    graph: onnx.GraphProto, batch: int | None, wanted: InputSpec | None
) -> dict[str, int]:
    """Give the open sides of the inputs a size; return what the named ones became."""
    defaults = {tensor.name for tensor in graph.initializer}
    sizes: dict[str, int] = {}
    inputs = [value for value in graph.input if value.name not in defaults]
    for index, value in enumerate(inputs):
        dims = value.type.tensor_type.shape.dim
        sides = {0: batch or 1} if dims else {}
        if wanted is not None and value.name == wanted.name and len(dims) == _IMAGE_RANK:
            first = 2 if wanted.layout == "nchw" else 1
            sides |= {first: wanted.size_hw[0], first + 1: wanted.size_hw[1]}
        if index == 0 and sides and batch not in (None, dims[0].dim_value or batch):
            raise InputError(
                f"`--batch` is {batch}, but the graph's input `{value.name}` takes "
                f"{dims[0].dim_value}. Leave `--batch` out."
            )
        for axis, side in sides.items():
            if not dims[axis].dim_value:
                sizes.setdefault(dims[axis].dim_param, side)
                dims[axis].dim_value = side
    sizes.pop("", None)  # sides without a name have nothing to do with one another
    for value in graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    return sizes
