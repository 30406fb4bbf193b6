"""PyTorch models: a registry of functions that build them, and the parts that they share."""

from edgecv.models.backbone import Backbone, backbone_names, features_of, has_imagenet_weights
from edgecv.models.classifier import Classifier
from edgecv.models.detector import Detector, InstanceDetector, KeypointDetector
from edgecv.models.external import fast_rcnn, rcnn
from edgecv.models.fcos import fcos
from edgecv.models.keypoint_detector import keypoint_rcnn, keypoint_rcnn_lite
from edgecv.models.lenet import lenet
from edgecv.models.network import Losses, Network
from edgecv.models.registry import (
    build_model,
    default_backbone,
    has_imagenet,
    model_names,
    model_options,
    model_task,
    network_options,
    register_model,
    require_model,
    takes_proposals,
)
from edgecv.models.retinanet import retinanet
from edgecv.models.ssd import ssd300, ssd512, ssd_mobilenetv2, ssdlite
from edgecv.models.two_stage import faster_rcnn, faster_rcnn_lite, mask_rcnn, mask_rcnn_lite
from edgecv.models.yolo import yolo_m, yolo_n, yolo_s

__all__ = [
    "Backbone",
    "Classifier",
    "Detector",
    "InstanceDetector",
    "KeypointDetector",
    "Losses",
    "Network",
    "backbone_names",
    "build_model",
    "default_backbone",
    "fast_rcnn",
    "faster_rcnn",
    "faster_rcnn_lite",
    "fcos",
    "features_of",
    "has_imagenet",
    "has_imagenet_weights",
    "keypoint_rcnn",
    "keypoint_rcnn_lite",
    "lenet",
    "mask_rcnn",
    "mask_rcnn_lite",
    "model_names",
    "model_options",
    "model_task",
    "network_options",
    "rcnn",
    "register_model",
    "require_model",
    "retinanet",
    "ssd300",
    "ssd512",
    "ssd_mobilenetv2",
    "ssdlite",
    "takes_proposals",
    "yolo_m",
    "yolo_n",
    "yolo_s",
]
