"""A model with keypoints, by the commands: trained, exported, measured, run and drawn."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("matplotlib")

from edgecv.cli import main  # noqa: E402
from edgecv.errors import DatasetError, InputError  # noqa: E402
from edgecv.export.graphs.metadata import write_spec  # noqa: E402
from edgecv.models import build_model  # noqa: E402
from edgecv.models.keypoint_detector import KeypointSizes  # noqa: E402
from edgecv.models.two_stage import TwoStageSizes  # noqa: E402
from edgecv.results import Poses  # noqa: E402
from edgecv.runtime.model import load  # noqa: E402
from edgecv.train.checkpoint import load_trained  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.detection import DetectionTask  # noqa: E402
from edgecv.train.weights import load_weights  # noqa: E402

SIZE_WH = (96, 64)
_TIMES = 20
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
NAMES = ("top", "left_corner", "right_corner")
COLOURS = ((255, 60, 60), (60, 255, 60), (60, 60, 255))
FIGURES = ("keypoint_AP", "keypoint_AP50", "keypoint_AP75", "keypoint_AR20")
HEATMAPS = {"keypoint_head.heatmaps.weight", "keypoint_head.heatmaps.bias"}
CATEGORIES: list[dict[str, Any]] = [
    {"id": 4, "name": "kite", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]]},
    {"id": 9, "name": "ball"},
]


def fly_kites(folder: Path, **changes: Any) -> str:
    """Four images of a kite with a mark of its colour on each corner, and of a ball without.

    The training split has each of them many times, so that an epoch is many steps.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, 5):
        picture = Image.new("RGB", SIZE_WH, (90, 90, 90))
        pen = ImageDraw.Draw(picture)
        middle = rng.uniform([36, 28], [52, 36])
        corners = middle + np.array([[0, -18], [-22, 16], [22, 14]]) + rng.uniform(-3, 3, (3, 2))
        pen.polygon([tuple(corner) for corner in corners.tolist()], fill=(230, 210, 60))
        for (x, y), colour in zip(corners.tolist(), COLOURS, strict=True):
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        pen.ellipse((76, 4, 92, 20), fill=(20, 20, 20))
        picture.save(folder / "images" / f"{number}.png")
        low, high = corners.min(axis=0) - 5, corners.max(axis=0) + 5
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 64})
        labelled = np.column_stack([corners, [2, 2, 1]])
        shared = {"image_id": number, "iscrowd": 0}
        annotations += [
            {
                **shared,
                "id": 2 * number,
                "category_id": 4,
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "area": 0.5 * float((high - low).prod()),
                "keypoints": labelled.ravel().tolist(),
                "num_keypoints": 3,
            },
            {**shared, "id": 2 * number + 1, "category_id": 9, "bbox": [76, 4, 16, 16]},
        ]
    for split, times in (("train", _TIMES), ("val", 1)):
        repeated = {
            "images": [
                image | {"id": image["id"] + 10 * time} for time in range(times) for image in images
            ],
            "annotations": [
                one | {"id": one["id"] + 20 * time, "image_id": one["image_id"] + 10 * time}
                for time in range(times)
                for one in annotations
            ],
        }
        content = {**repeated, "categories": CATEGORIES, **changes}
        (folder / f"instances_{split}.json").write_text(json.dumps(content))
    return f"coco:{folder}"


