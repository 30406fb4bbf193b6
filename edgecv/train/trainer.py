"""The training loop: from a configuration to `best.pt`, interruptible at every step."""

import json
import math
import threading
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from edgecv.data.batches import Batch, seed_for
from edgecv.errors import InputError
from edgecv.files import make_folder, write_text
from edgecv.interrupts import deferred_interrupt
from edgecv.models import Network, build_model, model_task
from edgecv.models.fused import torch_session
from edgecv.provenance import versions_in_use
from edgecv.records import from_plain
from edgecv.runtime.model import Model
from edgecv.spec import InputSpec, ModelSpec, Provenance, Task
from edgecv.train.checkpoint import Progress, config_to_plain, read_checkpoint, save_checkpoint
from edgecv.train.classification import ClassificationTask
from edgecv.train.config import TrainConfig
from edgecv.train.detection import DetectionTask
from edgecv.train.distributed import Ranks, join_ranks
from edgecv.train.observer import Nobody, Observer, TrainResult
from edgecv.train.optimisation import Optimisation
from edgecv.train.recipe import write_config
from edgecv.train.report import report_training
from edgecv.train.schedule import planned_epochs, rate_factor
from edgecv.train.task import Metrics, TrainingTask
from edgecv.train.weights import load_weights

_TASKS: dict[Task, type[TrainingTask]] = {
    "detect": DetectionTask,
    "instance": DetectionTask,
    "keypoints": DetectionTask,
    "classify": ClassificationTask,
}


def train(config: TrainConfig, folder: Path, observer: Observer) -> TrainResult:
    """Train from the start into `folder`, with all processes that `torchrun` started.

    Args:
        config: of the run.
        folder: that of the first process counts.
        observer: only the first process reports to it.

    Raises:
        InputError: if `folder` already holds a run, or the data or weights cannot be used.
        OutputError: if `folder` cannot be written.

    """
    ranks = join_ranks(config.device)
    folder = ranks.from_first(folder)
    if ranks.is_first:
        _prepare_folder(folder)
        write_config(folder / "config.toml", config)
    return _Run(config, folder, observer, ranks).run()


