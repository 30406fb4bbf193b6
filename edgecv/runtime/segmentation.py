"""From the outputs of a segmentation network to the class of every pixel of the frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.kernels import resize_argmax
from edgecv.output_spec import ClassMapOutput, LogitsOutput, ProbabilitiesOutput
from edgecv.placement import Placement
from edgecv.results import Segmentation
from edgecv.runtime.session import Outputs
from edgecv.spec import ModelSpec

MIN_CLASSES = 2  # of one class every pixel would be
MAX_CLASSES = 255  # labels are bytes, and the last of them means "no class" in label images


def finish_segmentation(spec: ModelSpec, outputs: Outputs, placement: Placement) -> Segmentation:
    """Return the class of every pixel of a frame, whatever the output's resolution.

    Scores are interpolated bilinearly and then compared, see `edgecv.kernels.resize_argmax`; of a
    class map each pixel of the frame takes the nearest label. What the bars of the input got is
    dropped.

    Args:
        spec: the model's description.
        outputs: by name, each with a leading axis of 1.
        placement: how the frame was fitted.

    Raises:
        InputError: if a class map holds a label that is no class, or a graph that leaves the number
            of its planes open has another than there are classes.

    """
    output = spec.output
    if isinstance(output, ClassMapOutput):
        found = outputs[output.labels][0]
        found = found.reshape(found.shape[-2:])  # [h, w], also where there is an axis for channels
        return Segmentation(_nearest(_as_labels(found, spec), placement))
    if isinstance(output, LogitsOutput):
        scores = _planes(outputs[output.logits][0], spec)
        if len(scores) < len(spec.classes):  # sigmoid(x) > 1/2 where x > 0
            scores = np.concatenate([np.zeros_like(scores), scores])
    elif isinstance(output, ProbabilitiesOutput):
        scores = _planes(outputs[output.probabilities][0], spec)
        if len(scores) < len(spec.classes):
            scores = np.concatenate([1 - scores, scores])
    else:
        raise TypeError(f"finish_segmentation: no decoder for {output.FORMAT}.")  # refused before
    return Segmentation(resize_argmax(scores, placement.frame_hw, placement=placement))


def _planes(scores: NDArray[Any], spec: ModelSpec) -> NDArray[np.float32]:
    """Return a plane of scores for each class, or one for the second of two."""
    count = len(spec.classes)
    if len(scores) != count and (len(scores), count) != (1, 2):
        raise InputError(
            f"the model's output must have a plane for each of its {count} classes, got "
            f"{len(scores)}. Adopt it again with a name for every plane."
        )
    return scores.astype(np.float32, copy=False)


def _as_labels(found: NDArray[Any], spec: ModelSpec) -> NDArray[np.uint8]:
    lowest, highest = found.min(initial=0), found.max(initial=0)
    if lowest < 0 or highest >= len(spec.classes):
        raise InputError(
            f"the model's class map must hold 0..{len(spec.classes) - 1}, as it has "
            f"{len(spec.classes)} classes, got {lowest if lowest < 0 else highest}. "
            "Adopt it again with a name for every label."
        )
    return found.astype(np.uint8, copy=False)


def _nearest(labels: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Return the label in which each frame pixel's centre lies; they cover the input."""
    rows, columns = (_nearest_indices(placement, labels.shape[axis], axis=axis) for axis in (0, 1))
    return labels.take(rows, axis=0).take(columns, axis=1)


def _nearest_indices(placement: Placement, num_labels: int, *, axis: int) -> NDArray[np.intp]:
    frame_side, resized = placement.frame_hw[axis], placement.resized_hw[axis]
    # In whole numbers, twice over: centres may lie exactly between two labels.
    twice = (2 * np.arange(frame_side) + 1) * resized
    twice += 2 * frame_side * placement.offset_xy[1 - axis]
    indices = twice * num_labels // (2 * frame_side * placement.size_hw[axis])
    return indices.clip(0, num_labels - 1)
