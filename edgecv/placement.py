"""Where a frame came to lie inside a model's input, and the way back.

Pure geometry, computed once per frame size: the fit kernel resizes by it, training moves its
boxes by it and every decoder returns through it, so that the three cannot disagree.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Fit = Literal["letterbox", "top-left", "stretch", "centre-crop"]
FITS: tuple[Fit, ...] = get_args(Fit)


@dataclass(frozen=True)
class Placement:
    """An axis-aligned map from frame pixels to input pixels: `input = frame * scale + offset`.

    Pixel coordinates are continuous: the first pixel covers [0, 1), as in COCO.

    Args:
        frame_hw: height and width of the frame in pixels.
        size_hw: height and width of the model's input in pixels.
        resized_hw: the frame's height and width after scaling, whole pixels.
        offset_xy: where the scaled frame's corner lies in the input, in whole pixels; negative
            where the fit crops.

    """

    frame_hw: tuple[int, int]
    size_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    offset_xy: tuple[int, int]

    @classmethod
    def of(cls, frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit) -> "Placement":
        """Return the placement of a frame of `frame_hw` in an input of `size_hw` under `fit`.

        Args:
            frame_hw: height and width of the frame, at least 1 each.
            size_hw: height and width of the input, at least 1 each.
            fit: `letterbox` keeps the aspect ratio and centres the frame between bars;
                `top-left` keeps it and pads right and bottom; `stretch` fills the input;
                `centre-crop` keeps it, fills the input and loses what sticks out.

        """
        if fit not in FITS:
            raise ValueError(f"Placement.of: `fit` must be one of {', '.join(FITS)}, got {fit!r}.")
        (frame_h, frame_w), (height, width) = frame_hw, size_hw
        if min(frame_h, frame_w, height, width) < 1:
            raise ValueError(
                f"Placement.of: every side must be at least 1 pixel, got a frame of {frame_hw} "
                f"and an input of {size_hw}."
            )
        if fit == "stretch":
            return cls(frame_hw, size_hw, size_hw, (0, 0))
        ratios = height / frame_h, width / frame_w
        ratio = max(ratios) if fit == "centre-crop" else min(ratios)
        resized_h, resized_w = (max(1, round(side * ratio)) for side in frame_hw)
        corner = (0, 0)
        if fit != "top-left":
            corner = ((width - resized_w) // 2, (height - resized_h) // 2)
        return cls(frame_hw, size_hw, (resized_h, resized_w), corner)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Input pixels per frame pixel, horizontally and vertically (they differ by rounding)."""
        return (
            self.resized_hw[1] / self.frame_hw[1],
            self.resized_hw[0] / self.frame_hw[0],
        )

    def to_input(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) float32 boxes from frame pixels to input pixels, without clipping."""
        scale, offset = self._affine()
        return boxes_xyxy * scale + offset

    def to_frame(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) float32 boxes from input pixels to frame pixels, without clipping."""
        scale, offset = self._affine()
        return (boxes_xyxy - offset) / scale

    def _affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale = np.array(self.scale_xy * 2, np.float32)
        return scale, np.array(self.offset_xy * 2, np.float32)
