"""Classifiers in the trainer: they learn, stop, resume, start from others' weights, and report."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.errors import DatasetError, InputError  # noqa: E402
from edgecv.train import trainer  # noqa: E402
from edgecv.train.checkpoint import load_trained, read_checkpoint  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.recipe import configure  # noqa: E402


class Recorder:
    """Remembers losses and what it is told, and presses CTRL-C after `stop_after` batches."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self.told: dict[str, Any] = {}
        self.stop_after = stop_after

    def started(self, **told: Any) -> None:
        self.told = told

    def stepped(self, *, loss: float, **_: object) -> None:
        self.losses.append(loss)
        if len(self.losses) == self.stop_after:
            os.kill(os.getpid(), signal.SIGINT)

    def finished_epoch(self, record: object) -> None:
        pass


def config_for(shapes: Path, **changes: Any) -> TrainConfig:
    settings = {
        "model": "lenet",
        "data": f"folder:{shapes}",
        "epochs": 2,
        "batch_size": 24,
        "precision": "float32",
    }
    return configure(settings, changes)


def state_of(folder: Path) -> dict[str, Any]:
    return dict(read_checkpoint(folder / "last.pt")["detector"])


def trunk_of(folder: Path) -> dict[str, Any]:
    """The weights that steps change, not their averages, by the library's names."""
    prefix = "trunk.trunk."
    state = state_of(folder)
    return {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: record[key] for key in record if key not in ("seconds", "waiting")}
        for record in history
    ]


def test_lenet_learns_shapes(trained_classifier: Path) -> None:
    history = json.loads((trained_classifier / "history.json").read_text())
    best = max(history, key=lambda record: record["top1"])
    assert best["top1"] > 0.95
    spec = load_trained(trained_classifier / "best.pt").spec
    assert (spec.task, spec.classes) == ("classify", ("disc", "square", "stripes"))
    assert spec.provenance.metrics["val_top1"] == pytest.approx(best["top1"], abs=1e-5)
    assert (spec.input.size_hw, spec.input.fit) == ((32, 32), "centre-crop")


def test_a_run_ends_with_its_report(trained_classifier: Path) -> None:
    for name in ("report.html", "training.png", "confusion_matrix.png"):
        assert (trained_classifier / name).stat().st_size > 1000, name
    figures = json.loads((trained_classifier / "metrics.json").read_text())
    history = json.loads((trained_classifier / "history.json").read_text())
    assert figures["top1"] == max(record["top1"] for record in history)
    assert sum(map(sum, figures["confusion"]["counts"])) == 30


@pytest.mark.parametrize("stop_after", [2, 3])  # within an epoch, and at its end
def test_ctrl_c_saves_and_resume_continues_exactly(
    shapes: Path, tmp_path: Path, stop_after: int
) -> None:
    whole, first, second = Recorder(), Recorder(stop_after), Recorder()
    expected = trainer.train(config_for(shapes), tmp_path / "whole", whole)
    stopped = trainer.train(config_for(shapes), tmp_path / "run", first)
    assert stopped.was_interrupted
    finished = trainer.resume(tmp_path / "run", second)
    assert first.losses + second.losses == whole.losses
    assert len(whole.losses) == 6
    assert without_times(finished.history) == without_times(expected.history)
    ours, theirs = state_of(tmp_path / "run"), state_of(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert finished.figures == whole.told["figures"] == ("top1", "top5")


def test_parts_of_a_batch_make_the_same_step(shapes: Path, tmp_path: Path) -> None:
    whole, parts = Recorder(), Recorder()
    trainer.train(config_for(shapes, epochs=1), tmp_path / "whole", whole)
    trainer.train(config_for(shapes, epochs=1, accumulate=3), tmp_path / "parts", parts)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)


def test_workers_do_not_change_a_run(shapes: Path, tmp_path: Path) -> None:
    alone, helped = Recorder(), Recorder()
    trainer.train(config_for(shapes, epochs=1), tmp_path / "alone", alone)
    trainer.train(config_for(shapes, epochs=1, workers=1), tmp_path / "helped", helped)
    assert helped.losses == alone.losses


