"""What a training run is made of, stored in its checkpoints for a resume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from edgecv.data.augment.files import read_recipe
from edgecv.data.augment.recipe import Recipe
from edgecv.errors import InputError
from edgecv.options import OptionValue
from edgecv.placement import Fit

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Precision = Literal["auto", "float32", "bfloat16", "float16"]

QuantisedPrecision = Literal["int8-cpu", "int8-tensorrt"]
"""Precisions of an export that a fine-tuning may imitate, see `edgecv.precision`."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run; the defaults are a detector's.

    `edgecv.train.recipe.configure` knows those of a classifier.

    Args:
        model: a name that `edgecv.models.build_model` knows.
        backbone: as `edgecv.models.backbone.Backbone` names it; None for the model's own.
        options: of the model, see `edgecv.models.model_options`; those left out have their default.
        data: a data set as `edgecv.data.open_dataset` takes it, for a classifier as
            `edgecv.data.open_classification` does.
        proposals: a file of `edgecv.proposals.read_proposals` with the regions of every image of
            training and validation, for a model that looks at given ones; None for any other.
        epochs: passes over the training split.
        size_hw: height and width of the network's input in pixels.
        fit: how images are fitted into it, in training and ever after.
        augment: how training images are varied, see `edgecv.data.augment.files.read_recipe`; whole,
            so that a resume does not depend on a file.
        batch_size: images a step, over all processes of a distributed run.
        accumulate: parts that a process takes its share of a batch in, one after the other, to
            save memory; the step is that of the whole batch, but for batch norms' statistics.
        learning_rate: peak rate of the heads (AdamW).
        backbone_rate: the backbone's rate as a fraction of it; 0 freezes the backbone.
        unfreeze: epochs after which further stages of the backbone start to train: the deepest
            after the first number, the next after the second, all that remain after the last.
            (5,) freezes the backbone for 5 epochs; () trains it from the start.
        weight_decay: of convolution weights; biases and norms have none.
        warmup_epochs: epochs of linear rise from zero, may be a fraction.
        ema_decay: of the averaged weights that are validated and exported.
        weights: `imagenet`, `none`, a file with the backbone's weights, or a checkpoint of the
            same model for other classes, such as `best.pt`.
        mean: per channel, of pixels in 0..1, as the backbone's weights expect.
        std: likewise.
        precision: of the forward pass; `auto` takes what the device is fast in.
        fake_quantise: fine-tune a trained model for an export in this precision: `weights` must be
            a checkpoint; None for a training in float. See `edgecv.train.fake_quantisation`.
        compile: let `torch.compile` make the network's forward and backward pass.
        sync_norms: batch norms see the whole batch of a distributed run on GPUs.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that prepare batches, 0 for none.
        seed: two runs on a CPU with the same seed are the same.
        on_bad: what to do with a broken annotation, `error` or `skip`.
        patience: epochs without a better validation figure (AP, that of the masks or keypoints
            where the model finds them, or top-1) that end the run, None for no such end.
        time_budget_s: seconds of training and validation that the run plans its epochs and
            learning rate for, see `edgecv.train.schedule.planned_epochs`; None for all epochs.

    """

    model: str
    data: str
    backbone: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    proposals: str | None = None
    epochs: int = 50
    size_hw: tuple[int, int] = (320, 320)
    fit: Fit = "letterbox"
    augment: Recipe = field(default_factory=partial(read_recipe, "default"))
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 2e-3
    backbone_rate: float = 0.3
    unfreeze: tuple[int, ...] = ()
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    ema_decay: float = 0.998
    weights: str = "imagenet"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    precision: Precision = "auto"
    fake_quantise: QuantisedPrecision | None = None
    compile: bool = False
    sync_norms: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 0
    seed: int = 0
    on_bad: Literal["error", "skip"] = "error"
    patience: int | None = None
    time_budget_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        self._refuse_numbers()
        self._refuse_unfreezing()
        if self.fake_quantise is not None:
            self._refuse_fake_quantisation()
        if self.ema_decay >= 1:
            raise InputError(f"train: `ema_decay` must be below 1, got {self.ema_decay}.")
        if min(self.size_hw) < 1:  # a model may want more
            raise InputError(f"train: `size` must be at least 1 x 1, got {self.size_hw}.")

    def trained_stages(self, epoch: int) -> int | None:
        """Return how many stages of the backbone train in an epoch (0-based), None for all."""
        if self.backbone_rate == 0:
            return 0
        passed = sum(after <= epoch for after in self.unfreeze)
        return None if passed == len(self.unfreeze) else passed

    def _refuse_numbers(self) -> None:
        least = {
            "epochs": 1,
            "batch_size": 1,
            "accumulate": 1,
            "learning_rate": 1e-12,
            "backbone_rate": 0,
            "weight_decay": 0,
            "warmup_epochs": 0,
            "ema_decay": 0,
            "workers": 0,
            "seed": 0,
            "patience": 1,
            "time_budget_s": 1,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not value >= bound:  # so that NaN is refused too
                raise InputError(f"train: `{name}` must be at least {bound}, got {value}.")

    def _refuse_fake_quantisation(self) -> None:
        refuse_untrained(self.weights)
        if self.precision not in ("auto", "float32"):
            raise InputError(
                "train: `fake_quantise` computes in float32, whose digits hold the values that 8 "
                f"bits can take, and {self.precision}'s do not. Leave out `--precision`."
            )
        if self.compile:
            raise InputError(
                "train: `fake_quantise` cannot be compiled: it rounds in hooks, some of which "
                "change from pass to pass. Leave out `--compile`."
            )

    def _refuse_unfreezing(self) -> None:
        ascends = list(self.unfreeze) == sorted(set(self.unfreeze))
        if not ascends or any(not 0 <= epoch < self.epochs for epoch in self.unfreeze):
            raise InputError(
                "train: `unfreeze` must be ascending numbers of epochs, each below `epochs` = "
                f"{self.epochs}, got {list(self.unfreeze)}."
            )
        if self.unfreeze and self.backbone_rate == 0:
            raise InputError(
                "train: `backbone_rate` 0 freezes the backbone for good. Leave out `unfreeze`, or "
                "give a rate."
            )


def refuse_untrained(weights: str | None) -> None:
    """Refuse to fake-quantise what was not trained yet.

    Raises:
        InputError: if `weights` names no file.

    """
    if weights in (None, "imagenet", "none"):
        raise InputError(
            "train: `fake_quantise` fine-tunes a model that is trained already. Name its "
            "checkpoint with `--weights`, such as `--weights runs/NAME/best.pt`."
        )
