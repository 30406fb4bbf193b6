"""The operators of the domain `edgecv` in an exported graph.

PyTorch's nodes become ONNX's, and the file gets their definitions, for a runtime that does not know
them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import defs, helper
from onnxscript.values import Opset

from edgecv.export.edge_nms import DOMAIN, VERSION, EdgeNMS
from edgecv.export.edge_roi import EdgeRoiAlign, EdgeRoiPool
from edgecv.models.operators import CANONICAL_LEVEL, CANONICAL_SIZE

_PLUGIN: dict[str, Any] = {"plugin_version": str(VERSION), "plugin_namespace": DOMAIN}


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return how `torch.onnx.export` is to write the operators of `edgecv.models.operators`."""
    _register_schemas()
    opset: Any = Opset(DOMAIN, VERSION)  # its operators are attributes, found by their schemas

    def nms(  # type: ignore[no-untyped-def]  # noqa: ANN202  # symbolic values of the exporter
        boxes,  # noqa: ANN001
        scores,  # noqa: ANN001
        score_threshold,  # noqa: ANN001
        iou_threshold,  # noqa: ANN001
        max_detections: int,
        class_agnostic: bool,  # noqa: FBT001
    ):
        return opset.EdgeNMS(
            boxes,
            scores,
            score_threshold,
            iou_threshold,
            max_detections=max_detections,
            class_agnostic=int(class_agnostic),
            background_class=-1,
            **_PLUGIN,
        )

    def roi_align(  # type: ignore[no-untyped-def]  # noqa: ANN202
        rois,  # noqa: ANN001
        features,  # noqa: ANN001
        output_size_hw: Sequence[int],
        spatial_scales: Sequence[float],
        sampling_ratio: int,
        aligned: bool,  # noqa: FBT001
    ):
        return opset.EdgeRoiAlign(
            rois,
            *features,
            output_height=output_size_hw[0],
            output_width=output_size_hw[1],
            spatial_scales=list(spatial_scales),
            sampling_ratio=sampling_ratio,
            aligned=int(aligned),
            canonical_level=CANONICAL_LEVEL,
            canonical_size=float(CANONICAL_SIZE),
            **_PLUGIN,
        )

    def roi_pool(features, rois, output_size_hw: Sequence[int], spatial_scale: float):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return opset.EdgeRoiPool(
            features,
            rois,
            output_height=output_size_hw[0],
            output_width=output_size_hw[1],
            spatial_scale=spatial_scale,
            **_PLUGIN,
        )

    return {
        torch.ops.edgecv.nms.default: nms,
        torch.ops.edgecv.roi_align.default: roi_align,
        torch.ops.edgecv.roi_pool.default: roi_pool,
    }


def define_operators(model: onnx.ModelProto) -> None:
    """Append the definition of every `edgecv` node to the file, in place.

    A definition is written for a node's attributes. Where nodes of one operator differ in theirs,
    each variant has an overload of its own, "1", "2" and so on, that its nodes name.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    variants: dict[str, list[EdgeNMS | EdgeRoiAlign | EdgeRoiPool]] = {}
    nodes = [node for node in model.graph.node if node.domain == DOMAIN]
    for node in nodes:
        known = variants.setdefault(node.op_type, [])
        operator = operator_of(node)
        if operator not in known:
            known.append(operator)
    for node in nodes:
        known = variants[node.op_type]
        if len(known) > 1:
            node.overload = str(1 + known.index(operator_of(node)))
    for known in variants.values():
        for index, operator in enumerate(known):
            function = operator.function(opset=opset)
            function.overload = str(1 + index) if len(known) > 1 else ""
            model.functions.append(function)
    domains = {entry.domain for entry in model.opset_import}
    if nodes and DOMAIN not in domains:
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))


def operator_of(node: onnx.NodeProto) -> EdgeNMS | EdgeRoiAlign | EdgeRoiPool:
    """Return the operator of a node of the domain `edgecv`, with its attributes."""
    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "EdgeNMS":
        return EdgeNMS(
            values["max_detections"], bool(values["class_agnostic"]), values["background_class"]
        )
    size_hw = values["output_height"], values["output_width"]
    if node.op_type == "EdgeRoiAlign":
        return EdgeRoiAlign(
            size_hw,
            tuple(values["spatial_scales"]),
            values["sampling_ratio"],
            bool(values["aligned"]),
            values["canonical_level"],
            values["canonical_size"],
        )
    if node.op_type == "EdgeRoiPool":
        return EdgeRoiPool(size_hw, values["spatial_scale"])
    raise ValueError(f"operator_of: the domain `{DOMAIN}` has no operator {node.op_type}.")


def _register_schemas() -> None:
    """Make the operators known to onnx, once a process: onnxscript writes what has a schema."""
    single, variadic = (
        defs.OpSchema.FormalParameterOption.Single,
        defs.OpSchema.FormalParameterOption.Variadic,
    )

    def tensors(kind: str, *names: str) -> list[defs.OpSchema.FormalParameter]:
        return [defs.OpSchema.FormalParameter(name, kind, param_option=single) for name in names]

    floats, ints = "tensor(float)", "tensor(int32)"
    # One list of inputs: torch's exporter hands a variadic input every argument, not the rest.
    rois_and_maps = defs.OpSchema.FormalParameter(
        "rois_and_features", floats, param_option=variadic, min_arity=2
    )
    shapes: dict[str, tuple[Any, Any]] = {
        "EdgeNMS": (
            tensors(floats, "boxes", "scores", "score_threshold", "iou_threshold"),
            [
                *tensors(ints, "num_detections"),
                *tensors(floats, "boxes", "scores"),
                *tensors(ints, "classes"),
            ],
        ),
        "EdgeRoiAlign": ([rois_and_maps], tensors(floats, "bins")),
        "EdgeRoiPool": (tensors(floats, "features", "rois"), tensors(floats, "bins")),
    }
    integer, number = defs.OpSchema.AttrType.INT, defs.OpSchema.AttrType.FLOAT
    size = {"output_height": integer, "output_width": integer}
    attributes: dict[str, dict[str, Any]] = {
        "EdgeNMS": {
            "max_detections": integer,
            "class_agnostic": integer,
            "background_class": integer,
        },
        "EdgeRoiAlign": {
            **size,
            "spatial_scales": defs.OpSchema.AttrType.FLOATS,
            "sampling_ratio": integer,
            "aligned": integer,
            "canonical_level": integer,
            "canonical_size": number,
        },
        "EdgeRoiPool": {**size, "spatial_scale": number},
    }
    text = dict.fromkeys(_PLUGIN, defs.OpSchema.AttrType.STRING)
    for name, (inputs, outputs) in shapes.items():
        if defs.has(name, DOMAIN):
            continue
        kinds = {**attributes[name], **text}
        defs.register_schema(
            defs.OpSchema(
                name,
                DOMAIN,
                VERSION,
                inputs=inputs,
                outputs=outputs,
                attributes=[
                    defs.OpSchema.Attribute(key, kind, required=True) for key, kind in kinds.items()
                ],
            )
        )
