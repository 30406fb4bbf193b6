"""A model with masks, from training to evaluation: its masks are measured, and rank its epochs."""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from edgecv.cli.training_bar import TrainingBar
from edgecv.models.fused import torch_session
from edgecv.runtime.model import Model
from edgecv.train.checkpoint import Progress, load_trained
from edgecv.train.config import TrainConfig
from edgecv.train.detection import DetectionTask
from edgecv.train.report import keep_detections, kept_detections, report_training
from edgecv.train.trainer import resume, train

pytestmark = pytest.mark.slow

SIZE_WH = (96, 64)
MASKS = ("mask_AP", "mask_AP50", "mask_AP75", "mask_AR100")


class Run(NamedTuple):
    folder: Path
    data: str
    lines: str

    @property
    def history(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = json.loads((self.folder / "history.json").read_text())
        return content


def draw_shapes(folder: Path) -> None:
    """Images of an ellipse each, bright or dark, with its outline."""
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, 5):
        category = 1 + number % 2
        centre, radius = rng.uniform([35, 25], [60, 40]), rng.uniform(14, 22, 2)
        corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        picture = Image.new("RGB", SIZE_WH, (110, 110, 110))
        fill = (255, 220, 0) if category == 1 else (0, 20, 60)
        ImageDraw.Draw(picture).polygon([tuple(corner) for corner in corners.tolist()], fill=fill)
        picture.save(folder / "images" / f"{number}.png")
        low, high = corners.min(axis=0), corners.max(axis=0)
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 64})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": category,
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "area": float(np.pi * radius.prod()),
                "iscrowd": 0,
                "segmentation": [corners.ravel().tolist()],
            }
        )
    categories = [{"id": 1, "name": "bright"}, {"id": 2, "name": "dark"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for split in ("train", "val"):
        (folder / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("instance")
    draw_shapes(root / "shapes")
    data = f"coco:{root / 'shapes'}"
    config = TrainConfig(
        "mask_rcnn_lite",
        data,
        epochs=2,
        size_hw=(64, 96),
        batch_size=4,
        weights="none",
        backbone="mobilenet_v3_small",
        precision="float32",
    )
    screen = Console(record=True, width=200, file=io.StringIO())
    with TrainingBar(screen) as bar:
        train(config, root / "run", bar)
    return Run(root / "run", data, screen.export_text())


@pytest.fixture
def model(run: Run) -> Model:
    """What was trained, in PyTorch."""
    trained = load_trained(run.folder / "best.pt")
    return Model(torch_session(trained.network, trained.spec))


def test_the_masks_of_every_epoch_are_measured(run: Run) -> None:
    history = run.history
    for record in history:
        assert set(MASKS) <= record.keys()
        assert set(MASKS) <= record["per_class"]["dark"].keys()
        assert f"mask AP50 {record['mask_AP50']:.4f}" in run.lines
    best = max(history, key=lambda record: record["mask_AP"])
    stated = load_trained(run.folder / "best.pt").spec.provenance.metrics
    for name in ("AP", "mask_AP", "mask_AP50"):
        assert stated[f"val_{name}"] == pytest.approx(best[name], abs=1e-5)


def test_the_masks_choose_the_best_epoch_of_a_model_that_finds_masks(run: Run) -> None:
    for model, first in (("mask_rcnn_lite", "mask_AP"), ("ssd_mobilenetv2", "AP")):
        config = TrainConfig(model, run.data, size_hw=(64, 96))
        assert DetectionTask(config).figures[0] == first


def test_tensorboard_shows_both(run: Run) -> None:
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    for name in ("AP", "AP50", "mask_AP", "mask_AP50"):
        values = [event.value for event in events.Scalars(f"validation/{name}")]
        assert values == pytest.approx([record[name] for record in run.history], abs=1e-5)


def test_the_report_has_the_masks_of_the_best_epoch(run: Run, silent_observer: Any) -> None:
    best = max(run.history, key=lambda record: record["mask_AP"])
    for _ in range(2):
        written = json.loads((run.folder / "metrics.json").read_text())
        assert {key: written[key] for key in ("AP", *MASKS)} == {
            key: best[key] for key in ("AP", *MASKS)
        }
        assert written["per_class"]["bright"] == best["per_class"]["bright"]
        page = (run.folder / "report.html").read_text()
        assert f"<b>{best['mask_AP50']:.3f}</b><span>mask AP at IoU 0.50</span>" in page
        assert "<th>mask AP medium</th>" in page
        (run.folder / "metrics.json").unlink()
        assert "report.html" in resume(run.folder, silent_observer).report  # the boxes are kept


def test_a_history_without_masks_is_reported_too(run: Run, tmp_path: Path) -> None:
    def bare(figures: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in figures.items() if not key.startswith("mask_")}

    history = [
        bare(record) | {"per_class": {k: bare(v) for k, v in record["per_class"].items()}}
        for record in run.history
    ]
    keep_detections(tmp_path, kept_detections(run.folder))
    trained = load_trained(run.folder / "best.pt")
    progress = Progress(history=history, best_epoch=1)
    task = DetectionTask(trained.config)
    line = report_training(task, tmp_path, trained.spec, progress)
    assert line == f"Report: {tmp_path / 'report.html'}"
    assert "mask_AP" not in (tmp_path / "metrics.json").read_text()


def test_the_evaluation_measures_the_masks_as_the_training_did(
    run: Run, model: Model, monkeypatch: pytest.MonkeyPatch, edgecv: Any, tmp_path: Path
) -> None:
    best = max(run.history, key=lambda record: record["mask_AP"])
    monkeypatch.setattr("edgecv.runtime.model.load", lambda *_, **__: model)
    figures, report = tmp_path / "eval.json", tmp_path / "report"
    outcome = edgecv(
        *("eval", "best.onnx", "--data", run.data, "--score", "0.01"),
        *("--json", figures, "--report", report),
    )
    assert outcome.code == 0, outcome.err
    measured = json.loads(figures.read_text())
    for name in ("AP", *MASKS):
        assert measured[name] == pytest.approx(best[name], abs=1e-5)
        assert measured["per_class"]["dark"][name] == pytest.approx(
            best["per_class"]["dark"][name], abs=1e-5
        )
    assert "mask_AP_medium" in outcome.out
    assert "mask AP75" in outcome.out
    assert "<th>mask AP50</th>" in (report / "report.html").read_text()
