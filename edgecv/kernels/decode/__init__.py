"""From a detection head's raw output to detections: decode, threshold, suppress, map back.

Common to all: a candidate has score > score_threshold, both rounded to float32; a NaN score is
none. More than 30000 candidates are cut to the best 30000 (Ultralytics, `max_nms`) before
`edgecv.kernels.nms`. Detections are sorted by score, equal scores by anchor, then by class.

A head is read as it comes, channels first ("cn") or anchors first ("nc"), and once.

`decode_yolo` and `decode_ssd` take heads on a GPU too, of float32 or float16, one or a batch with a
leading axis. They return `EdgeNmsOutput`, rows of a fixed number per image, and nothing waits: with
`out` and `workspace` a call can be captured in a CUDA graph.
"""

from edgecv.kernels.decode.nanodet import decode_nanodet
from edgecv.kernels.decode.ssd import Activation, decode_ssd
from edgecv.kernels.decode.yolo import decode_yolo
from edgecv.kernels.decode.yolox import decode_yolox
from edgecv.kernels.head_arguments import Layout

__all__ = [
    "Activation",
    "Layout",
    "decode_nanodet",
    "decode_ssd",
    "decode_yolo",
    "decode_yolox",
]
