"""Two models' boxes in one picture, so that a difference is seen and not only counted."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecv.kernels import draw_boxes
from edgecv.results import Detections

REFERENCE_RGB, CANDIDATE_RGB = (0, 114, 178), (230, 159, 0)  # Okabe and Ito's blue and orange
_LINE = 1 / 160  # of the picture's mean side: the candidate's outline, half the reference's


def both_boxes(pixels: NDArray[np.uint8], expected: Detections, actual: Detections) -> bytes:
    """Return a JPEG file: broad blue boxes of the reference, narrow orange ones of the candidate.

    Args:
        pixels: (H, W, 3) uint8, RGB; left as it is.
        expected: of the reference, in pixels of the picture.
        actual: of the candidate.

    """
    canvas = pixels.copy()
    height, width = canvas.shape[:2]
    line_width = max(1, round(_LINE * (height * width) ** 0.5))
    for found, colour, lines in ((expected, REFERENCE_RGB, 2), (actual, CANDIDATE_RGB, 1)):
        draw_boxes(
            canvas,
            found.boxes_xyxy,
            colours=np.tile(np.array(colour, np.uint8), (len(found), 1)),
            format="rgb24",
            line_width=lines * line_width,
        )
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "JPEG", quality=88)
    return file.getvalue()
