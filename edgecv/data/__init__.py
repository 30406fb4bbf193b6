"""Data sets: objects from VOC, COCO and YOLO layouts, images by class; all of them checked.

This half needs NumPy and Pillow only and runs on a device; what feeds a training (augmentation,
batches) imports torch and is not imported from here.
"""

from edgecv.data.dataset import open_any, open_classification, open_dataset, open_for_task
from edgecv.data.download import extract, fetch
from edgecv.data.known import data_root, register_dataset
from edgecv.data.labelled import ClassificationDataset, LabelledImage
from edgecv.data.samples import DetectionDataset, OnBad, Problem, Sample

__all__ = [
    "ClassificationDataset",
    "DetectionDataset",
    "LabelledImage",
    "OnBad",
    "Problem",
    "Sample",
    "data_root",
    "extract",
    "fetch",
    "open_any",
    "open_classification",
    "open_dataset",
    "open_for_task",
    "register_dataset",
]
