"""Array kernels: one public function per operator, several interchangeable implementations."""

from edgecv.errors import MissingDependencyError

try:
    import edgecv.kernels._native  # noqa: F401  # what all operators need
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "edgecv's native kernels are not built here. Build them with `pip install .` in the "
        "checkout; it needs a C++17 compiler."
    ) from error

from edgecv.kernels.box_iou import box_iou
from edgecv.kernels.byte_track import TrackTable, byte_track
from edgecv.kernels.decode import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.kernels.drawing import blend_labels, colorize, draw_boxes, draw_masks
from edgecv.kernels.edge_nms import EdgeNmsOutput, edge_nms
from edgecv.kernels.letterbox import letterbox, letterbox_batch
from edgecv.kernels.linear_assignment import linear_assignment
from edgecv.kernels.nms import nms
from edgecv.kernels.paste_masks import paste_masks, paste_masks_rle
from edgecv.kernels.resize_argmax import resize_argmax
from edgecv.kernels.roi_pool import roi_pool
from edgecv.kernels.rois import roi_align, roi_align_pyramid
from edgecv.kernels.soft_nms import soft_nms
from edgecv.kernels.threads import num_threads, set_num_threads

__all__ = [
    "EdgeNmsOutput",
    "TrackTable",
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
    "letterbox_batch",
    "linear_assignment",
    "nms",
    "num_threads",
    "paste_masks",
    "paste_masks_rle",
    "resize_argmax",
    "roi_align",
    "roi_align_pyramid",
    "roi_pool",
    "set_num_threads",
    "soft_nms",
]
