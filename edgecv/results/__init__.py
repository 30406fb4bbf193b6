"""What a user receives from a model."""

from edgecv.results.attributes import Attributes
from edgecv.results.classification import Classification
from edgecv.results.detections import Detections, Instances, Poses
from edgecv.results.model_results import ModelResults
from edgecv.results.result import Result
from edgecv.results.segmentation import Segmentation

__all__ = [
    "Attributes",
    "Classification",
    "Detections",
    "Instances",
    "ModelResults",
    "Poses",
    "Result",
    "Segmentation",
]
