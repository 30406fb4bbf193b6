"""How `torch.onnx.export` writes PyTorch's nodes of `edgecv.models.operators`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript.values import Opset

from edgecv.export.operators.edge_nms import DOMAIN, VERSION
from edgecv.export.operators.schemas import PLUGIN_ATTRIBUTES, register_schemas
from edgecv.models.operators import CANONICAL_LEVEL, CANONICAL_SIZE


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return how `torch.onnx.export` is to write the operators of `edgecv.models.operators`."""
    register_schemas()
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
            **PLUGIN_ATTRIBUTES,
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
            **PLUGIN_ATTRIBUTES,
        )

    def roi_pool(features, rois, output_size_hw: Sequence[int], spatial_scale: float):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return opset.EdgeRoiPool(
            features,
            rois,
            output_height=output_size_hw[0],
            output_width=output_size_hw[1],
            spatial_scale=spatial_scale,
            **PLUGIN_ATTRIBUTES,
        )

    return {
        torch.ops.edgecv.nms.default: nms,
        torch.ops.edgecv.roi_align.default: roi_align,
        torch.ops.edgecv.roi_pool.default: roi_pool,
    }
