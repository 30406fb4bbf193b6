"""Train, export, run: the file in plain onnxruntime is as accurate as PyTorch was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("faster_coco_eval")

from edgecv.data import open_classification, open_dataset
from edgecv.export.parity import Tolerance
from edgecv.export.to_onnx import ExportOptions, export_onnx
from edgecv.images import read_image
from edgecv.metrics.classification import classification_metrics
from edgecv.metrics.detection import detection_metrics
from edgecv.models.fused import torch_session
from edgecv.runtime.model import Model, load
from edgecv.train.checkpoint import load_trained
from edgecv.train.config import TrainConfig
from edgecv.train.recipe import configure
from edgecv.train.trainer import train

SAME = 0.002


def found_in_batches(model: Model, images: list[Path], batch: int) -> list[Any]:
    found = []
    for first in range(0, len(images), batch):
        fitted = [model.fit(read_image(path), format="rgb24") for path in images[first:][:batch]]
        outputs = model.infer(np.concatenate([tensor for tensor, _ in fitted]))
        for row, (_, placement) in enumerate(fitted):
            own = {name: value[row : row + 1] for name, value in outputs.items()}
            found.append(model.finish(own, placement))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", [(96, 128), (128, 96)])
def test_an_export_is_as_accurate_as_the_training(
    scenes: Path,
    tmp_path: Path,
    silent_observer: Any,
    size_hw: tuple[int, int],
) -> None:
    data = f"coco:{scenes}"
    config = TrainConfig(
        "yolo_n",
        data,
        epochs=14,
        size_hw=size_hw,
        batch_size=4,
        weights="none",
        backbone_rate=1.0,
        precision="float32",
    )
    train(config, tmp_path / "run", silent_observer)
    trained = load_trained(tmp_path / "run" / "best.pt")
    dataset = open_dataset(data, "train")  # what was learnt, so that there is something to find
    images = [sample.image_path for sample in dataset.samples]
    path = tmp_path / "model.onnx"
    options = ExportOptions(head="fused")
    export_onnx(
        trained.network, trained.spec, path, images[:2], options=options, tolerance=Tolerance()
    )

    def accuracy(model: Model, batch: int) -> float:
        found = found_in_batches(model.with_thresholds(score=0.001), images, batch)
        return detection_metrics(dataset, model.spec.classes, found).summary["AP50"]

    with load(path) as exported:
        reference = Model(torch_session(trained.network, exported.spec))
        expected = accuracy(reference, 4)
        assert expected > 0.05
        for batch in (1, 4):
            assert accuracy(exported, batch) == pytest.approx(expected, abs=SAME)


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
