"""The training loop: from a configuration to `best.pt`, interruptible at every step."""

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from edgecv.data import Problem, open_dataset
from edgecv.data.augment import seed_for
from edgecv.data.batches import Batch, TrainingBatches
from edgecv.errors import DatasetError, EdgeCVError, InputError, OutputError
from edgecv.files import unwritable, write_text
from edgecv.metrics.detection import DetectionMetrics, detection_metrics
from edgecv.models import Detector, build_model, require_model
from edgecv.models.suppress import torch_session
from edgecv.provenance import versions_in_use
from edgecv.records import from_plain
from edgecv.runtime.model import Model
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec, Provenance
from edgecv.train.checkpoint import Progress, config_to_plain, read_checkpoint, save_checkpoint
from edgecv.train.config import TrainConfig
from edgecv.train.schedule import rate_factor

_MAX_GRADIENT_NORM = 10.0
_VALIDATION_SCORE = 0.01  # lower scores add time and nothing to a comparison of epochs


class Observer(Protocol):
    """Whoever wants to follow a run, such as the progress bar."""

    def started(self, *, num_epochs: int, num_batches: int, progress: Progress) -> None:
        """The first batch comes next."""

    def stepped(self, *, epoch: int, loss: float) -> None:
        """A batch is done."""

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """An epoch and its validation are done."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        folder: where `best.pt`, `last.pt`, `history.json` and TensorBoard's files lie.
        history: one record per finished epoch.
        best_epoch: the epoch (1-based) whose weights are in `best.pt`, 0 if there is none yet.
        was_interrupted: the run was stopped and can be resumed.
        problems: what `on_bad="skip"` left out of training and validation.
        seconds: of this process.

    """

    folder: Path
    history: list[dict[str, Any]]
    best_epoch: int
    was_interrupted: bool
    problems: tuple[Problem, ...]
    seconds: float


