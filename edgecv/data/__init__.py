"""Data sets: objects (VOC, COCO, YOLO), images by class, images with label images; all checked.

This half needs NumPy and Pillow only and runs on a device; what feeds a training (augmentation,
batches) imports torch and is not imported from here.
"""

from edgecv.data.dataset import (
    AnyDataset,
    open_any,
    open_classification,
    open_dataset,
    open_for_task,
    open_segmentation,
)
from edgecv.data.download import extract, fetch
from edgecv.data.known import data_root, register_dataset
from edgecv.data.labelled import ClassificationDataset, LabelledImage
from edgecv.data.pixel_labels import VOID, SegmentationDataset, SegmentedImage
from edgecv.data.samples import DetectionDataset, OnBad, Problem, Sample

__all__ = [
    "VOID",
    "AnyDataset",
    "ClassificationDataset",
    "DetectionDataset",
    "LabelledImage",
    "OnBad",
    "Problem",
    "Sample",
    "SegmentationDataset",
    "SegmentedImage",
    "data_root",
    "extract",
    "fetch",
    "open_any",
    "open_classification",
    "open_dataset",
    "open_for_task",
    "open_segmentation",
    "register_dataset",
]
