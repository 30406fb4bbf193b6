"""Reference implementations: the definition of every kernel, in plain NumPy.

Each function here is written from the mathematical definition, in float64, with no regard for
speed. It is the oracle of the test-suite and the document to read first. Do not optimise it, and
do not derive it from a fast implementation: an oracle that shares code with what it judges can
only repeat its mistakes.

Arguments mean what they mean in the public function of the same name. The decoders return boxes in
input pixels, scores and class ids, in the order of the public function's detections.
"""

from edgecv.kernels.reference.decoding import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.reference.drawing import blend_labels, colorize, draw_boxes, draw_masks
from edgecv.kernels.reference.fitting import letterbox
from edgecv.kernels.reference.overlap import box_iou
from edgecv.kernels.reference.pooling import roi_align, roi_align_pyramid, roi_pool
from edgecv.kernels.reference.segmentation import paste_masks, paste_masks_rle, resize_argmax
from edgecv.kernels.reference.suppression import edge_nms, nms, soft_nms
from edgecv.kernels.reference.tracking import byte_track, linear_assignment

__all__ = [
    "blend_labels",
    "box_iou",
    "byte_track",
    "colorize",
    "decode_nanodet",
    "decode_ssd",
    "decode_yolo",
    "decode_yolox",
    "draw_boxes",
    "draw_masks",
    "edge_nms",
    "letterbox",
    "linear_assignment",
    "nms",
    "paste_masks",
    "paste_masks_rle",
    "resize_argmax",
    "roi_align",
    "roi_align_pyramid",
    "roi_pool",
    "soft_nms",
]