def train(config: TrainConfig, folder: Path, observer: Observer) -> TrainResult:
    """Train from the start into `folder`.

    Raises:
        InputError: if `folder` already holds a run, or the data or weights cannot be used.
        OutputError: if `folder` cannot be written.

    """
    if (folder / "last.pt").exists():
        raise InputError(
            f"`{folder}` already holds a run. Continue it with `--resume {folder}`, "
            "or choose another folder with `--output`."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(unwritable(folder, error)) from error
    return _Run(config, folder, observer).run()


def resume(folder: Path, observer: Observer) -> TrainResult:
    """Continue the run in `folder` exactly where its last checkpoint was written.

    Raises:
        InputError: if there is no checkpoint to continue from.

    """
    contents = read_checkpoint(folder / "last.pt")
    if "optimizer" not in contents:
        raise InputError(f"`{folder / 'last.pt'}` holds weights only and cannot be resumed.")
    config = from_plain(TrainConfig, contents["config"], where="config")
    return _Run(config, folder, observer, contents).run()


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        observer: Observer,
        contents: dict[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.observer = observer
        require_model(config.model)  # before data that may have to be downloaded
        self.device = _choose_device(config.device)
        self.autocast_dtype = _choose_precision(config.precision, self.device)
        training = open_dataset(config.data, "train", on_bad=config.on_bad)
        self.validation = open_dataset(config.data, "val", on_bad=config.on_bad)
        for dataset in (training, self.validation):
            if not any(len(sample.class_ids) for sample in dataset.samples):
                raise DatasetError(
                    f"`{config.data}`: the split {dataset.split} holds no object at all. "
                    "Nothing can be learnt or measured on it; check its annotations."
                )
        self.problems = (*training.problems, *self.validation.problems)
        torch.manual_seed(config.seed)
        detector = build_model(
            config.model, len(training.classes), config.size_hw, backbone=config.backbone
        )
        if contents is None:
            _load_weights(detector, config.weights)
        if config.backbone_rate == 0:
            detector.freeze_backbone()
        # oneDNN and cuDNN convolve fastest with channels last.
        self.detector = detector.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(
            self.detector, avg_fn=_ramped_average(config.ema_decay), use_buffers=True
        )
        self.spec = _describe(config, training.classes, self.detector)
        self.batches = TrainingBatches(
            training,
            self.spec.input,
            batch_size=config.batch_size,
            seed=config.seed,
            workers=config.workers,
        )
        self.num_steps = config.epochs * len(self.batches)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.detector, config))
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.autocast_dtype == torch.float16
        )
        self.progress = Progress()
        if contents is not None:
            self._restore(contents)

    def run(self) -> TrainResult:
        start = time.monotonic()
        progress = self.progress
        writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=progress.step)
        self.observer.started(
            num_epochs=self.config.epochs, num_batches=len(self.batches), progress=progress
        )
        with _deferred_interrupt() as interrupt, writer:
            while progress.epoch < self.config.epochs and not interrupt.is_set():
                self._train_epoch(writer, interrupt)
                if interrupt.is_set():
                    break
                self._finish_epoch(writer)
            self._save_last()
        return TrainResult(
            folder=self.folder,
            history=progress.history,
            best_epoch=progress.best_epoch,
            was_interrupted=interrupt.is_set(),
            problems=self.problems,
            seconds=time.monotonic() - start,
        )

    def _train_epoch(self, writer: SummaryWriter, interrupt: threading.Event) -> None:
        progress = self.progress
        self.detector.train()
        for batch in self.batches.epoch(progress.epoch, first_batch=progress.batch):
            parts = self._step(batch)
            progress.losses.append(parts["total"])
            progress.batch += 1
            progress.step += 1
            for name, value in parts.items():
                writer.add_scalar(f"loss/{name}", value, progress.step)
            self.observer.stepped(epoch=progress.epoch, loss=parts["total"])
            if interrupt.is_set():
                return

    def _step(self, batch: Batch) -> dict[str, float]:
        factor = rate_factor(
            self.progress.step,
            num_steps=self.num_steps,
            num_warmup=round(self.config.warmup_epochs * len(self.batches)),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_rate"] * factor
        # What the loss draws at random depends on the step alone, so that a resume draws it too.
        seed_for(self.config.seed, self.progress.step)
        images = batch.images.to(self.device, memory_format=torch.channels_last)
        targets = [target.to(self.device) for target in batch.targets]
        with torch.autocast(
            self.device.type, self.autocast_dtype, enabled=self.autocast_dtype != torch.float32
        ):
            losses = self.detector.losses(images, targets)
        total = losses.total.item()
        if not math.isfinite(total):
            raise EdgeCVError(
                f"the loss became {total} in epoch {self.progress.epoch + 1}, batch "
                f"{self.progress.batch + 1}. Lower `--lr`, or use `--precision float32`."
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.detector.parameters(), _MAX_GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.detector)
        return {"total": total, **{name: part.item() for name, part in losses.parts.items()}}

    def _finish_epoch(self, writer: SummaryWriter) -> None:
        progress = self.progress
        metrics = self._validate()
        record: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "loss": sum(progress.losses) / len(progress.losses),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **metrics.to_plain(),
        }
        progress.history.append(record)
        progress.epoch += 1
        progress.batch = 0
        progress.losses = []
        for name in ("AP", "AP50", "AP75"):
            writer.add_scalar(f"validation/{name}", metrics.summary[name], progress.step)
        writer.add_scalar("learning_rate", record["learning_rate"], progress.step)
        if metrics.summary["AP"] > progress.best:
            progress.best, progress.best_epoch = metrics.summary["AP"], progress.epoch
            measured = {
                f"val_{key}": value
                for key, value in metrics.summary.items()
                if not math.isnan(value)
            }
            spec = replace(self.spec, provenance=replace(self.spec.provenance, metrics=measured))
            save_checkpoint(self.folder / "best.pt", self._weights(spec))
        self._save_last()
        self.observer.finished_epoch(record)

    def _validate(self) -> DetectionMetrics:
        detector = cast("Detector", self.averaged.module)
        model = Model(torch_session(detector, self.spec)).with_thresholds(score=_VALIDATION_SCORE)
        found = [model(sample.image_path) for sample in self.validation.samples]
        return detection_metrics(self.validation, self.spec.classes, found)

    def _weights(self, spec: ModelSpec) -> dict[str, Any]:
        return {
            "config": config_to_plain(self.config),
            "spec": spec.to_json(),
            "averaged": self.averaged.module.state_dict(),
        }

    def _save_last(self) -> None:
        contents = self._weights(self.spec) | {
            "detector": self.detector.state_dict(),
            "num_averaged": self.averaged.n_averaged,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": vars(self.progress),
        }
        save_checkpoint(self.folder / "last.pt", contents)
        write_text(self.folder / "history.json", json.dumps(self.progress.history, indent=1))

    def _restore(self, contents: dict[str, Any]) -> None:
        self.detector.load_state_dict(contents["detector"])
        self.averaged.module.load_state_dict(contents["averaged"])
        self.averaged.n_averaged.copy_(contents["num_averaged"])
        self.optimizer.load_state_dict(contents["optimizer"])
        self.scaler.load_state_dict(contents["scaler"])
        self.progress = Progress(**contents["progress"])


