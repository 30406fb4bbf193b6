"""What is drawn of detections: masks, keypoints and boxes in the class's colour, name, score."""

from collections.abc import Sequence

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

    Args:
        pixels: one array or a tuple of planes, see `edgecv.frame_formats`; changed in place.
        detections: boxes in the pixels of this frame; what sticks out is clipped.
        classes: the name of each class id.
        format: of the frame, see `edgecv.kernels.draw_boxes`.
        matrix: of a frame with luma.
        range: of a frame with luma and chroma.

    """
    colours = class_colours(detections.class_ids)
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
    named = zip(detections.class_ids.tolist(), detections.scores.tolist(), strict=True)
    draw_boxes(
        pixels,
        detections.boxes_xyxy,
        colours=colours,
        labels=[f"{classes[class_id]} {score:.2f}" for class_id, score in named],
        format=format,
        matrix=matrix,
        range=range,
    )
