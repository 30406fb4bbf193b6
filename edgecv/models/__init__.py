"""PyTorch models: a registry of functions that build them, and the parts that they share."""

from edgecv.models.backbone import Backbone, backbone_names, features_of, has_imagenet_weights
from edgecv.models.detector import (
    Detector,
    InstanceDetector,
    build_model,
    default_backbone,
    model_names,
    register_model,
    require_model,
)
from edgecv.models.external import fast_rcnn, rcnn
from edgecv.models.fcos import fcos
from edgecv.models.ssd import ssd300, ssd512, ssd_mobilenetv2, ssdlite
from edgecv.models.two_stage import faster_rcnn, faster_rcnn_lite, mask_rcnn
from edgecv.models.yolo import yolo_m, yolo_n, yolo_s

__all__ = [
    "Backbone",
    "Detector",
    "InstanceDetector",
    "backbone_names",
    "build_model",
    "default_backbone",
    "fast_rcnn",
    "faster_rcnn",
    "faster_rcnn_lite",
    "fcos",
    "features_of",
    "has_imagenet_weights",
    "mask_rcnn",
    "model_names",
    "rcnn",
    "register_model",
    "require_model",
    "ssd300",
    "ssd512",
    "ssd_mobilenetv2",
    "ssdlite",
    "yolo_m",
    "yolo_n",
    "yolo_s",
]
