"""PyTorch models: a registry of functions that build them, and the parts that they share."""

from edgecv.models.detector import (
    Detector,
    build_model,
    model_names,
    register_model,
    require_model,
)
from edgecv.models.ssd import ssd_mobilenetv2

__all__ = [
    "Detector",
    "build_model",
    "model_names",
    "register_model",
    "require_model",
    "ssd_mobilenetv2",
]
