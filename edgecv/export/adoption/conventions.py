"""How the projects that third-party models come from feed their networks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgecv.placement import Fit
from edgecv.spec import InputSpec, PostprocessSpec

Project = Literal[
    "classifier",
    "detr",
    "nanodet",
    "rf-detr",
    "rt-detr",
    "segmenter",
    "ssd",
    "torchvision",
    "ultralytics",
    "ultralytics-classifier",
    "ultralytics-rt-detr",
    "yolov5",
    "yolox",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of values in 0..1, red first
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """What a user says of the input; what is None follows from the project's own convention.

    Args:
        colour: order of the channels.
        fit: how frames are fitted.
        pad: pixel value of the bars.
        scale: factor on the pixel value.
        mean: per channel, subtracted after the scale.
        std: per channel, divided by at the end.
        size_hw: height and width, needed where the graph leaves them open.

    """

    colour: Literal["rgb", "bgr"] | None = None
    fit: Fit | None = None
    pad: int | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size_hw: tuple[int, int] | None = None


@dataclass(frozen=True)
class Convention:
    """How a project feeds its networks, and how it reads them."""

    colour: Literal["rgb", "bgr"]
    fit: Fit
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    iou_threshold: float = PostprocessSpec.iou_threshold
    multi_label: bool = False

    def input_spec(
        self,
        name: str,
        size_hw: tuple[int, int],
        layout: Literal["nchw", "nhwc"],
        dtype: Literal["float32", "float16", "uint8"],
        wanted: Preprocessing,
    ) -> InputSpec:
        """Return the description of an input; what the user said goes before the convention."""
        usual = self
        if dtype == "uint8":  # whole numbers can only be pixels: the graph normalises them itself
            usual = replace(self, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return InputSpec(
            name=name,
            size_hw=size_hw,
            layout=layout,
            dtype=dtype,
            colour=wanted.colour or usual.colour,
            fit=wanted.fit or usual.fit,
            pad=114 if wanted.pad is None else wanted.pad,
            scale=usual.scale if wanted.scale is None else wanted.scale,
            mean=usual.mean if wanted.mean is None else wanted.mean,
            std=usual.std if wanted.std is None else wanted.std,
        )


CONVENTIONS: Mapping[Project, Convention] = {
    # YOLOX ≥ 0.1.1rc0, `ValTransform(legacy=False)` and `nmsthre` of its experiments.
    "yolox": Convention("bgr", "top-left", 1.0, iou_threshold=0.65),
    # Ultralytics' `LetterBox` and the default `iou` of its validation.
    "ultralytics": Convention("rgb", "letterbox", iou_threshold=0.7),
    # The same fit and the default `--iou-thres` of YOLOv5's detection; YOLOv6 and v7 are alike.
    "yolov5": Convention("rgb", "letterbox", iou_threshold=0.45),
    # NanoDet-Plus, `normalize` and `keep_ratio: False` of its configurations.
    "nanodet": Convention(
        "bgr", "stretch", 1.0, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), 0.6
    ),
    # SSDs differ in their normalisation: values in 0..1 unless `--mean` and `--std` say otherwise.
    # Images are stretched and the threshold is 0.45 in Liu et al. 2016, sections 2.2 and 3.
    "ssd": Convention("rgb", "stretch", iou_threshold=0.45),
    # RT-DETR's evaluation: `Resize` to a square without keeping the ratio, values in 0..1; the
    # best pairs of a query and a class.
    "rt-detr": Convention("rgb", "stretch", multi_label=True),
    # Ultralytics feeds its RT-DETR stretched, and takes the best class of a query alone.
    "ultralytics-rt-detr": Convention("rgb", "stretch"),
    # RF-DETR: a square without keeping the ratio, ImageNet's mean; pairs of a query and a class.
    "rf-detr": Convention("rgb", "stretch", 1 / 255, IMAGENET_MEAN, IMAGENET_STD, multi_label=True),
    # DETR keeps the ratio and fills up to the right and below with the mean's grey.
    "detr": Convention("rgb", "top-left", 1 / 255, IMAGENET_MEAN, IMAGENET_STD),
    # torchvision's `GeneralizedRCNNTransform` normalises inside the graph and pads likewise.
    "torchvision": Convention("rgb", "top-left"),
    # What torchvision's and nearly all of timm's classifiers were trained with.
    "classifier": Convention("rgb", "centre-crop", 1 / 255, IMAGENET_MEAN, IMAGENET_STD),
    # Ultralytics' `classify_transforms`: values in 0..1 since version 8.1.
    "ultralytics-classifier": Convention("rgb", "centre-crop"),
    # torchvision's `SemanticSegmentation` normalises so; the whole frame is to be labelled.
    "segmenter": Convention("rgb", "letterbox", 1 / 255, IMAGENET_MEAN, IMAGENET_STD),
}
