"""Train, export, run: the file in plain onnxruntime is as accurate as PyTorch was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("faster_coco_eval")

from torch.optim.swa_utils import update_bn  # noqa: E402

from edgecv.data import open_classification, open_dataset  # noqa: E402
from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.data.batches import Batch, TrainingBatches  # noqa: E402
from edgecv.data.dataset import DetectionDataset  # noqa: E402
from edgecv.data.targets import Target  # noqa: E402
from edgecv.export.comparison.parity import Tolerance  # noqa: E402
from edgecv.export.to_onnx import ExportOptions, Head, export_onnx  # noqa: E402
from edgecv.images import read_image  # noqa: E402
from edgecv.metrics.classification import classification_metrics  # noqa: E402
from edgecv.metrics.detection import detection_metrics  # noqa: E402
from edgecv.models import Backbone, Detector, build_model  # noqa: E402
from edgecv.models.external import RCNN, FastRCNN  # noqa: E402
from edgecv.models.fused import torch_session  # noqa: E402
from edgecv.models.keypoint_detector import KeypointRCNN, KeypointSizes  # noqa: E402
from edgecv.models.region_detector import RegionSizes  # noqa: E402
from edgecv.models.two_stage import MaskRCNN, TwoStageSizes  # noqa: E402
from edgecv.output_spec import FusedOutput  # noqa: E402
from edgecv.proposals import ImageProposals, Proposals, sliding_windows  # noqa: E402
from edgecv.runtime.model import Model, load  # noqa: E402
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec  # noqa: E402
from edgecv.train.checkpoint import load_trained  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.recipe import configure  # noqa: E402
from edgecv.train.trainer import train  # noqa: E402

SAME = 0.002
SIZES_HW = ((96, 128), (128, 96))
BATCHES = (1, 4)
NUM_IMAGES = 8
NUM_REGIONS = 48  # of each image
POINTS = ("upper_left", "lower_right")


def found_in_batches(model: Model, images: list[Path], batch: int) -> list[Any]:
    found = []
    for first in range(0, len(images), batch):
        fitted, regions = [], []
        for path in images[first:][:batch]:
            frame = read_image(path)
            fitted.append(model.fit(frame, format="rgb24"))
            regions.append(model.propose(frame, fitted[-1][1], path=path, format="rgb24"))
        given = [boxes for boxes in regions if boxes is not None]
        outputs = model.infer(
            np.concatenate([tensor for tensor, _ in fitted]),
            np.concatenate(given) if given else None,
        )
        for row, (_, placement) in enumerate(fitted):
            own = {name: value[row : row + 1] for name, value in outputs.items()}
            found.append(model.finish(own, placement))
    return found


def assert_same_accuracy(
    detector: Detector,
    spec: ModelSpec,
    dataset: DetectionDataset,
    path: Path,
    head: Head,
    proposals: Proposals | None = None,
) -> None:
    """Export, and compare the mAP of the file with that of PyTorch, which found something."""
    images = [sample.image_path for sample in dataset.samples]
    export_onnx(
        detector,
        spec,
        path,
        images[:2],
        options=ExportOptions(head=head),
        tolerance=Tolerance(),
        proposals=proposals,
    )

    def accuracy(model: Model, batch: int) -> dict[str, float]:
        model = model.with_thresholds(score=0.001)
        if proposals is not None:
            model = model.with_proposals(proposals)
        found = found_in_batches(model, images, batch)
        summary = detection_metrics(dataset, model.spec.classes, found).summary
        return {name: summary[name] for name in ("AP", "AP50")}

    with load(path) as exported:
        assert isinstance(exported.spec.output, FusedOutput) == (head == "fused")
        expected = accuracy(Model(torch_session(detector, exported.spec)), 4)
        assert 0.02 < expected["AP"] < 0.98
        for batch in BATCHES:
            assert accuracy(exported, batch) == pytest.approx(expected, abs=SAME)


@pytest.mark.slow
def test_an_export_is_as_accurate_as_the_training(
    scenes: Path, tmp_path: Path, silent_observer: Any
) -> None:
    """At the size of the training, and at another, which its weights serve as well."""
    data = f"coco:{scenes}"
    config = TrainConfig(
        "yolo_n",
        data,
        epochs=14,
        size_hw=SIZES_HW[0],
        batch_size=4,
        weights="none",
        backbone_rate=1.0,
        precision="float32",
    )
    train(config, tmp_path / "run", silent_observer)
    trained = load_trained(tmp_path / "run" / "best.pt")
    dataset = open_dataset(data, "train")  # what was learnt, so that there is something to find
    assert_same_accuracy(trained.network, trained.spec, dataset, tmp_path / "model.onnx", "fused")
    turned = build_model("yolo_n", len(dataset.classes), SIZES_HW[1]).eval()
    turned.load_state_dict(trained.network.state_dict())
    spec = replace(trained.spec, input=replace(trained.spec.input, size_hw=SIZES_HW[1]))
    assert_same_accuracy(turned, spec, dataset, tmp_path / "turned.onnx", "fused")


@dataclass(frozen=True)
class Family:
    """How a family is built for 3 classes, how it learns a few images by heart, and its exports.

    `is_walked` is of what no other test asks whether TensorRT's parsers take it.
    """

    build: Callable[[tuple[int, int]], Detector]
    num_steps: int
    rate: float
    exports: tuple[tuple[tuple[int, int], Head], ...]
    is_walked: bool = False


def registered(name: str, **options: str) -> Callable[[tuple[int, int]], Detector]:
    # Small trunks: what is compared are the heads, and what comes behind them.
    backbone = None if name == "ssd_mobilenetv2" else "mobilenet_v3_small"
    return lambda size_hw: build_model(name, 3, size_hw, backbone=backbone, options=options)


SMALL = TwoStageSizes(
    strides=(8, 16, 32),
    width=32,
    hidden=64,
    anchor_scale=4,
    num_candidates=100,
    num_proposals=50,
    num_sampled_regions=32,
)


def small_mask_rcnn(size_hw: tuple[int, int]) -> MaskRCNN:
    return MaskRCNN(Backbone("mobilenet_v3_small", SMALL.strides), 3, size_hw, SMALL)


def small_keypoint_rcnn(size_hw: tuple[int, int]) -> KeypointRCNN:
    trunk = Backbone("mobilenet_v3_small", SMALL.strides)
    sizes = KeypointSizes(SMALL, width=16, num_convs=1)
    return KeypointRCNN(trunk, 3, size_hw, len(POINTS), sizes)


def small_fast_rcnn(size_hw: tuple[int, int]) -> FastRCNN:
    sizes = RegionSizes(strides=(8,), hidden=64, num_proposals=NUM_REGIONS, num_sampled_regions=32)
    return FastRCNN(Backbone("mobilenet_v3_small", sizes.strides), 3, size_hw, sizes, roi="pool")


def small_rcnn(size_hw: tuple[int, int]) -> RCNN:
    sizes = RegionSizes(strides=(1,), num_proposals=NUM_REGIONS, num_sampled_regions=16)
    trunk = Backbone("mobilenet_v3_small", (32,))
    return RCNN(trunk, 3, size_hw, sizes, crop=64, context=4)


# Tracing takes longest: two exports of one detector, one of each other.
WIDE: tuple[tuple[int, int], Head] = (SIZES_HW[0], "fused")
HIGH: tuple[tuple[int, int], Head] = (SIZES_HW[1], "fused")
RAW: tuple[tuple[int, int], Head] = (SIZES_HW[1], "raw")
FAMILIES = {
    "ssd_mobilenetv2": Family(registered("ssd_mobilenetv2"), 64, 2e-3, (WIDE, RAW)),
    "ssdlite, all pairs": Family(
        registered("ssdlite", anchors="all-pairs"), 48, 4e-3, (RAW,), is_walked=True
    ),
    "fcos": Family(registered("fcos"), 48, 2e-3, (WIDE,)),
    "retinanet": Family(registered("retinanet"), 64, 1e-3, (RAW,), is_walked=True),
    "faster_rcnn_lite": Family(registered("faster_rcnn_lite"), 32, 1e-3, (HIGH,)),
    "mask_rcnn": Family(small_mask_rcnn, 64, 2e-3, (WIDE,)),
    "keypoint_rcnn": Family(small_keypoint_rcnn, 96, 2e-3, (WIDE,)),
    "fast_rcnn": Family(small_fast_rcnn, 40, 2e-3, (HIGH,)),
    "rcnn": Family(small_rcnn, 32, 2e-3, (WIDE,)),
}


def completed(target: Target, size_hw: tuple[int, int]) -> Target:
    """The scenes have boxes alone: each object fills its box and has a point in two corners."""
    masks = torch.zeros(len(target.class_ids), *size_hw, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, target.boxes_xyxy.round().int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    corners = target.boxes_xyxy.view(-1, len(POINTS), 2)
    keypoints = torch.cat([corners, torch.full_like(corners[..., :1], 2)], dim=2)
    return replace(target, masks=masks, keypoints=keypoints)


def regions_near_objects(dataset: DetectionDataset) -> Proposals:
    """What a good method would propose: boxes about the objects, and elsewhere."""
    rng = np.random.default_rng(0)
    images = {}
    for sample in dataset.samples:
        boxes = np.repeat(sample.boxes_xyxy, 4, axis=0)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        near = boxes + sides * rng.uniform(-0.12, 0.12, boxes.shape)
        windows = sliding_windows(sample.size_hw, NUM_REGIONS)
        regions = np.concatenate([near, windows])[:NUM_REGIONS].astype(np.float32)
        images[sample.image_path.name] = ImageProposals(sample.size_hw, regions)
    return Proposals(None, images)


def learn(detectors: Sequence[Detector], batches: Sequence[Batch], family: Family) -> None:
    """Take turns on the batches, each with the detector of its size; the weights are shared."""
    optimizer = torch.optim.AdamW(detectors[0].parameters(), lr=family.rate)
    for step in range(family.num_steps):
        detector, batch = detectors[step % len(detectors)], batches[step % len(batches)]
        size_hw = batch.images.shape[2:]
        targets = [completed(target, size_hw) for target in batch.targets]
        factor = 0.2 if step > 0.7 * family.num_steps else min(1.0, (step + 1) / 5)
        optimizer.param_groups[0]["lr"] = family.rate * factor
        losses = detector.losses(batch.images, targets)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(detectors[0].parameters(), 10.0)
        optimizer.step()
    # So few steps leave the running statistics of the norms behind.
    update_bn([batch.images for batch in batches], detectors[0].backbone())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_keeps_its_accuracy(
    family: Family, scenes: Path, tmp_path: Path, tensorrt_takes: Callable[[Path], None]
) -> None:
    """One training on both sizes, and what is exported finds as much."""
    torch.manual_seed(0)
    dataset = open_dataset(f"coco:{scenes}", "train")
    dataset = replace(dataset, samples=dataset.samples[:NUM_IMAGES])
    regions = regions_near_objects(dataset)
    dataset = dataset.with_proposals(regions)
    detectors, specs, batches = [], {}, []
    for size_hw in SIZES_HW:
        detector = family.build(size_hw).train()
        if detectors:
            detector.load_state_dict(detectors[0].state_dict(keep_vars=True), assign=True)
        wanted = InputSpec("images", size_hw, mean=(0.5,) * 3, std=(0.25,) * 3)
        thresholds = PostprocessSpec(multi_label=True)
        specs[size_hw] = ModelSpec(
            detector.task,
            dataset.classes,
            wanted,
            detector.output_spec(),
            thresholds,
            proposals=detector.proposals_spec(),
            keypoints=POINTS if detector.task == "keypoints" else (),
        )
        detectors.append(detector)
        drawn = TrainingBatches(
            dataset,
            wanted,
            batch_size=4,
            seed=0,
            workers=0,
            recipe=read_recipe("none"),
            with_proposals=True,
        )
        batches.append(list(drawn.epoch(0)))
    learn(detectors, [batch for pair in zip(*batches, strict=True) for batch in pair], family)
    trained = dict(zip(SIZES_HW, detectors, strict=True))
    for size_hw, head in family.exports:
        spec, path = specs[size_hw], tmp_path / f"{head}.onnx"
        given = None if spec.proposals is None else regions
        assert_same_accuracy(trained[size_hw].eval(), spec, dataset, path, head, given)
        if family.is_walked:
            tensorrt_takes(path)


@pytest.mark.parametrize("size_hw", [(32, 32), (40, 48)])
@pytest.mark.parametrize("head", ["fused", "raw"])
def test_an_exported_classifier_is_as_accurate_as_the_training(
    shapes: Path,
    tmp_path: Path,
    silent_observer: Any,
    size_hw: tuple[int, int],
    head: Any,
) -> None:
    settings = {
        "model": "lenet",
        "data": f"folder:{shapes}",
        "epochs": 6,
        "size_hw": size_hw,
        "batch_size": 12,
        "learning_rate": 5e-3,
        "precision": "float32",
    }
    train(configure(settings, {}), tmp_path / "run", silent_observer)
    trained = load_trained(tmp_path / "run" / "best.pt")
    dataset = open_classification(str(shapes), "test")
    images = [sample.image_path for sample in dataset.samples]
    path = tmp_path / "model.onnx"
    export_onnx(
        trained.network,
        trained.spec,
        path,
        images[:2],
        options=ExportOptions(head=head),
        tolerance=Tolerance(),
    )

    def accuracy(model: Model, batch: int) -> float:
        found = found_in_batches(model, images, batch)
        return classification_metrics(dataset, model.spec.classes, found).summary["top1"]

    with load(path) as exported:
        reference = Model(torch_session(trained.network, exported.spec))
        expected = accuracy(reference, 4)
        assert expected > 0.5  # better than chance, a third
        for batch in (1, 4):
            assert accuracy(exported, batch) == expected
