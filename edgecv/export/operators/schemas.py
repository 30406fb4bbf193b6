"""The operators of the domain `edgecv` as onnx knows its own: types, attributes and shapes.

With them, the checker and shape inference pass through nodes that have no definition in the file,
and need not walk through those that have.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import onnx
from onnx import defs, helper
from onnx.shape_inference import InferenceContext, InferenceError

from edgecv.export.operators.edge_nms import DOMAIN, VERSION

PLUGIN_ATTRIBUTES: dict[str, Any] = {"plugin_version": str(VERSION), "plugin_namespace": DOMAIN}
"""What TensorRT finds a plugin by, beside the operator's name."""

_INTEGER, _NUMBER = defs.OpSchema.AttrType.INT, defs.OpSchema.AttrType.FLOAT
_SIZE = {"output_height": _INTEGER, "output_width": _INTEGER}
_TEXT = dict.fromkeys(PLUGIN_ATTRIBUTES, defs.OpSchema.AttrType.STRING)

ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "EdgeNMS": {
        "max_detections": _INTEGER,
        "class_agnostic": _INTEGER,
        "background_class": _INTEGER,
        **_TEXT,
    },
    "EdgeRoiAlign": {
        **_SIZE,
        "spatial_scales": defs.OpSchema.AttrType.FLOATS,
        "sampling_ratio": _INTEGER,
        "aligned": _INTEGER,
        "canonical_level": _INTEGER,
        "canonical_size": _NUMBER,
        **_TEXT,
    },
    "EdgeRoiPool": {**_SIZE, "spatial_scale": _NUMBER, **_TEXT},
}
"""The attributes of each operator, all of them required, with their kinds."""

_FLOAT, _HALF, _INT = "tensor(float)", "tensor(float16)", "tensor(int32)"
_FEATURES = "T"

_Constraint: TypeAlias = tuple[str, Sequence[str], str]  # a name, the types it may be, in words


def register_schemas() -> None:
    """Make the operators known to onnx, once a process."""
    for schema in (_edge_nms(), _edge_roi_align(), _edge_roi_pool()):
        if not defs.has(schema.name, DOMAIN):
            defs.register_schema(schema)


def _edge_nms() -> defs.OpSchema:
    outputs = {"num_detections": _INT, "boxes": _FLOAT, "scores": _FLOAT, "classes": _INT}
    inputs = ("boxes", "scores", "score_threshold", "iou_threshold")
    return _schema(
        "EdgeNMS",
        inputs=[defs.OpSchema.FormalParameter(name, _FLOAT) for name in inputs],
        outputs=[  # a graph may leave out what it has no use for
            defs.OpSchema.FormalParameter(
                name, kind, param_option=defs.OpSchema.FormalParameterOption.Optional
            )
            for name, kind in outputs.items()
        ],
        infer=_infer_nms,
    )


def _edge_roi_align() -> defs.OpSchema:
    # One list of inputs: torch's exporter hands a variadic input every argument, not the rest. Its
    # members may differ in type: RoIs are float32 beside features of either.
    rois_and_features = defs.OpSchema.FormalParameter(
        "rois_and_features",
        _FEATURES,
        param_option=defs.OpSchema.FormalParameterOption.Variadic,
        is_homogeneous=False,
        min_arity=2,
    )
    return _schema(
        "EdgeRoiAlign",
        inputs=[rois_and_features],
        outputs=[defs.OpSchema.FormalParameter("bins", "Bins")],
        infer=lambda context: _infer_bins(context, rois=0, features=1),
        constraints=[_either(_FEATURES), _either("Bins")],
    )


def _edge_roi_pool() -> defs.OpSchema:
    return _schema(
        "EdgeRoiPool",
        inputs=[
            defs.OpSchema.FormalParameter("features", _FEATURES),
            defs.OpSchema.FormalParameter("rois", _FLOAT),
        ],
        outputs=[defs.OpSchema.FormalParameter("bins", _FEATURES)],
        infer=lambda context: _infer_bins(context, rois=1, features=0),
        constraints=[_either(_FEATURES)],
    )


def _either(name: str) -> _Constraint:
    return name, [_FLOAT, _HALF], "float32 or float16"


def _schema(
    name: str,
    inputs: list[defs.OpSchema.FormalParameter],
    outputs: list[defs.OpSchema.FormalParameter],
    infer: Callable[[InferenceContext], None],
    constraints: Sequence[_Constraint] = (),
) -> defs.OpSchema:
    attributes = [
        defs.OpSchema.Attribute(key, kind, required=True) for key, kind in ATTRIBUTES[name].items()
    ]
    schema = defs.OpSchema(
        name,
        DOMAIN,
        VERSION,
        inputs=inputs,
        outputs=outputs,
        type_constraints=constraints,
        attributes=attributes,
    )
    schema.set_type_and_shape_inference_function(infer)
    return schema


def _infer_nms(context: InferenceContext) -> None:
    """Boxes [B, N, 4] and K give [B], [B, K, 4], [B, K] and [B, K]."""
    integer, number = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
    batch = _dimensions(context, 0, rank=3)[0]
    kept = context.get_attribute("max_detections").i
    outputs = [
        (integer, [batch]),
        (number, [batch, kept, 4]),
        (number, [batch, kept]),
        (integer, [batch, kept]),
    ]
    for index, (kind, shape) in enumerate(outputs):
        if context.has_output(index):
            context.set_output_type(index, helper.make_tensor_type_proto(kind, shape))


def _infer_bins(context: InferenceContext, *, rois: int, features: int) -> None:
    """RoIs [B, R, 4] and features [B, C, H, W] give [B, R, C, h, w] in the features' type."""
    kind = context.get_input_type(features).tensor_type.elem_type
    if context.get_input_type(rois).tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise InferenceError("regions of interest must be float32")
    batch, count, _ = _dimensions(context, rois, rank=3)
    channels = _dimensions(context, features, rank=4)[1]
    size = (context.get_attribute(name).i for name in ("output_height", "output_width"))
    shape = [batch, count, channels, *size]
    context.set_output_type(0, helper.make_tensor_type_proto(kind, shape))


def _dimensions(context: InferenceContext, index: int, *, rank: int) -> list[int | str | None]:
    """Return the sides of an input, a name or None for one that is free."""
    kind = context.get_input_type(index)
    if kind is None or not kind.tensor_type.HasField("shape"):
        return [None] * rank
    sides = kind.tensor_type.shape.dim
    if len(sides) != rank:
        raise InferenceError(f"input {index} must have rank {rank}, got {len(sides)}")
    return [
        side.dim_value if side.HasField("dim_value") else side.dim_param or None for side in sides
    ]
