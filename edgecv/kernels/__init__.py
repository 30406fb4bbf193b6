"""Array kernels: one public function per operator, several interchangeable implementations."""

from edgecv.kernels.decode import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.letterbox import letterbox
from edgecv.kernels.nms import nms
from edgecv.kernels.rois import roi_align, roi_align_pyramid, roi_pool

__all__ = [
    "decode_nanodet",
    "decode_ssd",
    "decode_yolo",
    "decode_yolox",
    "letterbox",
    "nms",
    "roi_align",
    "roi_align_pyramid",
    "roi_pool",
]
