"""A training run repeats by its seed, survives every kind of interruption, and learns."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgecv.data.augment.files import read_recipe  # noqa: E402
from edgecv.errors import DatasetError, EdgeCVError, InputError, OutputError  # noqa: E402
from edgecv.metrics.detection import DetectionMetrics  # noqa: E402
from edgecv.records import to_plain  # noqa: E402
from edgecv.train import detection, trainer  # noqa: E402
from edgecv.train.checkpoint import load_trained, read_checkpoint  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.schedule import rate_factor  # noqa: E402
from edgecv.train.weights import load_weights  # noqa: E402


class Recorder:
    """Remembers the losses, and runs `at_step` after each batch."""

    def __init__(self, at_step: Any = lambda _: None) -> None:
        self.losses: list[float] = []
        self.at_step = at_step

    def started(self, **_: object) -> None:
        pass

    def stepped(self, *, epoch: int, loss: float, waiting: float) -> None:
        del epoch
        assert 0 <= waiting <= 1
        self.losses.append(loss)
        self.at_step(len(self.losses))

    def finished_epoch(self, record: object) -> None:
        pass


def config_for(scenes: Path, **changes: Any) -> TrainConfig:
    settings = {
        "model": "ssd_mobilenetv2",
        "data": f"coco:{scenes}",
        "epochs": 2,
        "size_hw": (64, 96),
        "batch_size": 8,
        "weights": "none",
        "precision": "float32",
    }
    return TrainConfig(**(settings | changes))


@pytest.fixture(scope="session")
def uninterrupted(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[float]]:
    """A run of two epochs, three batches each, and its six losses."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    recorder = Recorder()
    trainer.train(config_for(scenes), folder, recorder)
    return folder, recorder.losses


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    times = ("seconds", "waiting")
    return [{key: record[key] for key in record if key not in times} for record in history]


def interrupt_after(step: int) -> Any:
    """Return what presses CTRL-C after a batch."""

    def interrupt(count: int) -> None:
        if count == step:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def weights_of(folder: Path) -> dict[str, Any]:
    return dict(read_checkpoint(folder / "last.pt")["detector"])


def assert_same_weights(left: Path, right: Path) -> None:
    ours, theirs = weights_of(left), weights_of(right)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_a_seed_repeats_a_run(
    uninterrupted: tuple[Path, list[float]], scenes: Path, tmp_path: Path
) -> None:
    folder, losses = uninterrupted
    again, other = Recorder(), Recorder()
    trainer.train(config_for(scenes), tmp_path / "again", again)
    trainer.train(config_for(scenes, epochs=1, seed=1), tmp_path / "other", other)
    assert again.losses == losses
    assert other.losses != losses[:3]
    assert_same_weights(folder, tmp_path / "again")


