"""Array kernels: one public function per operator, several interchangeable implementations."""

from edgecv.kernels.decode import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.drawing import blend_labels, colorize, draw_boxes
from edgecv.kernels.letterbox import letterbox
from edgecv.kernels.nms import nms

__all__ = [
    "blend_labels",
    "colorize",
    "decode_nanodet",
    "decode_ssd",
    "decode_yolo",
    "decode_yolox",
    "draw_boxes",
    "letterbox",
    "nms",
]
