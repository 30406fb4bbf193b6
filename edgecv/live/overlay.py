"""What a browser draws over a picture: a result as data, and as a small picture where it is areas.

A new kind of result registers itself with `described`.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecv.colour import PALETTE_RGB, class_colours
from edgecv.results import Classification, Detections, Instances, Poses, Result, Segmentation

MOST_OBJECTS = 300
MOST_MASKS = 60

_LAYER_WIDTH = 480  # of a picture of areas: the browser enlarges it
_TOP = 5
_FAR = 1e6  # pixels: farther away no browser draws
_LEAST_SHARE = 0.005  # of the frame, that a class must have to be named
_BACKGROUND = "background"


@dataclass(frozen=True)
class Overlay:
    """What is drawn over one picture.

    Args:
        content: for JSON; boxes and points in pixels of the original frame.
        layer: a PNG of areas in their colours, stretched over the picture; empty without any.

    """

    content: Mapping[str, Any]
    layer: bytes = b""


@singledispatch
def described(result: Result, classes: Sequence[str], frame_hw: tuple[int, int]) -> Overlay:
    """Return what a browser draws of a result.

    Args:
        result: of one frame; one of an unknown kind is told in words.
        classes: the name of each class id.
        frame_hw: height and width of the frame in pixels.

    """
    del frame_hw
    return Overlay({"kind": "words", "words": result.headline(classes)})


@described.register
def _(result: Detections, classes: Sequence[str], frame_hw: tuple[int, int]) -> Overlay:
    del classes, frame_hw
    return Overlay(_objects(result))


@described.register
def _(result: Instances, classes: Sequence[str], frame_hw: tuple[int, int]) -> Overlay:
    del classes
    return Overlay(_objects(result), _instance_layer(result, frame_hw))


@described.register
def _(result: Poses, classes: Sequence[str], frame_hw: tuple[int, int]) -> Overlay:
    del classes, frame_hw
    shown = np.nan_to_num(result.keypoints[:MOST_OBJECTS].astype(np.float64)).clip(-_FAR, _FAR)
    points = np.concatenate([shown[..., :2].round(1), shown[..., 2:].round(3)], axis=2)
    skeleton = [list(limb) for limb in result.skeleton]
    return Overlay(_objects(result) | {"points": points.tolist(), "skeleton": skeleton})


@described.register
def _(result: Classification, classes: Sequence[str], frame_hw: tuple[int, int]) -> Overlay:
    del frame_hw
    top = [[class_id, round(score, 4)] for class_id, score in result.top(min(_TOP, len(classes)))]
    return Overlay({"kind": "classes", "top": top})


@described.register
def _(result: Segmentation, classes: Sequence[str], frame_hw: tuple[int, int]) -> Overlay:
    del frame_hw
    hidden = {i for i, name in enumerate(classes) if name.strip("_").lower() == _BACKGROUND}
    labels = _reduced(result.labels)
    seen, counts = np.unique(labels, return_counts=True)  # of the small one: it is only shown
    shares = {
        int(class_id): round(int(count) / labels.size, 4)
        for class_id, count in zip(seen, counts, strict=True)
        if count / labels.size >= _LEAST_SHARE and int(class_id) not in hidden
    }
    layer = _png(labels, class_colours(np.arange(256)), hidden)
    return Overlay({"kind": "areas", "shares": list(shares.items())}, layer)


def _objects(result: Detections) -> dict[str, Any]:
    shown = slice(MOST_OBJECTS)
    boxes = np.nan_to_num(result.boxes_xyxy[shown].astype(np.float64)).clip(-_FAR, _FAR)
    content: dict[str, Any] = {
        "kind": "objects",
        "boxes": boxes.round(1).tolist(),
        "scores": result.scores[shown].astype(np.float64).round(3).tolist(),
        "classes": result.class_ids[shown].tolist(),
        "more": max(0, len(result) - MOST_OBJECTS),
    }
    if result.track_ids is not None:
        content["tracks"] = result.track_ids[shown].tolist()
    return content


def _instance_layer(result: Instances, frame_hw: tuple[int, int]) -> bytes:
    """Return the masks in the colours of their classes, the best on top."""
    from edgecv.kernels import paste_masks  # noqa: PLC0415  # native code

    if not len(result):
        return b""
    height, width = frame_hw
    scale = min(1.0, _LAYER_WIDTH / width)
    size_hw = max(1, round(height * scale)), max(1, round(width * scale))
    factors = np.array([size_hw[1] / width, size_hw[0] / height] * 2, np.float32)
    boxes = np.ascontiguousarray(result.boxes_xyxy[:MOST_MASKS] * factors)
    masks = paste_masks(np.ascontiguousarray(result.masks[:MOST_MASKS]), boxes, size_hw)
    layer = np.zeros(size_hw, np.uint8)
    for number in reversed(range(len(masks))):
        layer[masks[number]] = number + 1
    colours = np.zeros((256, 3), np.uint8)
    colours[1 : len(masks) + 1] = class_colours(result.class_ids[:MOST_MASKS])
    return _png(layer, colours, {0})


def _reduced(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return every so-many-th pixel, so that no more than the layer's width is left."""
    step = -(-labels.shape[1] // _LAYER_WIDTH)
    return (
        np.ascontiguousarray(labels[step // 2 :: step, step // 2 :: step]) if step > 1 else labels
    )


def _png(layer: NDArray[np.uint8], colours: NDArray[np.uint8], hidden: set[int]) -> bytes:
    """Return numbers as a picture: each in its colour, those hidden transparent."""
    picture = Image.fromarray(layer)
    picture.putpalette(colours.tobytes())
    opacity = bytes(0 if number in hidden else 255 for number in range(256))
    stream = io.BytesIO()
    picture.save(stream, "png", transparency=opacity, compress_level=1)
    return stream.getvalue()


def palette() -> list[str]:
    """Return the colours of the classes as a browser writes them."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in PALETTE_RGB.tolist()]
