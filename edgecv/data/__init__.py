"""Detection data sets: read from VOC, COCO and YOLO layouts, every annotation checked.

This half needs NumPy and Pillow only and runs on a device; what feeds a training (augmentation,
batches) imports torch and is not imported from here.
"""

from edgecv.data.dataset import open_dataset
from edgecv.data.download import extract, fetch
from edgecv.data.known import data_root, register_dataset
from edgecv.data.samples import DetectionDataset, OnBad, Problem, Sample

__all__ = [
    "DetectionDataset",
    "OnBad",
    "Problem",
    "Sample",
    "data_root",
    "extract",
    "fetch",
    "open_dataset",
    "register_dataset",
]
