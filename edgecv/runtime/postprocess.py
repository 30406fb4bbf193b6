"""From a network's outputs to results: a function a task, a case an output format."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.anchors import anchor_boxes
from edgecv.errors import SpecError
from edgecv.kernels import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.output_spec import (
    AnchorLayer,
    ClassMapOutput,
    DetrOutput,
    FusedOutput,
    LogitsOutput,
    NanodetOutput,
    ObjectsOutput,
    ProbabilitiesOutput,
    RowsOutput,
    SSDOutput,
    YoloOutput,
    YoloxOutput,
)
from edgecv.placement import Placement
from edgecv.results import Classification, Detections, Instances, Poses, Result
from edgecv.runtime.decode import (
    decode_detr,
    decode_objects,
    decode_rows,
    decode_yolo_objectness,
)
from edgecv.runtime.segmentation import MAX_CLASSES, MIN_CLASSES, finish_segmentation
from edgecv.runtime.session import Outputs
from edgecv.spec import ModelSpec, Task

_DECODED = {
    "detect": (
        FusedOutput,
        SSDOutput,
        YoloOutput,
        YoloxOutput,
        NanodetOutput,
        DetrOutput,
        RowsOutput,
        ObjectsOutput,
    ),
    "instance": (FusedOutput,),
    "keypoints": (FusedOutput,),
    "segment": (LogitsOutput, ProbabilitiesOutput, ClassMapOutput),
    "classify": (ProbabilitiesOutput, LogitsOutput),
}


def refuse_unsupported(spec: ModelSpec) -> None:
    """Refuse a model that this version can describe but not run.

    Raises:
        SpecError: with the key and the values that do run.

    """
    formats = tuple(kind.FORMAT for kind in _DECODED.get(spec.task, ()))
    runs = {
        "task": (spec.task, tuple(_FINISHERS)),
        "output.format": (spec.output.FORMAT, formats),
    }
    for key, (value, supported) in runs.items():
        if value not in supported:
            raise SpecError(
                f"this edgecv cannot run a model whose `{key}` is {value!r}; "
                f"it runs {', '.join(supported)}. Export the model in one of these forms."
            )
    if spec.task == "segment" and not MIN_CLASSES <= len(spec.classes) <= MAX_CLASSES:
        raise SpecError(
            f"a model of task segment must tell apart {MIN_CLASSES} to {MAX_CLASSES} classes, got "
            f"{len(spec.classes)}. Name every label, also the background's."
        )
    wanted = spec.input
    if wanted.dtype == "uint8" and (any(wanted.mean) or set(wanted.std) != {1.0}):
        raise SpecError(
            "this edgecv cannot run a model whose `input.dtype` is 'uint8' and whose `input.mean` "
            f"and `input.std` are not 0 and 1, got {wanted.mean} and {wanted.std}. "
            "Normalise inside the network."
        )


def finish(spec: ModelSpec, outputs: Outputs, placement: Placement) -> Result:
    """Turn the outputs of one frame into what its task asks for.

    Args:
        spec: the model's description, with the thresholds to use.
        outputs: by name, each with a leading axis of 1.
        placement: how the frame was fitted.

    """
    return _FINISHERS[spec.task](spec, outputs, placement)


def finish_classification(
    spec: ModelSpec, outputs: Outputs, placement: Placement
) -> Classification:
    """Return the probabilities of one frame, whatever part of it the network saw."""
    del placement
    output = spec.output
    if isinstance(output, ProbabilitiesOutput):
        return Classification(np.ascontiguousarray(outputs[output.probabilities][0], np.float32))
    if isinstance(output, LogitsOutput):
        logits = outputs[output.logits][0].astype(np.float32)
        powers = np.exp(logits - logits.max())
        return Classification(powers / powers.sum())
    raise TypeError(f"finish_classification: no decoder for {output.FORMAT}.")  # refused at loading


def finish_detections(spec: ModelSpec, outputs: Outputs, placement: Placement) -> Detections:
    """Decode and suppress the outputs of one frame.

    Args:
        spec: the model's description, with the thresholds to use.
        outputs: by name, each with a leading axis of 1.
        placement: how the frame was fitted.

    Returns:
        Detections in frame pixels, best first; `Instances` of a model with masks, `Poses` of one
        with keypoints.

    """
    output, wanted = spec.output, spec.postprocess
    if isinstance(output, FusedOutput | DetrOutput | RowsOutput | ObjectsOutput):
        return _finish_selected(spec, output, outputs, placement)
    common: dict[str, Any] = {
        "score_threshold": wanted.score_threshold,
        "iou_threshold": wanted.iou_threshold,
        "max_detections": wanted.max_detections,
        "class_agnostic": wanted.class_agnostic,
        "placement": placement,
    }
    if isinstance(output, SSDOutput):
        anchors = _anchors(output.anchors, spec.input.size_hw)
        offsets, logits = outputs[output.offsets][0], outputs[output.logits][0]
        found: Detections = decode_ssd(
            offsets,
            logits,
            anchors,
            variances=output.variances,
            activation=output.activation,
            **common,
        )
        return found
    size_hw = spec.input.size_hw
    common["multi_label"] = wanted.multi_label
    if isinstance(output, YoloOutput):
        head = outputs[output.head][0]
        if output.has_objectness:
            return decode_yolo_objectness(head, layout=output.layout, **common)
        detections: Detections = decode_yolo(
            head,
            layout=output.layout,
            reg_max=output.reg_max,
            strides=output.strides,
            size_hw=size_hw,
            **common,
        )
        return detections
    if isinstance(output, YoloxOutput):
        head = outputs[output.head][0]
        return decode_yolox(head, size_hw=size_hw, strides=output.strides, **common)
    if isinstance(output, NanodetOutput):
        return decode_nanodet(
            outputs[output.head][0],
            size_hw=size_hw,
            strides=output.strides,
            reg_max=output.reg_max,
            **common,
        )
    raise TypeError(f"finish_detections: no decoder for {output.FORMAT}.")  # refused at loading


def _finish_selected(
    spec: ModelSpec,
    output: FusedOutput | DetrOutput | RowsOutput | ObjectsOutput,
    outputs: Outputs,
    placement: Placement,
) -> Detections:
    """Finish what needs no suppression: the graph's queries or rows are one an object."""
    if isinstance(output, FusedOutput):
        return _finish_fused(spec, output, outputs, placement)
    wanted = spec.postprocess
    common: dict[str, Any] = {
        "score_threshold": wanted.score_threshold,
        "max_detections": wanted.max_detections,
        "placement": placement,
    }
    if isinstance(output, DetrOutput):
        logits, boxes = outputs[output.logits][0], outputs[output.boxes][0]
        if output.logits == output.boxes:
            logits, boxes = logits[:, 4:], boxes[:, :4]
        return decode_detr(
            logits,
            boxes,
            activation=output.activation,
            multi_label=wanted.multi_label,
            **common,
        )
    common["num_classes"] = len(spec.classes)
    if isinstance(output, RowsOutput):
        return decode_rows(outputs[output.rows][0], **common)
    scores = outputs[output.scores].reshape(-1)
    return decode_objects(
        outputs[output.boxes].reshape(-1, 4),
        scores,
        outputs[output.labels].reshape(-1) - output.first_label,
        **common,
    )