def resume(folder: Path, observer: Observer) -> TrainResult:
    """Continue the run in `folder` exactly where its last checkpoint was written.

    Another number of processes than before continues the run with the same batches, but not to the
    last bit: they see other parts of each batch.

    Raises:
        InputError: if there is no checkpoint to continue from.

    """
    contents = read_checkpoint(folder / "last.pt")
    if "optimizer" not in contents:
        raise InputError(f"`{folder / 'last.pt'}` holds weights only and cannot be resumed.")
    config = from_plain(TrainConfig, contents["config"], where="config")
    return _Run(config, folder, observer, join_ranks(config.device), contents).run()


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        observer: Observer,
        ranks: Ranks,
        contents: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.observer = observer if ranks.is_first else Nobody()
        self.ranks = ranks
        open_task = _TASKS[model_task(config.model)]  # before data that may have to be downloaded
        self.notes: tuple[str, ...] = (f"settings: {folder / 'config.toml'}",)
        with ranks.first_goes_first():
            self.task = open_task(config)
            self.notes += self.task.notes
            _refuse_small_batch(config, ranks, self.task.num_images)
            torch.manual_seed(config.seed)
            network = build_model(
                config.model,
                len(self.task.classes),
                config.size_hw,
                backbone=config.backbone,
                options=config.options,
                num_keypoints=len(self.task.keypoints),
            )
            _refuse_unfreezing(config, network)
            if contents is None:
                loaded = load_weights(network, config, self.task.classes, self.task.keypoints)
                self.notes += (loaded,) if loaded else ()
        if ranks.size > 1:
            self.notes += (f"{ranks.size} processes share each batch of {config.batch_size}",)
        self.optimisation = Optimisation(network, config, ranks)
        rounded = self.optimisation.fake_quantisation
        if rounded is not None:
            self.notes += (
                f"{config.fake_quantise}: {rounded}; the weights suit an export in that precision",
            )
        self.spec = _describe(config, self.task, network)
        self.batches = self.task.batches(self.spec.input, config, ranks)
        self.progress = Progress(planned_epochs=config.epochs)
        if contents is not None:
            self.optimisation.restore(contents)
            self.progress = Progress(**{"planned_epochs": config.epochs, **contents["progress"]})

    def run(self) -> TrainResult:
        start = time.monotonic()
        self.observer.started(
            num_epochs=self.progress.planned_epochs,
            num_batches=len(self.batches),
            progress=self.progress,
            notes=self.notes,
            figures=self.task.figures,
        )
        was_interrupted = False
        with deferred_interrupt() as interrupt, self._figures() as figures:
            while not was_interrupted and not self._is_over():
                was_interrupted = self._train_epoch(figures, interrupt)
                if not was_interrupted:
                    self._finish_epoch(figures)
                    was_interrupted = self.ranks.any(is_true=interrupt.is_set())
            self._save_last()
        report = ""
        if self.ranks.is_first:
            report = report_training(self.task, self.folder, self.spec, self.progress)
        self.ranks.wait()  # the files are there when any process returns
        return TrainResult(
            folder=self.folder,
            history=self.progress.history,
            figures=self.task.figures,
            best_epoch=self.progress.best_epoch,
            was_interrupted=was_interrupted,
            ending=self._ending(),
            problems=self.task.problems,
            report=report,
            seconds=time.monotonic() - start,
        )

    def _figures(self) -> AbstractContextManager[SummaryWriter | None]:
        if not self.ranks.is_first:
            return nullcontext()
        folder = str(self.folder / "tensorboard")
        writer: SummaryWriter = SummaryWriter(folder, purge_step=self.progress.step)
        return writer

    def _is_over(self) -> bool:
        return self.progress.epoch >= self.progress.planned_epochs or self._lost_patience()

    def _lost_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and (self.progress.epoch - self.progress.best_epoch >= patience)

    def _ending(self) -> str:
        """Return why the run is over before its last epoch, empty if it is not."""
        progress = self.progress
        if progress.epoch >= self.config.epochs:
            return ""
        if self._lost_patience():
            return (
                f"no better validation {self.task.figures[0]} for {self.config.patience} epochs, "
                f"ended after epoch {progress.epoch} of {self.config.epochs}"
            )
        if progress.epoch >= progress.planned_epochs:
            return (
                f"the time budget of {self.config.time_budget_s:g} s holds no further epoch, ended "
                f"after epoch {progress.epoch} of {self.config.epochs}"
            )
        return ""

    def _train_epoch(self, figures: SummaryWriter | None, interrupt: threading.Event) -> bool:
        """Train to the end of the epoch; return whether an interruption came first."""
        progress = self.progress
        self.optimisation.begin_epoch(
            self.config.trained_stages(progress.epoch),
            # Weights settle to ranges only when those stand still.
            observes=2 * progress.epoch < progress.planned_epochs,
        )
        batches = self.batches.epoch(progress.epoch, first_batch=progress.batch)
        with closing(batches):  # an interrupted epoch ends its workers here
            while True:
                asked = time.monotonic()
                batch = next(batches, None)
                if batch is None:
                    return False
                progress.waited_seconds += time.monotonic() - asked
                losses = self._step(batch)
                progress.losses.append(losses["total"])
                progress.batch += 1
                progress.step += 1
                progress.epoch_seconds += time.monotonic() - asked
                for name, value in losses.items():
                    if figures is not None:
                        figures.add_scalar(f"loss/{name}", value, progress.step)
                self.observer.stepped(
                    epoch=progress.epoch, loss=losses["total"], waiting=progress.waiting
                )
                if self.ranks.any(is_true=interrupt.is_set()):
                    return True

    def _step(self, batch: Batch) -> dict[str, float]:
        progress = self.progress
        factor = rate_factor(
            progress.step,
            num_steps=progress.planned_epochs * len(self.batches),
            num_warmup=round(self.config.warmup_epochs * len(self.batches)),
        )
        # Whatever a model draws in training, it draws again after a resume.
        seed_for(self.config.seed, progress.step, self.ranks.rank)
        where = f"epoch {progress.epoch + 1}, batch {progress.batch + 1}"
        return self.optimisation.step(batch, factor, where=where)

    def _finish_epoch(self, figures: SummaryWriter | None) -> None:
        start = time.monotonic()
        found = self._validate()
        if self.ranks.is_first:
            metrics = self.task.measure(found)
            self._record(metrics, found, time.monotonic() - start)
            if figures is not None:
                for name in self.task.figures:
                    value = metrics.summary[name]
                    figures.add_scalar(f"validation/{name}", value, self.progress.step)
                rate = self.progress.history[-1]["learning_rate"]
                figures.add_scalar("learning_rate", rate, self.progress.step)
        # What a clock or the validation decides must be the same in all processes.
        self.progress = self.ranks.from_first(self.progress)
        self._save_last()
        self.observer.finished_epoch(self.progress.history[-1])

    def _record(self, metrics: Metrics, found: list[Any], validation_seconds: float) -> None:
        """Close the epoch, and keep its weights if they are the best."""
        progress = self.progress
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "loss": sum(progress.losses) / len(progress.losses),
            "learning_rate": self.optimisation.optimizer.param_groups[0]["lr"],
            **metrics.to_plain(),
            "seconds": round(progress.epoch_seconds + validation_seconds, 3),
            "waiting": round(progress.waiting, 4),
        }
        progress.history.append(record)
        progress.epoch += 1
        progress.batch = 0
        progress.losses = []
        progress.epoch_seconds = progress.waited_seconds = 0.0
        progress.planned_epochs = record["planned_epochs"] = planned_epochs(
            [float(earlier.get("seconds", 0.0)) for earlier in progress.history],
            most=self.config.epochs,
            time_budget_s=self.config.time_budget_s,
        )
        figure = metrics.summary[self.task.figures[0]]
        if figure > progress.best:
            progress.best, progress.best_epoch = figure, progress.epoch
            measured = {
                f"val_{key}": value
                for key, value in metrics.summary.items()
                if not math.isnan(value)
            }
            spec = replace(self.spec, provenance=replace(self.spec.provenance, metrics=measured))
            averaged = self.optimisation.averaged.module.state_dict()
            save_checkpoint(
                self.folder / "best.pt", self._description(spec) | {"averaged": averaged}
            )
            self.task.keep(self.folder, found)

    def _validate(self) -> list[Any]:
        """Return what is found in each validation image, in the first process."""
        network = self.optimisation.validated()
        return self.task.validate(Model(torch_session(network, self.spec)), self.ranks)

    def _description(self, spec: ModelSpec) -> dict[str, Any]:
        return {"config": config_to_plain(self.config), "spec": spec.to_json()}

    def _save_last(self) -> None:
        if not self.ranks.is_first:
            return
        contents = self._description(self.spec) | self.optimisation.state()
        save_checkpoint(self.folder / "last.pt", contents | {"progress": vars(self.progress)})
        write_text(self.folder / "history.json", json.dumps(self.progress.history, indent=1))


