"""What is drawn of detections: masks and boxes in the colour of each class, name and score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat
from edgecv.frame_formats import ColourMatrix, ColourRange, Pixels
from edgecv.kernels import draw_boxes, draw_masks
from edgecv.results import Detections, Instances

# Neighbours differ in hue as well as in lightness, so that classes 0, 1, 2 are told apart first.
PALETTE_RGB: NDArray[np.uint8] = np.array(
    [
        (46, 134, 255),  # azure
        (255, 159, 28),  # orange
        (46, 204, 113),  # emerald
        (239, 71, 111),  # raspberry
        (255, 221, 51),  # sun
        (155, 93, 229),  # violet
        (0, 206, 209),  # turquoise
        (255, 99, 72),  # tomato
        (163, 230, 53),  # lime
        (244, 114, 208),  # pink
        (20, 110, 160),  # petrol
        (176, 116, 56),  # bronze
        (0, 133, 86),  # pine
        (150, 150, 255),  # lavender
        (176, 32, 50),  # crimson
        (255, 190, 152),  # peach
        (104, 70, 180),  # indigo
        (128, 148, 20),  # olive
        (120, 220, 190),  # mint
        (150, 160, 175),  # slate
    ],
    np.uint8,
)


def draw_detections(
    pixels: Pixels,
    detections: Detections,
    classes: Sequence[str],
    *,
    format: CanvasFormat = "bgr24",  # noqa: A002  # the word of the whole package
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> None:
    """Draw every detection into a frame, the best score on top; masks lie under all boxes.

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


def class_colours(class_ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return red, green and blue of each class, (N, 3) uint8, starting over after the last."""
    colours: NDArray[np.uint8] = PALETTE_RGB[class_ids % len(PALETTE_RGB)]
    return colours