def _finish_fused(
    spec: ModelSpec, output: FusedOutput, outputs: Outputs, placement: Placement
) -> Detections:
    found = int(outputs[output.num_detections].reshape(-1)[0])
    count = min(found, spec.postprocess.max_detections)
    boxes_xyxy = placement.to_frame(outputs[output.boxes][0, :count])
    scores = np.ascontiguousarray(outputs[output.scores][0, :count])
    class_ids = np.ascontiguousarray(outputs[output.classes][0, :count], np.int32)
    if output.masks is not None:
        masks = np.ascontiguousarray(outputs[output.masks][0, :count])
        return Instances(boxes_xyxy, scores, class_ids, masks, placement.frame_hw)
    if output.keypoints is not None:
        keypoints = outputs[output.keypoints][0, :count].copy()
        keypoints[..., :2] = placement.to_frame(keypoints[..., [0, 1, 0, 1]])[..., :2]
        return Poses(boxes_xyxy, scores, class_ids, keypoints, spec.keypoints, spec.skeleton)
    return Detections(boxes_xyxy, scores, class_ids)


_FINISHERS: dict[Task, Callable[[ModelSpec, Outputs, Placement], Result]] = {
    "detect": finish_detections,
    "instance": finish_detections,
    "keypoints": finish_detections,
    "segment": finish_segmentation,
    "classify": finish_classification,
}


@lru_cache(maxsize=8)
def _anchors(layers: tuple[AnchorLayer, ...], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    return anchor_boxes(layers, size_hw)