class Run(NamedTuple):
    folder: Path
    data: str

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def images(self) -> Path:
        return Path(self.data.removeprefix("coco:")) / "images"

    @property
    def history(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = json.loads((self.folder / "history.json").read_text())
        return content


def command(*words: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgecv", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
    assert not exit_.value.code


@pytest.fixture(scope="module")
def kites(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fly_kites(tmp_path_factory.mktemp("kites") / "kites")


@pytest.fixture(scope="module")
def run(kites: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """What `train` and `export` leave behind, of a model that is small enough to learn quickly."""
    folder = tmp_path_factory.mktemp("poses")
    made, quick = Run(folder / "run", kites), folder / "quick.toml"
    quick.write_text("ema_decay = 0.9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgecv.models.keypoint_detector._LITE", TINY)
        command(
            *("train", "keypoint_rcnn_lite", "--data", kites, "--size", "64x96", "--batch", 4),
            *("--backbone", "resnet18", "--weights", "none", "--augment", "none"),
            *("--epochs", 3, "--lr", 0.003, "--precision", "float32", "--output", made.folder),
            *("--recipe", quick, "--quiet"),
        )
        checkpoint = made.folder / "best.pt"
        command("export", checkpoint, "--output", made.model, "--images", made.images, "--quiet")
        yield made


@pytest.mark.slow
def test_the_keypoints_of_every_epoch_are_measured_and_choose_the_best(run: Run) -> None:
    for record in run.history:
        assert set(FIGURES) <= record.keys()
        assert set(FIGURES) <= record["per_class"]["kite"].keys()
        assert record["per_class"]["ball"]["keypoint_AP"] is None  # it has none
    best = max(run.history, key=lambda record: record["keypoint_AP"])
    assert best["keypoint_AP"] > 0.8
    spec = load_trained(run.folder / "best.pt").spec
    assert spec.provenance.metrics["val_keypoint_AP"] == pytest.approx(
        best["keypoint_AP"], abs=1e-5
    )
    page = (run.folder / "report.html").read_text()
    tile = "keypoint AP at OKS 0.50"
    assert f"<b>{best['keypoint_AP50']:.3f}</b><span>{tile}</span>" in page
    assert "<th>keypoint AP large</th>" in page


@pytest.mark.slow
def test_the_file_tells_its_keypoints_and_finds_them(run: Run) -> None:
    truth = json.loads((run.images.parent / "instances_val.json").read_text())["annotations"]
    with load(run.model) as model:
        assert model.spec.task == "keypoints"
        assert model.spec.keypoints == NAMES
        assert model.spec.skeleton == ((0, 1), (0, 2))
        for number in range(1, 5):
            found = model(run.images / f"{number}.png")
            assert isinstance(found, Poses)
            row = int(np.flatnonzero(found.class_ids == 0)[0])
            kite = truth[2 * number - 2]
            wanted = np.reshape(kite["keypoints"], (3, 3))[:, :2]
            assert np.linalg.norm(found.keypoints[row, :, :2] - wanted, axis=1).max() < 3


@pytest.mark.slow
def test_the_evaluation_measures_what_the_training_did(
    run: Run, edgecv: Any, tmp_path: Path
) -> None:
    best = max(run.history, key=lambda record: record["keypoint_AP"])
    figures, report = tmp_path / "eval.json", tmp_path / "report"
    outcome = edgecv(
        *("eval", run.model, "--data", run.data, "--score", "0.01"),
        *("--json", figures, "--report", report),
    )
    assert outcome.code == 0, outcome.err
    measured = json.loads(figures.read_text())
    for name in ("AP", *FIGURES):
        assert measured[name] == pytest.approx(best[name], abs=0.02)  # another order of sums
    assert "keypoint_AP_large" in outcome.out
    assert "keypoint AP75" in outcome.out
    assert "<th>keypoint AP50</th>" in (report / "report.html").read_text()


@pytest.mark.slow
def test_a_run_writes_and_draws_the_keypoints(run: Run, edgecv: Any, tmp_path: Path) -> None:
    lines = tmp_path / "found.jsonl"
    outcome = edgecv(
        "run", run.model, "--source", run.images, "--jsonl", lines, "--save", tmp_path / "drawn"
    )
    assert outcome.code == 0, outcome.err
    first = json.loads(lines.read_text().splitlines()[0])
    kite = next(one for one in first["detections"] if one["class"] == "kite")
    assert list(kite["keypoints"]) == list(NAMES)
    x, y, score = kite["keypoints"]["top"]
    assert 0 <= score <= 1
    (drawn,) = (tmp_path / "drawn").glob("1.*")
    plain = np.asarray(Image.open(run.images / "1.png")).astype(int)
    changed = np.abs(np.asarray(Image.open(drawn).convert("RGB")).astype(int) - plain)
    assert changed[round(y - 0.5), round(x - 0.5)].sum() > 30


@pytest.mark.slow
def test_other_keypoints_start_with_a_new_head(run: Run) -> None:
    checkpoint = run.folder / "best.pt"
    trained = load_trained(checkpoint)
    stored = trained.network.state_dict()
    settings = vars(trained.config) | {"weights": str(checkpoint)}
    config = TrainConfig(**settings)
    for names, new in ((NAMES, set()), (NAMES[::-1], HEATMAPS), (NAMES[:2], HEATMAPS)):
        torch.manual_seed(7)
        network = build_model(
            config.model, 2, config.size_hw, backbone=config.backbone, num_keypoints=len(names)
        )
        before = {key: value.clone() for key, value in network.state_dict().items()}
        line = load_weights(network, config, trained.spec.classes, names)
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[key] if key in new else stored[key]), key
        assert ("new for" in line) == bool(new)
    assert line.endswith("and the keypoints top, left_corner: keypoint_head")


@pytest.mark.slow
def test_data_with_other_keypoints_are_refused(run: Run, refused: Any, tmp_path: Path) -> None:
    categories = [CATEGORIES[0] | {"keypoints": ["top", "left", "right"]}, CATEGORIES[1]]
    other = fly_kites(tmp_path / "other", categories=categories)
    said = refused("eval", run.model, "--data", other)
    assert "finds the keypoints top, left_corner, right_corner, and other val has top, left" in said
    file = onnx.load(run.model)
    with load(run.model) as model:
        spec = model.spec
    write_spec(file, replace(spec, keypoints=NAMES[:2], skeleton=()))
    onnx.save(file, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="names 2 keypoints, but the graph's output `keypoints`"):
        load(tmp_path / "model.onnx")


def config_of(data: str) -> TrainConfig:
    return TrainConfig("keypoint_rcnn_lite", data, size_hw=(64, 96))


def test_data_without_keypoints_are_refused(tmp_path: Path) -> None:
    bare = fly_kites(tmp_path / "bare", categories=[{"id": 4, "name": "kite"}, CATEGORIES[1]])
    with pytest.raises(
        DatasetError, match=r"the split train labels no keypoint, and `keypoint_rcnn_lite` learns"
    ):
        DetectionTask(config_of(bare))


def test_splits_with_different_keypoints_are_refused(kites: str, tmp_path: Path) -> None:
    data = fly_kites(tmp_path / "kites")
    path = tmp_path / "kites" / "instances_val.json"
    content = json.loads(path.read_text())
    content["categories"][0]["keypoints"] = ["a", "b", "c"]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="must be the same, got top, left_corner, right_corner"):
        DetectionTask(config_of(data))
    assert DetectionTask(config_of(kites)).figures[0] == "keypoint_AP"


def test_without_keypoints_to_validate_on_the_boxes_choose_the_best(tmp_path: Path) -> None:
    data = fly_kites(tmp_path / "kites")
    path = tmp_path / "kites" / "instances_val.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation.pop("keypoints", None)
    path.write_text(json.dumps(content))
    task = DetectionTask(config_of(data))
    assert task.figures[0] == "AP"
    assert (task.keypoints, task.skeleton) == (NAMES, ((0, 1), (0, 2)))
