"""decode_yolo and decode_ssd on a GPU: batches, half floats, thresholds, what is refused."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import EdgeNmsOutput, decode_ssd, decode_yolo
from edgecv.placement import Placement

from ..conftest import Place  # noqa: TID252  # the folder above
from .conftest import SIZE_HW, make_ssd_head, make_yolo_dfl_head, make_yolo_head

Floats = NDArray[np.float32]

COMMON: dict[str, Any] = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 20}


def images_of(place: Place, found: EdgeNmsOutput) -> list[tuple[Floats, Floats, NDArray[np.int32]]]:
    counts, *parts = (place.numpy(array) for array in found)
    return [
        tuple(part[image, :count] for part in parts)  # type: ignore[misc]
        for image, count in enumerate(counts)
    ]


@pytest.mark.parametrize("layout", ["cn", "nc"])
@pytest.mark.parametrize("reg_max", [0, 8])
def test_a_batch_is_its_images(gpu: Place, layout: str, reg_max: int) -> None:
    if reg_max == 0:
        heads = [make_yolo_head(150, num_classes=3, seed=seed) for seed in range(3)]
        options = dict(COMMON)
    else:
        heads = [make_yolo_dfl_head(num_classes=3, reg_max=8, seed=seed) for seed in range(3)]
        options = COMMON | {"reg_max": 8, "size_hw": SIZE_HW}
    options["layout"] = layout
    heads = [head if layout == "cn" else np.ascontiguousarray(head.T) for head in heads]
    found = images_of(gpu, decode_yolo(gpu.array(np.stack(heads)), **options))
    assert len(found) == 3
    for head, (boxes, scores, class_ids) in zip(heads, found, strict=True):
        expected = decode_yolo(head, **options)
        np.testing.assert_array_equal(class_ids, expected.class_ids)
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-5)
        np.testing.assert_allclose(boxes, expected.boxes_xyxy, rtol=0, atol=1e-3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_half_floats_are_decoded_in_float32(gpu: Place, activation: Any) -> None:
    heads = [make_ssd_head(100, num_classes=4, seed=seed) for seed in range(2)]
    anchors = heads[0][2]
    offsets, logits = (np.stack([head[k] for head in heads]).astype(np.float16) for k in (0, 1))
    options: dict[str, Any] = COMMON | {"activation": activation}
    found = decode_ssd(gpu.array(offsets), gpu.array(logits), gpu.array(anchors), **options)
    for image, (boxes, scores, class_ids) in enumerate(images_of(gpu, found)):
        halves = (part[image].astype(np.float32) for part in (offsets, logits))
        expected = decode_ssd(*halves, anchors, **options)
        np.testing.assert_array_equal(class_ids, expected.class_ids)
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-5)
        np.testing.assert_allclose(boxes, expected.boxes_xyxy, rtol=1e-4, atol=1e-3)


def test_thresholds_in_device_memory_count_when_the_kernels_run(gpu: Place) -> None:
    head = make_yolo_head(100, num_classes=2)
    for score, iou in ((0.2, 0.3), (0.6, 0.9)):
        options = {"max_detections": 50}
        limits = {"score_threshold": np.float32(score), "iou_threshold": np.float32(iou)}
        there = {name: gpu.array(np.array([value])) for name, value in limits.items()}
        (found,) = images_of(gpu, decode_yolo(gpu.array(head), **options, **there))
        expected = decode_yolo(head, **options, **{k: float(v) for k, v in limits.items()})
        np.testing.assert_array_equal(found[0], expected.boxes_xyxy)


def test_placements_bring_boxes_back_to_their_frames(gpu: Place) -> None:
    heads = [make_yolo_head(60, num_classes=2, seed=seed) for seed in range(2)]
    placements = [
        Placement.of((480, 640), (96, 96), "letterbox"),
        Placement.of((200, 100), (96, 96), "letterbox"),
    ]
    rows = [(*one.scale_xy, *one.offset_xy) for one in placements]
    each = images_of(
        gpu,
        decode_yolo(
            gpu.array(np.stack(heads)), placement=gpu.array(np.array(rows, np.float32)), **COMMON
        ),
    )
    for head, placement, found in zip(heads, placements, each, strict=True):
        expected = decode_yolo(head, placement=placement, **COMMON)
        np.testing.assert_allclose(found[0], expected.boxes_xyxy, rtol=1e-6, atol=1e-4)
        (alone,) = images_of(gpu, decode_yolo(gpu.array(head), placement=placement, **COMMON))
        np.testing.assert_array_equal(alone[0], found[0])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 9), {}, "`head` must have channels for at least 1 class, got shape"),
        ((2, 3, 6, 9), {}, r"`head` must have shape \(4 \+ C, N\), got \(2, 3, 6, 9\)"),
        ((9, 4), {"reg_max": 2}, "`size_hw` must be given for a raw head"),
        ((9, 5), {"reg_max": 2, "size_hw": (16, 16), "strides": (8,)}, "`head` must have 4 anch"),
        (
            (9, 4),
            {"reg_max": 2, "size_hw": (16, 16), "strides": (1,) * 9},
            r"`len\(strides\)` must",
        ),
        ((6, 9), {"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
        ((6, 9), {"score_threshold": 1.5}, r"`score_threshold` must be in \[0, 1\], got 1.5"),
        ((6, 9), {"layout": "nhwc"}, "`layout` must be one of cn, nc, got 'nhwc'"),
    ],
)
def test_refuses_values(
    gpu: Place, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^decode_yolo: {message}"):
        decode_yolo(gpu.array(np.zeros(shape, np.float32)), **COMMON | options)


def test_refuses_a_workspace_that_is_too_small(gpu: Place) -> None:
    head, small = np.zeros((6, 9), np.float32), gpu.array(np.zeros(16, np.uint8))
    with pytest.raises(ValueError, match=r"^decode_yolo: `workspace` needs \d+ bytes for 1 heads"):
        decode_yolo(gpu.array(head), workspace=small, **COMMON)


def test_refuses_heads_that_do_not_go_together(gpu: Place) -> None:
    offsets, logits, anchors = make_ssd_head(10, num_classes=3)
    on_gpu = [gpu.array(part) for part in (offsets, logits[:9], anchors)]
    with pytest.raises(ValueError, match=r"^decode_ssd: `logits` must have shape \(10, 1 \+ C\)"):
        decode_ssd(*on_gpu, **COMMON)
    many = gpu.array(np.zeros((10, 2050), np.float32))
    with pytest.raises(ValueError, match=r"^decode_ssd: `logits` must have at most 2048 classes"):
        decode_ssd(on_gpu[0], many, on_gpu[2], **COMMON)
    with pytest.raises(TypeError, match=r"^decode_ssd: `logits` must be on the GPU, got a NumPy"):
        decode_ssd(on_gpu[0], logits, on_gpu[2], **COMMON)