def _describe(config: TrainConfig, classes: tuple[str, ...], detector: Detector) -> ModelSpec:
    return ModelSpec(
        task=detector.task,
        classes=classes,
        input=InputSpec(
            name="images",
            size_hw=config.size_hw,
            mean=config.mean,
            std=config.std,
            fit=config.fit,
        ),
        output=detector.output_spec(),
        postprocess=PostprocessSpec(),
        provenance=Provenance(
            model=config.model, data=config.data, versions=versions_in_use("torch", "torchvision")
        ),
    )


def _load_weights(detector: Detector, weights: str) -> None:
    if weights == "none":
        return
    if weights == "imagenet":
        backbone = detector.backbone()
        backbone.load(backbone.imagenet_state(), origin="imagenet")
        return
    path = Path(weights)
    if not path.is_file():
        raise InputError(
            f"`--weights` must be `imagenet`, `none` or a file, got `{weights}`, which is none."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the damaged bytes lead it to
        raise InputError(
            f"`{path}` is not a file of PyTorch weights: {str(error).splitlines()[0]}."
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"`{path}` must hold a state dictionary, got {type(state).__name__}.")
    detector.backbone().load(state, origin=str(path))


def _parameter_groups(detector: Detector, config: TrainConfig) -> list[dict[str, Any]]:
    """Split parameters by rate (backbone or not) and by decay (matrices or not)."""
    backbone = {id(parameter) for parameter in detector.backbone().parameters()}
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for parameter in detector.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in backbone, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "peak_rate": config.learning_rate * (config.backbone_rate if is_backbone else 1.0),
            "weight_decay": config.weight_decay if is_matrix else 0.0,
        }
        for (is_backbone, is_matrix), parameters in groups.items()
    ]


def _ramped_average(decay: float) -> Any:  # noqa: ANN401  # torch's own signature
    """Return the moving average whose decay grows to `decay`, so that early steps are forgotten."""

    def average(mean: Tensor, value: Tensor, num_averaged: Tensor | int) -> Tensor:
        count = float(num_averaged)
        current = min(decay, (1 + count) / (10 + count))
        return mean * current + value * (1 - current) if mean.is_floating_point() else value

    return average


def _choose_device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("`--device cuda`: PyTorch sees no GPU here. Use `--device cpu`.")
    return torch.device(wanted)


def _choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        dtype: torch.dtype = getattr(torch, wanted)
        return dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = torch.cpu.get_capabilities()
    has_bfloat16 = fast.get("avx512_bf16") or fast.get("amx_bf16")
    return torch.bfloat16 if has_bfloat16 else torch.float32


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Yield an event that CTRL-C or SIGTERM sets; a second CTRL-C interrupts at once.

    The loop looks at it between steps, where weights, optimiser and counters agree.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            signal.default_int_handler(number, frame)
        event.set()

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