def _prepare_folder(folder: Path) -> None:
    if (folder / "last.pt").exists():
        raise InputError(
            f"`{folder}` already holds a run. Continue it with `--resume {folder}`, "
            "or choose another folder with `--output`."
        )
    make_folder(folder)


def _refuse_small_batch(config: TrainConfig, ranks: Ranks, num_images: int) -> None:
    batch_size = min(config.batch_size, num_images)
    if batch_size < ranks.size * config.accumulate:
        raise InputError(
            f"train: a batch of {batch_size} images cannot be split over {ranks.size} processes "
            f"with {config.accumulate} parts each. Give a larger `--batch` or fewer parts."
        )


def _refuse_unfreezing(config: TrainConfig, network: Network) -> None:
    num_stages = len(network.backbone().stages()) if config.unfreeze else 0
    if len(config.unfreeze) > num_stages:
        raise InputError(
            f"train: `unfreeze` names {len(config.unfreeze)} stages, and the backbone of "
            f"`{config.model}` has {num_stages}. Give as many numbers or fewer."
        )


def _describe(config: TrainConfig, task: TrainingTask, network: Network) -> ModelSpec:
    regions = network.proposals_spec()
    if regions is not None:
        regions = replace(regions, method=task.proposal_method)
    return ModelSpec(
        task=network.task,
        classes=task.classes,
        input=InputSpec(
            name="images",
            size_hw=config.size_hw,
            mean=config.mean,
            std=config.std,
            fit=config.fit,
        ),
        output=network.output_spec(),
        postprocess=task.postprocess(),
        provenance=Provenance(
            model=config.model, data=config.data, versions=versions_in_use("torch", "torchvision")
        ),
        proposals=regions,
        keypoints=task.keypoints,
        skeleton=task.skeleton,
    )