def test_a_folder_without_splits_says_how_it_was_split(shapes: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    config = config_for(shapes, epochs=1, data=str(shapes / "train"))
    result = trainer.train(config, tmp_path / "run", recorder)
    assert any("57 of 72 images are the split train" in note for note in recorder.told["notes"])
    assert result.history[0]["num_images"] == 15


def test_a_checkpoint_of_other_classes_gives_its_trunk(
    trained_classifier: Path, shapes: Path, tmp_path: Path
) -> None:
    other = tmp_path / "pair"
    for split in ("train", "val"):
        for name in ("disc", "square"):
            place = other / split / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(shapes / split / name)
    config = config_for(
        shapes,
        data=f"folder:{other}",
        epochs=1,
        weights=str(trained_classifier / "best.pt"),
        backbone_rate=0.0,
    )
    recorder = Recorder()
    trainer.train(config, tmp_path / "run", recorder)
    assert any(
        note.endswith("new for the classes disc, square: head") for note in recorder.told["notes"]
    )
    stored = load_trained(trained_classifier / "best.pt").network.backbone().trunk.state_dict()
    after = trunk_of(tmp_path / "run")
    assert all(torch.equal(stored[name], after[name]) for name in stored)


def test_a_librarys_file_of_weights_fills_the_trunk(shapes: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    from torchvision.models import resnet18

    published = resnet18(weights=None)
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    config = config_for(
        shapes,
        model="resnet18",
        size_hw=(32, 32),
        epochs=2,
        batch_size=36,
        weights=str(tmp_path / "resnet18.pth"),
        unfreeze=(1,),
    )
    recorder = Recorder()
    stop = Recorder(stop_after=2)  # the end of the frozen epoch
    trainer.train(config, tmp_path / "run", stop)
    frozen = trunk_of(tmp_path / "run")
    for name, tensor in frozen.items():
        assert torch.equal(tensor, published.state_dict()[name]), name
    result = trainer.resume(tmp_path / "run", recorder)
    free = trunk_of(tmp_path / "run")
    assert not torch.equal(free["conv1.weight"], frozen["conv1.weight"])
    assert len(result.history) == 2


def test_a_network_whose_modules_have_versions_comes_back(shapes: Path, tmp_path: Path) -> None:
    config = config_for(shapes, model="mnasnet0_5", size_hw=(32, 32), weights="none", epochs=1)
    trainer.train(config, tmp_path / "run", Recorder(stop_after=1))
    result = trainer.resume(tmp_path / "run", Recorder())
    assert len(result.history) == 1
    again = config_for(
        shapes,
        model="mnasnet0_5",
        size_hw=(32, 32),
        weights=str(tmp_path / "run" / "best.pt"),
        epochs=1,
    )
    recorder = Recorder(stop_after=1)
    trainer.train(again, tmp_path / "again", recorder)
    assert any(re.search(r"(\d+) of \1 tensors", note) for note in recorder.told["notes"])


def test_weights_of_another_network_are_refused(shapes: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    config = config_for(shapes, model="resnet18", weights=str(tmp_path / "other.pth"))
    with pytest.raises(InputError, match=r"`conv1.weight` must have shape .*weights of resnet18"):
        trainer.train(config, tmp_path / "run", Recorder())


def test_what_is_made_for_boxes_is_refused(shapes: Path, tmp_path: Path) -> None:
    for recipe, step in (("default", "iou-crop"), ("strong", "mosaic")):
        config = config_for(shapes, augment=recipe)
        with pytest.raises(
            InputError, match=rf"recipe `{recipe}` has `{step}`.*--augment classify"
        ):
            trainer.train(config, tmp_path / recipe, Recorder())


def test_boxes_are_no_data_for_a_classifier(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"objects with boxes: train a detector"):
        trainer.train(config_for(scenes, data=f"coco:{scenes}"), tmp_path / "run", Recorder())


def test_images_by_class_are_no_data_for_a_detector(shapes: Path, tmp_path: Path) -> None:
    for data, advice in (
        (f"folder:{shapes}", "Images by class have no boxes: train a classifier"),
        (str(shapes), f"By its content the folder is `folder:{shapes}`"),
    ):
        config = TrainConfig("ssd_mobilenetv2", data, weights="none")
        with pytest.raises(DatasetError, match=advice):
            trainer.train(config, tmp_path / "run" / data[:6], Recorder())


def test_an_input_that_is_too_small_is_refused(shapes: Path, tmp_path: Path) -> None:
    config = config_for(shapes, size_hw=(24, 24))
    with pytest.raises(InputError, match=r"`lenet` cannot take an input of 24x24"):
        trainer.train(config, tmp_path / "run", Recorder())


def test_a_classifiers_defaults() -> None:
    config = configure({}, {"model": "resnet18", "data": "folder:x"})
    assert (config.size_hw, config.fit, config.weights) == ((224, 224), "centre-crop", "imagenet")
    assert config.augment == read_recipe("classify")
    config = configure({"augment": "none", "size_hw": [64, 64]}, {"model": "lenet", "data": "x"})
    assert (config.size_hw, config.weights, config.backbone_rate) == ((64, 64), "none", 1.0)
    assert config.augment == read_recipe("none")
    pytest.importorskip("timm")
    config = configure({}, {"model": "timm:vit_tiny_patch16_224", "data": "x"})
    assert config.mean == (0.5, 0.5, 0.5)  # as those weights expect
