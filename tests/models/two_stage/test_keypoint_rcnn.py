"""Keypoint R-CNN: its loss, what it learns by heart, and the same in onnxruntime alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor  # noqa: E402

from edgecv.data.targets import Target  # noqa: E402
from edgecv.errors import DatasetError, InputError  # noqa: E402
from edgecv.models import build_model, model_task  # noqa: E402
from edgecv.models.backbone import Backbone  # noqa: E402
from edgecv.models.fused import FusedDetector, FusedTorchSession  # noqa: E402
from edgecv.models.keypoint_detector import KeypointRCNN, KeypointSizes  # noqa: E402
from edgecv.models.two_stage import TwoStageSizes  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec  # noqa: E402

SIZE_HW = (96, 128)
NAMES = ("top", "left_corner", "right_corner")
TINY = KeypointSizes(
    TwoStageSizes(
        strides=(8, 16, 32),
        width=32,
        hidden=64,
        anchor_scale=4,
        num_candidates=50,
        num_proposals=30,
        num_sampled_regions=16,
    ),
    width=32,
    num_convs=2,
)


def tiny() -> KeypointRCNN:
    torch.manual_seed(0)
    trunk = Backbone("mobilenet_v3_small", TINY.regions.strides)
    model = KeypointRCNN(trunk, 2, SIZE_HW, len(NAMES), TINY)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1  # this backbone's own needs hundreds of steps
    return model.train()


def scenes() -> tuple[Tensor, list[Target]]:
    """Two kites of which three corners are marked, one with a hidden corner, and a box without."""
    images = torch.full((2, 3, *SIZE_HW), -0.5)
    points = torch.tensor(
        [
            [[45.3, 22.1, 2], [21.2, 70.4, 2], [74.8, 66.5, 1]],
            [[80.6, 18.2, 2], [50.5, 60.9, 0], [115.1, 71.7, 2]],
        ]
    )
    for image, corners in zip(images, points, strict=True):
        rows, columns = torch.meshgrid(*map(torch.arange, SIZE_HW), indexing="ij")
        (ax, ay), (bx, by), (cx, cy) = corners[:, :2].tolist()
        sides = [
            (x2 - x1) * (rows - y1) - (y2 - y1) * (columns - x1)
            for x1, y1, x2, y2 in ((ax, ay, bx, by), (bx, by, cx, cy), (cx, cy, ax, ay))
        ]
        image[:, torch.stack(sides).lt(0).all(dim=0)] = torch.tensor([1.0, 0.3, -1.0])[:, None]
        for channel, (x, y, _) in enumerate(corners.tolist()):
            image[channel, round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 2
    images[1, 2, 70:92, 5:35] = 2
    # With a margin, as people have: a point outside the box that was found cannot be reached.
    boxes = [torch.cat([p[:, :2].amin(dim=0) - 7, p[:, :2].amax(dim=0) + 7])[None] for p in points]
    other = torch.tensor([[5.0, 70, 35, 92]])
    return images, [
        Target(boxes[0], torch.tensor([0]), keypoints=points[:1]),
        Target(
            torch.cat([boxes[1], other]),
            torch.tensor([0, 1]),
            keypoints=torch.cat([points[1:], torch.zeros(1, 3, 3)]),
        ),
    ]


@pytest.fixture(scope="module")
def learnt() -> Iterator[KeypointRCNN]:
    """A tiny model that knows the scenes by heart, trained with sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = tiny()
    images, targets = scenes()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=100)
    for _ in range(100):
        losses = model.losses(images, targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        schedule.step()
    yield model.eval()
    torch.set_num_threads(before)


def test_learns_keypoints_by_heart(learnt: KeypointRCNN) -> None:
    images, targets = scenes()
    fused = FusedDetector(learnt, max_detections=10, class_agnostic=False)
    assert fused.output_names[-1] == "keypoints"
    with torch.inference_mode():
        counts, boxes, _, classes, keypoints = fused(images, torch.tensor(0.5), torch.tensor(0.4))
    assert counts.tolist() == [1, 2]
    assert keypoints.shape == (2, 10, 3, 3)
    for image, target in enumerate(targets):
        (row,) = torch.nonzero(classes[image] == 0).flatten()
        torch.testing.assert_close(boxes[image, row], target.boxes_xyxy[0], rtol=0, atol=6)
        assert target.keypoints is not None
        wanted = target.keypoints[0]
        is_labelled = wanted[:, 2] > 0
        found = keypoints[image, row][is_labelled]
        distance = (found[:, :2] - wanted[is_labelled, :2]).norm(dim=-1)
        assert distance.max() < 3
        assert (found[:, 2] > 0.2).all()
        assert (found[:, 2] <= 1).all()


def describe(model: Any) -> ModelSpec:
    return ModelSpec(
        task=model.task,
        classes=("kite", "ball"),
        input=InputSpec("images", SIZE_HW, mean=(0.5,) * 3, std=(0.2,) * 3),
        output=model.output_spec(),
        postprocess=PostprocessSpec(score_threshold=0.3),
        keypoints=NAMES,
        skeleton=((0, 1), (0, 2)),
    )


@pytest.mark.slow
def test_the_file_finds_what_pytorch_finds(
    learnt: KeypointRCNN, tmp_path: Path, tensorrt_takes: Callable[[Path], None]
) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    from edgecv.export.comparison.parity import Tolerance
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.results import Poses
    from edgecv.runtime.model import load

    images, targets = scenes()
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for image, path in zip(images, paths, strict=True):
        pixels = ((image * 0.2 + 0.5).clamp(0, 1) * 255).round().byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    file = tmp_path / "model.onnx"
    options = ExportOptions(max_detections=8)
    report = export_onnx(
        learnt, describe(learnt), file, paths, options=options, tolerance=Tolerance()
    )
    assert report.num_keypoints == 3 * report.num_matched >= 9
    assert report.num_strayed == 0
    tensorrt_takes(file)

    with load(file) as model:
        assert model.spec.keypoints == NAMES
        found = model(paths[0])
        assert isinstance(found, Poses)
        assert (found.names, found.skeleton) == (NAMES, ((0, 1), (0, 2)))
        assert targets[0].keypoints is not None
        wanted = targets[0].keypoints[0, :, :2].numpy()
        np.testing.assert_allclose(found.keypoints[0, :, :2], wanted, atol=3)
        reference = FusedTorchSession(learnt, model.spec)
    plain = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [node.name for node in plain.get_outputs()]
    for count in (1, 4):
        pixels = torch.cat([images, images.flip(-1)])[:count].numpy()
        expected = reference.run(pixels)
        outputs = dict(zip(names, plain.run(None, {"images": pixels}), strict=True))
        np.testing.assert_array_equal(outputs["classes"], expected["classes"])
        valid = expected["classes"] >= 0
        assert valid.any()
        np.testing.assert_allclose(
            outputs["keypoints"][valid][..., :2], expected["keypoints"][valid][..., :2], atol=0.1
        )
        np.testing.assert_allclose(
            outputs["keypoints"][valid][..., 2], expected["keypoints"][valid][..., 2], atol=1e-3
        )


def test_every_parameter_is_reached_where_nothing_is_labelled() -> None:
    images, targets = scenes()
    model = tiny()
    bare = [
        replace(target, keypoints=torch.zeros(len(target.class_ids), 3, 3)) for target in targets
    ]
    losses = model.losses(images, bare)
    assert list(losses.parts) == ["objectness", "region", "class", "box", "keypoint"]
    assert losses.parts["keypoint"].item() == 0
    losses.total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_image_without_objects_is_learnt_too() -> None:
    images, targets = scenes()
    nothing = Target(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), keypoints=torch.zeros(0, 3, 3)
    )
    losses = tiny().losses(images, [nothing, targets[1]])
    assert losses.total.isfinite()
    assert losses.parts["keypoint"] > 1


