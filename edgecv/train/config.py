"""What a training run is made of, stored in its checkpoints for a resume."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from edgecv.data.augment.files import read_recipe
from edgecv.data.augment.recipe import Recipe
from edgecv.errors import InputError
from edgecv.placement import Fit

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run.

    Args:
        model: a name that `edgecv.models.build_model` knows.
        backbone: as `edgecv.models.backbone.Backbone` names it; None for the model's own.
        data: a data set as `edgecv.data.open_dataset` takes it.
        epochs: passes over the training split.
        size_hw: height and width of the network's input in pixels.
        fit: how images are fitted into it, in training and ever after.
        augment: how training images are varied, see `edgecv.data.augment.files.read_recipe`; whole,
            so that a resume does not depend on a file.
        batch_size: images a step.
        learning_rate: peak rate of the heads (AdamW).
        backbone_rate: the backbone's rate as a fraction of it; 0 freezes the backbone.
        weight_decay: of convolution weights; biases and norms have none.
        warmup_epochs: epochs of linear rise from zero, may be a fraction.
        ema_decay: of the averaged weights that are validated and exported.
        weights: `imagenet`, `none`, or a file with the backbone's weights.
        mean: per channel, of pixels in 0..1, as the backbone's weights expect.
        std: likewise.
        precision: of the forward pass; `auto` takes what the device is fast in.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that prepare batches, 0 for none.
        seed: two runs on a CPU with the same seed are the same.
        on_bad: what to do with a broken annotation, `error` or `skip`.

    """

    model: str
    data: str
    backbone: str | None = None
    epochs: int = 50
    size_hw: tuple[int, int] = (320, 320)
    fit: Fit = "letterbox"
    augment: Recipe = field(default_factory=partial(read_recipe, "default"))
    batch_size: int = 16
    learning_rate: float = 2e-3
    backbone_rate: float = 0.3
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    ema_decay: float = 0.998
    weights: str = "imagenet"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 0
    seed: int = 0
    on_bad: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        least = {
            "epochs": 1,
            "batch_size": 1,
            "learning_rate": 1e-12,
            "backbone_rate": 0,
            "weight_decay": 0,
            "warmup_epochs": 0,
            "ema_decay": 0,
            "workers": 0,
        }
        for name, bound in least.items():
            if not getattr(self, name) >= bound:  # so that NaN is refused too
                raise InputError(
                    f"train: `{name}` must be at least {bound}, got {getattr(self, name)}."
                )
        if self.ema_decay >= 1:
            raise InputError(f"train: `ema_decay` must be below 1, got {self.ema_decay}.")
        if min(self.size_hw) < 64:  # noqa: PLR2004  # two cells of stride 32
            raise InputError(f"train: `size` must be at least 64 x 64, got {self.size_hw}.")