def test_workers_do_not_change_a_run(
    uninterrupted: tuple[Path, list[float]], scenes: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    trainer.train(config_for(scenes, workers=1), tmp_path / "run", recorder)
    assert recorder.losses == uninterrupted[1]


@pytest.mark.parametrize("stop_after", [2, 3])  # within an epoch, and at its end
def test_ctrl_c_saves_and_resume_continues_exactly(
    uninterrupted: tuple[Path, list[float]], scenes: Path, tmp_path: Path, stop_after: int
) -> None:
    folder, losses = uninterrupted

    first, second = Recorder(interrupt_after(stop_after)), Recorder()
    stopped = trainer.train(config_for(scenes), tmp_path / "run", first)
    assert stopped.was_interrupted
    assert len(first.losses) == stop_after
    finished = trainer.resume(tmp_path / "run", second)
    assert not finished.was_interrupted
    assert first.losses + second.losses == losses
    expected = json.loads((folder / "history.json").read_text())
    assert without_times(finished.history) == without_times(expected)
    metrics = load_trained(tmp_path / "run" / "best.pt").spec.provenance.metrics
    best = finished.history[finished.best_epoch - 1]
    assert metrics["val_AP"] == pytest.approx(best["AP"], abs=1e-5)
    assert_same_weights(folder, tmp_path / "run")


def test_a_fine_tuning_for_8_bits_resumes_exactly_and_leaves_an_ordinary_checkpoint(
    trained_run: Path, scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    weights = str(trained_run / "best.pt")
    changes = {"fake_quantise": "int8-cpu", "weights": weights, "precision": "auto"}
    config = config_for(scenes, learning_rate=1e-4, accumulate=2, **changes)
    whole, first, second = Recorder(), Recorder(interrupt_after(4)), Recorder()
    trainer.train(config, tmp_path / "whole", whole)
    trainer.train(config, tmp_path / "run", first)
    trainer.resume(tmp_path / "run", second)
    assert first.losses + second.losses == whole.losses
    assert_same_weights(tmp_path / "whole", tmp_path / "run")
    found, trained = (load_trained(Path(path)) for path in (tmp_path / "run" / "best.pt", weights))
    assert found.network.state_dict().keys() == trained.network.state_dict().keys()
    assert found.spec.classes == trained.spec.classes
    kept = read_checkpoint(tmp_path / "run" / "best.pt")
    assert "fake_quantisation" not in kept


def test_a_resume_does_not_need_the_recipe_file(scenes: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'mixing_until = 0.5\n[[transforms]]\nname = "horizontal-flip"\n'
        '[[transforms]]\nname = "mosaic"\nprobability = 1\n[[transforms]]\nname = "mixup"\n'
    )
    config = config_for(scenes, augment=read_recipe(path))
    whole, default = Recorder(), Recorder()
    trainer.train(config, tmp_path / "whole", whole)
    trainer.train(config_for(scenes, epochs=1), tmp_path / "default", default)
    assert whole.losses[0] != default.losses[0]

    first, second = Recorder(interrupt_after(2)), Recorder()
    trainer.train(config, tmp_path / "run", first)
    path.unlink()
    trainer.resume(tmp_path / "run", second)
    assert first.losses + second.losses == whole.losses
    assert load_trained(tmp_path / "run" / "best.pt").config.augment == config.augment


def test_random_samples_of_a_loss_are_drawn_again(scenes: Path, tmp_path: Path) -> None:
    """A two-stage detector draws the anchors and regions that it learns from."""
    options = {"model": "faster_rcnn_lite", "backbone": "mobilenet_v3_small", "size_hw": (64, 64)}
    config = config_for(scenes, epochs=1, **options)
    whole, first, second = Recorder(), Recorder(interrupt_after(2)), Recorder()
    trainer.train(config, tmp_path / "whole", whole)
    assert trainer.train(config, tmp_path / "run", first).was_interrupted
    trainer.resume(tmp_path / "run", second)
    assert first.losses + second.losses == whole.losses
    assert_same_weights(tmp_path / "whole", tmp_path / "run")


def test_a_killed_process_is_continued_from_its_last_epoch(
    uninterrupted: tuple[Path, list[float]], scenes: Path, tmp_path: Path
) -> None:
    folder, losses = uninterrupted
    script = textwrap.dedent(f"""
        import json, os, signal, sys
        from pathlib import Path
        from edgecv.records import from_plain
        from edgecv.train import trainer
        from edgecv.train.config import TrainConfig

        class Killed:
            count = 0
            def started(self, **_): pass
            def finished_epoch(self, record): pass
            def stepped(self, **_):
                self.count += 1
                if self.count == 5:
                    os.kill(os.getpid(), signal.SIGKILL)

        config = from_plain(TrainConfig, json.loads(sys.argv[1]), where="")
        trainer.train(config, Path({str(tmp_path / "run")!r}), Killed())
    """)
    plain = json.dumps(to_plain(config_for(scenes)))
    done = subprocess.run(
        [sys.executable, "-c", script, plain], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    recorder = Recorder()
    trainer.resume(tmp_path / "run", recorder)
    assert recorder.losses == losses[3:]  # the second epoch anew, the same
    assert_same_weights(folder, tmp_path / "run")


def test_ctrl_c_reaches_the_workers_too_and_nothing_is_lost(scenes: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import json, os, signal, sys
        from pathlib import Path
        from edgecv.records import from_plain
        from edgecv.train import trainer
        from edgecv.train.config import TrainConfig

        class Interrupted:
            count = 0
            def started(self, **_): pass
            def finished_epoch(self, record): pass
            def stepped(self, **_):
                self.count += 1
                if self.count == 2:
                    os.killpg(0, signal.SIGINT)  # as a terminal does: workers and all

        config = from_plain(TrainConfig, json.loads(sys.argv[1]), where="")
        result = trainer.train(config, Path({str(tmp_path / "run")!r}), Interrupted())
        print(result.was_interrupted)
    """)
    plain = json.dumps(to_plain(config_for(scenes, workers=1)))
    done = subprocess.run(
        [sys.executable, "-c", script, plain],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert read_checkpoint(tmp_path / "run" / "last.pt")["progress"]["step"] == 2


def test_broken_annotations_are_counted(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes, folder)
    path = folder / "instances_train.json"
    plain = json.loads(path.read_text())
    plain["annotations"][0]["bbox"][2] = 0
    path.write_text(json.dumps(plain))
    with pytest.raises(DatasetError, match="--on-bad skip"):
        trainer.train(config_for(folder, epochs=1), tmp_path / "refused", Recorder())
    result = trainer.train(
        config_for(folder, epochs=1, on_bad="skip"), tmp_path / "run", Recorder()
    )
    (problem,) = result.problems
    assert problem.path == path


def test_a_split_without_objects_is_refused(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes, folder)
    path = folder / "instances_val.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    with pytest.raises(DatasetError, match="split val holds no object"):
        trainer.train(config_for(folder), tmp_path / "run", Recorder())


def test_a_run_learns_and_describes_its_model(trained_run: Path, scenes: Path) -> None:
    history = json.loads((trained_run / "history.json").read_text())
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    trained = load_trained(trained_run / "best.pt")
    assert trained.spec.classes == ("disc", "square", "triangle")
    assert trained.spec.input.size_hw == (96, 128)
    assert trained.spec.output == trained.network.output_spec()
    assert trained.spec.provenance.data == f"coco:{scenes}"
    best = max(record["AP"] for record in history)
    assert trained.spec.provenance.metrics["val_AP"] == pytest.approx(best, abs=1e-5)
    assert list((trained_run / "tensorboard").iterdir())


def test_a_frozen_backbone_does_not_move(scenes: Path, tmp_path: Path) -> None:
    config = config_for(scenes, epochs=1, backbone_rate=0)
    torch.manual_seed(config.seed)
    from edgecv.models import build_model

    before = build_model(config.model, 3, config.size_hw).backbone().state_dict()
    trainer.train(config, tmp_path / "run", Recorder())
    after = load_trained(tmp_path / "run" / "last.pt").network.backbone().state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, msg=name)


def test_a_backbone_thaws_from_its_deepest_stage(scenes: Path, tmp_path: Path) -> None:
    """After the first of two epochs the deepest stage trains, the others never."""
    config = config_for(scenes, epochs=3, unfreeze=(1, 2))
    from edgecv.models import build_model

    torch.manual_seed(config.seed)
    backbone = build_model(config.model, 3, config.size_hw).backbone()
    states = [{key: value.clone() for key, value in backbone.state_dict().items()}]

    def stop(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    for _ in range(2):
        started = (tmp_path / "run" / "last.pt").exists()
        observer = Recorder(stop)
        result = (
            trainer.resume(tmp_path / "run", observer)
            if started
            else trainer.train(config, tmp_path / "run", observer)
        )
        assert result.was_interrupted
        prefix = "pyramid.trunk."
        states.append(
            {
                key.removeprefix(prefix): value
                for key, value in weights_of(tmp_path / "run").items()
                if key.startswith(prefix)
            }
        )
    names = {id(layer): name for name, layer in backbone.named_modules()}
    *frozen, deepest = [{names[id(layer)] for layer in stage} for stage in backbone.stages()]
    moved = [
        {key.rpartition(".")[0] for key in before if not torch.equal(before[key], after[key])}
        for before, after in itertools.pairwise(states)
    ]
    assert moved[0] == set()
    assert moved[1]
    assert moved[1] <= deepest
    assert not moved[1] & set.union(*frozen)


def test_a_thaw_is_continued_exactly(scenes: Path, tmp_path: Path) -> None:
    config = config_for(scenes, unfreeze=(0, 1), accumulate=2)
    trainer.train(config, tmp_path / "whole", Recorder())
    for at in (2, 4):
        folder = tmp_path / f"stopped_{at}"
        stop = Recorder(lambda n, at=at: os.kill(os.getpid(), signal.SIGINT) if n == at else None)
        assert trainer.train(config, folder, stop).was_interrupted
        trainer.resume(folder, Recorder())
        assert_same_weights(tmp_path / "whole", folder)


def test_more_stages_than_the_backbone_has_are_refused(scenes: Path, tmp_path: Path) -> None:
    config = config_for(scenes, epochs=9, unfreeze=(1, 2, 3, 4, 5, 6))
    with pytest.raises(InputError, match=r"names 6 stages, and the backbone .* has 5"):
        trainer.train(config, tmp_path / "run", Recorder())


def test_an_input_too_small_for_a_detector_is_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least 64 x 64 for a detector, got \(64, 63\)"):
        trainer.train(config_for(scenes, size_hw=(64, 63)), tmp_path / "run", Recorder())


def test_synchronised_norms_need_gpus(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`--sync-norms` needs GPUs"):
        trainer.train(
            config_for(scenes, sync_norms=True, device="cpu"), tmp_path / "run", Recorder()
        )


def test_a_run_without_progress_ends_by_patience_and_stays_ended(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = dict.fromkeys(("AP", "AP50", "AP75"), 0.25)
    metrics = DetectionMetrics(summary, per_class={}, precision_curves={}, num_images=6)
    monkeypatch.setattr(detection, "detection_metrics", lambda *_: metrics)
    config = config_for(scenes, epochs=9, patience=2)
    stop = Recorder(lambda n: os.kill(os.getpid(), signal.SIGINT) if n == 4 else None)
    assert trainer.train(config, tmp_path / "run", stop).ending == ""
    result = trainer.resume(tmp_path / "run", Recorder())
    assert (len(result.history), result.best_epoch, result.was_interrupted) == (3, 1, False)
    assert "no better validation AP for 2 epochs, ended after epoch 3 of 9" in result.ending
    observer = Recorder()
    assert trainer.resume(tmp_path / "run", observer).ending == result.ending
    assert observer.losses == []


def test_a_time_budget_ends_a_run_and_plans_its_rate(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock takes a second: an epoch of 3 steps takes 7 with its validation.
    clock = itertools.count()
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(clock)))
    config = config_for(scenes, epochs=9, time_budget_s=25.0)
    stop = Recorder(lambda n: os.kill(os.getpid(), signal.SIGINT) if n == 4 else None)
    trainer.train(config, tmp_path / "run", stop)
    result = trainer.resume(tmp_path / "run", Recorder())
    assert [record["seconds"] for record in result.history] == [7.0, 7.0, 7.0]
    assert [record["waiting"] for record in result.history] == [0.5] * 3
    assert [record["planned_epochs"] for record in result.history] == [3, 3, 3]
    assert "the time budget of 25 s holds no further epoch, ended after epoch 3" in result.ending
    expected = rate_factor(8, num_steps=9, num_warmup=3) * config.learning_rate
    assert result.history[-1]["learning_rate"] == pytest.approx(expected * config.backbone_rate)


def test_a_loss_that_is_no_number_names_its_batch(scenes: Path, tmp_path: Path) -> None:
    config = config_for(scenes, learning_rate=1e30, warmup_epochs=0.0)
    with pytest.raises(EdgeCVError, match=r"loss became nan in epoch 1, batch [23]. Lower `--lr`"):
        trainer.train(config, tmp_path / "run", Recorder())


def test_a_folder_with_a_run_is_not_overwritten(trained_run: Path, scenes: Path) -> None:
    with pytest.raises(InputError, match=r"already holds a run.*--resume"):
        trainer.train(config_for(scenes), trained_run, Recorder())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("missing.pth", "must be `imagenet`, `none` or a file"),
        ("text.pth", "is not a file of PyTorch weights"),
        ("other.pth", "`features.0.0.weight` must have shape"),
    ],
)
def test_unusable_weights_are_refused(
    scenes: Path, tmp_path: Path, weights: str, message: str
) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    torch.save({"features.0.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    config = config_for(scenes, weights=str(tmp_path / weights))
    with pytest.raises(InputError, match=message):
        trainer.train(config, tmp_path / "run", Recorder())


def test_a_file_of_backbone_weights_is_loaded(shared_data: Path) -> None:
    path = shared_data / "weights" / "mobilenetv2_1.0_imagenet_trunk_fp16.pth"
    stored = torch.load(path, weights_only=True)
    from edgecv.models import build_model

    detector = build_model("ssd_mobilenetv2", 3, (64, 96))
    config = TrainConfig("ssd_mobilenetv2", "bccd", weights=str(path))
    load_weights(detector, config, ("a", "b", "c"))
    for name, tensor in detector.backbone().trunk.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, stored[name].float()), name


def test_a_checkpoint_with_weights_only_is_not_resumed(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes((trained_run / "best.pt").read_bytes())
    with pytest.raises(InputError, match="holds weights only"):
        trainer.resume(tmp_path, Recorder())


def test_an_unwritable_folder_is_named(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        trainer.train(config_for(scenes), tmp_path / "file" / "run", Recorder())
