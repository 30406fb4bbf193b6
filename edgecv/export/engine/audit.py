"""In which precision an engine computes, by what its inspector says of each layer.

A strongly typed network fixes types, and the builder may still fuse, cast and reformat; what it
made is in the engine alone. Convolutions and matrix products are what counts: they are nearly all
of the work, and an engine layer names the ONNX nodes that it is made of.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgecv.engine_recipe import EnginePrecision
from edgecv.errors import DeviceError
from edgecv.export.inspection.summary import Layer
from edgecv.runtime.engine_record import EngineLayer

if TYPE_CHECKING:
    import tensorrt as trt

_SHOWN = 5
_SHUFFLES = ("Reformat", "NoOp", "Constant", "shape_call")  # they name the layer they serve
# "Row major linear FP16 format", "Half", "Thirty-two wide channel vectorized row major Int8 format"
_TYPES = (
    ("bf16", r"bf16|bfloat16"),
    ("fp16", r"fp16|float16|half"),
    ("fp8", r"fp8|float8"),
    ("fp4", r"fp4|float4"),
    ("fp32", r"fp32|float32|float"),
    ("int8", r"int8"),
    ("int4", r"int4"),
    ("int64", r"int64"),
    ("int32", r"int32"),
    ("bool", r"bool"),
)
_COMPUTED = ("fp32", "fp16", "bf16", "fp8", "fp4", "int8", "int4")
_OF_ONNX: Mapping[str, EnginePrecision] = {"float32": "fp32", "float16": "fp16", "int8": "int8"}


def engine_layers(engine: "trt.ICudaEngine") -> tuple[EngineLayer, ...]:
    """Return the layers of an engine that was built with detailed verbosity.

    Where shapes are free, the inspector knows types only with a context that has shapes: those that
    the first profile was tuned for. It needs no memory for that.
    """
    import tensorrt as trt

    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if context is not None:
        use_tuned_shapes(engine, context)
        inspector.execution_context = context
    return read_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def use_tuned_shapes(engine: "trt.ICudaEngine", context: "trt.IExecutionContext") -> None:
    """Give a context the shapes that the first profile of an engine was tuned for."""
    import tensorrt as trt

    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            _, tuned, _ = engine.get_tensor_profile_shape(name, 0)
            context.set_input_shape(name, tuned)


def read_layers(text: str) -> tuple[EngineLayer, ...]:
    """Return the layers that the inspector's JSON describes.

    Args:
        text: as `get_engine_information` returns it. A layer of which it has the name alone, as
            without detailed verbosity, has no kind and no type.

    """
    described = json.loads(text).get("Layers", [])
    return tuple(_layer(entry) for entry in described)


def data_type(words: str) -> str:
    """Return the type that a `Format/Datatype` names, such as `fp16`; empty if it names none."""
    lowered = words.lower()
    return next((name for name, pattern in _TYPES if re.search(pattern, lowered)), "")


def file_precision(layers: Iterable[Layer]) -> str:
    """Return what most convolutions and matrix products of an ONNX file compute in.

    Returns:
        `fp32`, `fp16`, `int8`, `int8-cpu` where activations are unsigned, else ONNX's name of it;
        empty if there is none.

    """
    count: dict[str, int] = {}
    for layer in layers:
        if layer.arithmetic:
            count[layer.arithmetic] = count.get(layer.arithmetic, 0) + 1
    if not count:
        return ""
    usual = max(count, key=lambda name: count[name])
    return "int8-cpu" if "uint8" in usual else _OF_ONNX.get(usual, usual)


def require_precision(
    layers: Sequence[EngineLayer], file_layers: Sequence[Layer], wanted: EnginePrecision
) -> None:
    """Refuse an engine that computes otherwise than the file says.

    Layers that the file itself keeps in another type may stay in it, as detection heads do; but one
    layer at least must be in the type that is wanted.

    Args:
        layers: of the engine.
        file_layers: of the ONNX file, see `edgecv.export.inspection.summary`.
        wanted: by convolutions and matrix products.

    Raises:
        DeviceError: naming the layers that disagree, or that nothing is known of.

    """
    meant = {one.name: _OF_ONNX.get(one.arithmetic) for one in file_layers if one.arithmetic}
    counted = [
        layer
        for layer in layers
        if layer.kind not in _SHUFFLES and any(meant.get(name) == wanted for name in layer.nodes)
    ]
    if not counted:
        raise DeviceError(
            f"no layer of the engine stands for a convolution or matrix product that the file has "
            f"in {wanted}. Export the model with `--precision {_option(wanted)}`."
        )
    wrong = [layer for layer in counted if layer.computes_in != wanted]
    if wrong:
        named = ", ".join(
            f"`{layer.name}` in {layer.computes_in or 'an unknown type'}"
            for layer in wrong[:_SHOWN]
        )
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DeviceError(
            f"the engine does not compute in {wanted} throughout: {named}{more}, of "
            f"{len(counted)} layers. Nothing was written; try another `optimisation_level`, or "
            "build without `--require-precision` and look at `edgecv verify`."
        )


def with_times(
    layers: Sequence[EngineLayer], times_ms: Mapping[str, float]
) -> tuple[EngineLayer, ...]:
    """Return the layers with their times, by name."""
    return tuple(replace(layer, time_ms=times_ms.get(layer.name)) for layer in layers)


def _option(precision: EnginePrecision) -> str:
    return "int8-tensorrt" if precision == "int8" else precision


def _layer(entry: Any) -> EngineLayer:  # noqa: ANN401  # parsed JSON
    if isinstance(entry, str):
        return EngineLayer(entry, "", _fused(entry), "")
    name, kind = entry.get("Name", ""), entry.get("LayerType", "")
    read = [data_type(str(one.get("Format/Datatype", ""))) for one in entry.get("Inputs", [])]
    made = [data_type(str(one.get("Format/Datatype", ""))) for one in entry.get("Outputs", [])]
    types = [one for one in (*read, *made) if one in _COMPUTED]
    nodes = tuple(re.findall(r"\[ONNX Layer: ([^\]]*)\]", str(entry.get("Metadata", ""))))
    return EngineLayer(name, kind, nodes or _fused(name), types[0] if types else "")


def _fused(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in name.split(" + "))
