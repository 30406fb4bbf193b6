"""What is drawn of detections: masks, keypoints and boxes in a colour, and a line of words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat, class_colours
from edgecv.frame_formats import ColourMatrix, ColourRange, Pixels
from edgecv.kernels import draw_boxes, draw_masks
from edgecv.results import Detections, Instances, Poses
from edgecv.stream.draw_poses import draw_poses


def draw_detections(
    pixels: Pixels,
    detections: Detections,
    classes: Sequence[str],
    *,
    format: CanvasFormat = "bgr24",  # noqa: A002  # the word of the whole package
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> None:
    """Draw every detection into a frame, the best score on top; masks and keypoints lie below.

    The colour is that of the class, or of the track where the detection has an id. The label has
    name, track id and score, and what second models tell of the object; what these have found in
    it is drawn over it.

    Args:
        pixels: one array or a tuple of planes, see `edgecv.frame_formats`; changed in place.
        detections: boxes in the pixels of this frame; what sticks out is clipped.
        classes: the name of each class id.
        format: of the frame, see `edgecv.kernels.draw_boxes`.
        matrix: of a frame with luma.
        range: of a frame with luma and chroma.

    """
    colours = object_colours(detections)
    if isinstance(detections, Instances):
        draw_masks(
            pixels,
            detections.masks,
            detections.boxes_xyxy,
            colours=colours,
            format=format,
            matrix=matrix,
            range=range,
        )
    elif isinstance(detections, Poses):
        draw_poses(pixels, detections, colours=colours, format=format, matrix=matrix, range=range)
    draw_boxes(
        pixels,
        detections.boxes_xyxy,
        colours=colours,
        labels=_labels(detections, classes),
        format=format,
        matrix=matrix,
        range=range,
    )
    for told in detections.attributes.values():
        for found in told.results:
            if isinstance(found, Detections):
                draw_detections(
                    pixels, found, told.classes, format=format, matrix=matrix, range=range
                )


def object_colours(detections: Detections) -> NDArray[np.uint8]:
    """Return red, green and blue of each object, (N, 3) uint8: its track's, else its class's."""
    if detections.track_ids is None:
        return class_colours(detections.class_ids)
    is_known = detections.track_ids >= 0
    return class_colours(np.where(is_known, detections.track_ids, detections.class_ids))


def _labels(detections: Detections, classes: Sequence[str]) -> list[str]:
    """Return `dog 0.87`, of a track `dog #3 0.87`, with a second model `dog 0.87 poodle 0.93`."""
    count = len(detections)
    ids = [-1] * count if detections.track_ids is None else detections.track_ids.tolist()
    labels = [
        f"{classes[class_id]} #{track_id} {score:.2f}"
        if track_id >= 0
        else f"{classes[class_id]} {score:.2f}"
        for class_id, track_id, score in zip(
            detections.class_ids.tolist(), ids, detections.scores.tolist(), strict=True
        )
    ]
    for told in detections.attributes.values():
        for row, (found, words) in enumerate(zip(told.results, told.labels(), strict=True)):
            if words and not isinstance(found, Detections):
                labels[row] += f" {words}"
    return labels
