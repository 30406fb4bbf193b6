"""Array kernels: one public function per operator, several interchangeable implementations."""

from edgecv.kernels.decode import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.letterbox import letterbox
from edgecv.kernels.nms import nms
from edgecv.kernels.resize_argmax import resize_argmax

__all__ = [
    "decode_nanodet",
    "decode_ssd",
    "decode_yolo",
    "decode_yolox",
    "letterbox",
    "nms",
    "resize_argmax",
]