def test_losses_stand_half_precision() -> None:
    images, targets = scenes()
    with torch.autocast("cpu", torch.bfloat16):
        losses = tiny().losses(images, targets)
    losses.total.backward()
    assert all(value.dtype == torch.float32 for value in losses.parts.values())
    assert all(value.isfinite() for value in losses.parts.values())


def test_keypoints_are_needed_to_learn_keypoints() -> None:
    images, targets = scenes()
    bare = [replace(target, keypoints=None) for target in targets]
    with pytest.raises(DatasetError, match=r"learns from keypoints.*Choose `faster_rcnn`"):
        tiny().losses(images, bare)


@pytest.mark.parametrize(
    ("name", "num_convs", "width"), [("keypoint_rcnn", 8, 512), ("keypoint_rcnn_lite", 4, 128)]
)
def test_the_registry_builds_both(name: str, num_convs: int, width: int) -> None:
    assert model_task(name) == "keypoints"
    model = build_model(name, 1, (64, 64), backbone="mobilenet_v3_small", num_keypoints=17)
    assert isinstance(model, KeypointRCNN)
    assert (model.num_keypoints, len(model.keypoint_head.convs)) == (17, num_convs)
    assert model.keypoint_head.heatmaps.weight.shape[:2] == (width, 17)
    with pytest.raises(InputError, match=r"finds keypoints, and `num_keypoints` must be at least"):
        build_model(name, 1, (64, 64))
