"""A description in plain words."""

import math

import pytest

from edgecv.export.inspection.description import in_words
from edgecv.output_spec import (
    AnchorLayer,
    DetrOutput,
    FusedOutput,
    ImageOutput,
    LogitsOutput,
    NanodetOutput,
    OutputSpec,
    ProbabilitiesOutput,
    SSDOutput,
    YoloOutput,
    YoloxOutput,
)
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec, ProposalsSpec, Provenance

IMAGE = InputSpec("images", (320, 416), mean=(0.5, 0.4, 0.3), std=(0.25, 0.25, 0.25))


def test_a_detector_is_described_from_end_to_end() -> None:
    spec = ModelSpec(
        "detect",
        ("cat", "dog"),
        IMAGE,
        FusedOutput(),
        PostprocessSpec(0.3, 0.5, 50, class_agnostic=True),
        Provenance("yolo_n", "bccd", "fp16", {"AP": 0.51234, "AP50": 0.9}),
        ProposalsSpec(count=200),
    )
    assert in_words(spec) == {
        "task": "detect, 2 classes: cat, dog",
        "input": "RGB 320x416 (nchw), fitted inside, centred, bars of 114, "
        "(pixel / 255 - [0.5, 0.4, 0.3]) / 0.25",
        "output": "detections, suppressed in the graph (thresholds are inputs)",
        "regions": "200 an image, from the caller",
        "limits": "scores above 0.3, overlaps above 0.5 removed in all classes, "
        "at most 50 an image",
        "origin": "yolo_n, trained on bccd, fp16, AP 0.512, AP50 0.900",
    }


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (InputSpec("x", (8, 8), scale=1, fit="stretch"), "RGB 8x8 (nchw), stretched, pixel"),
        (
            InputSpec("x", (8, 9), colour="bgr", layout="nhwc", fit="top-left", pad=0),
            "BGR 8x9 (nhwc), fitted inside at the top left, bars of 0, pixel / 255",
        ),
        (
            InputSpec("x", (8, 8), scale=math.pi, fit="centre-crop"),
            "RGB 8x8 (nchw), its centre cropped, pixel * 3.14159",
        ),
    ],
)
def test_what_becomes_of_a_pixel(image: InputSpec, words: str) -> None:
    spec = ModelSpec("classify", ("a", "b"), image, LogitsOutput())
    assert in_words(spec)["input"] == words


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (YoloOutput(), "YOLO head, decoded boxes, strides 8/16/32"),
        (YoloOutput(reg_max=16), "YOLO head, distances in 16 bins, strides 8/16/32"),
        (YoloxOutput(), "YOLOX head, strides 8/16/32"),
        (NanodetOutput(), "NanoDet head, strides 8/16/32/64"),
        (DetrOutput(), "DETR queries, softmax"),
        (
            SSDOutput((AnchorLayer((3, 4), ((0.1, 0.1), (0.2, 0.2))),)),
            "SSD offsets and softmax logits of 24 anchors",
        ),
        (
            FusedOutput(score_threshold=None),
            "detections, suppressed in the graph (thresholds fixed)",
        ),
    ],
)
def test_what_a_detector_gives(output: OutputSpec, words: str) -> None:
    assert in_words(ModelSpec("detect", ("a",), IMAGE, output))["output"] == words


def test_other_tasks() -> None:
    classifier = in_words(ModelSpec("classify", tuple("abcdefgh"), IMAGE, ProbabilitiesOutput()))
    assert classifier["task"] == "classify, 8 classes: a, b, c, d, e, f, ..."
    assert classifier["output"] == "probabilities"
    assert "limits" not in classifier
    painter = in_words(ModelSpec("stylize", (), IMAGE, ImageOutput()))
    assert (painter["task"], painter["output"]) == ("stylize", "an image, a pixel is value * 255")
    poses = ModelSpec(
        "keypoints", ("kite",), IMAGE, FusedOutput(keypoints="k"), keypoints=("nose", "tail")
    )
    assert in_words(poses)["task"] == "keypoints, 1 class: kite; 2 keypoints"
    assert in_words(poses)["output"].startswith("detections, keypoints, suppressed")
