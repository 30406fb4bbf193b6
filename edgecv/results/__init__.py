"""What a user receives from a model."""

from edgecv.results.classification import Classification
from edgecv.results.detections import Detections, Instances, Poses
from edgecv.results.result import Result
from edgecv.results.segmentation import Segmentation

__all__ = ["Classification", "Detections", "Instances", "Poses", "Result", "Segmentation"]
