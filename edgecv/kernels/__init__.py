"""Array kernels: one public function per operator, several interchangeable implementations."""

from edgecv.kernels.decode import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.letterbox import letterbox
from edgecv.kernels.nms import nms
from edgecv.kernels.paste_masks import paste_masks, paste_masks_rle
from edgecv.kernels.resize_argmax import resize_argmax

__all__ = [
    "decode_nanodet",
    "decode_ssd",
    "decode_yolo",
    "decode_yolox",
    "letterbox",
    "nms",
    "paste_masks",
    "paste_masks_rle",
    "resize_argmax",
]
