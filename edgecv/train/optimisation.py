"""One optimiser step over a batch: precision, parts and processes, gradients, averaged weights."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from edgecv.data.batches import Batch, Targets
from edgecv.errors import EdgeCVError, InputError
from edgecv.models.network import Losses, Network
from edgecv.train.config import TrainConfig
from edgecv.train.distributed import Ranks, unshared
from edgecv.train.fake_quantisation import FakeQuantisation, hold_norms

_MAX_GRADIENT_NORM = 10.0


class Optimisation:
    """A network with all that its steps change: optimiser, loss scale and averaged weights.

    Attributes:
        network: what is trained.
        averaged: the mean of its weights; `validated` returns it ready to be measured.
        fake_quantisation: what lets both round as an 8-bit export, None if they do not.

    """

    def __init__(self, network: Network, config: TrainConfig, ranks: Ranks) -> None:
        """Prepare the steps of `config` for a network that lies on the CPU.

        Args:
            network: moved to the device, its layout changed to channels last.
            config: of the run.
            ranks: of the run, with this process' device.

        Raises:
            InputError: if the device cannot do what is asked for.

        """
        device = ranks.device
        if config.sync_norms:
            if device.type != "cuda":
                raise InputError("`--sync-norms` needs GPUs. Leave it out on a CPU.")
            if ranks.size > 1:
                network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        # oneDNN and cuDNN convolve fastest with channels last.
        self.network: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self.averaged = AveragedModel(
            self.network, avg_fn=_ramped_average(config.ema_decay), use_buffers=True
        )
        self._constants = _constants_of(self.network, self.averaged.module)
        self.fake_quantisation: FakeQuantisation | None = None
        if config.fake_quantise is not None:
            self.fake_quantisation = FakeQuantisation(
                self.network, config.fake_quantise, config.size_hw
            )
            for rounded in (self.network, cast("Network", self.averaged.module)):
                self.fake_quantisation.attach(rounded)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.network, config))
        is_float32 = config.fake_quantise is not None
        self._dtype = _choose_precision("float32" if is_float32 else config.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        self._ranks = ranks
        self._accumulate = config.accumulate
        if config.compile:  # after the copy for the averaged weights, which stay as they are
            self.network.compiled_part().compile(dynamic=False)
        self._trained_stages: int | None = -1
        self._losses: nn.Module = _LossModule(self.network)

    def begin_epoch(self, trained_stages: int | None, *, observes: bool = True) -> None:
        """Switch to training.

        Args:
            trained_stages: of the backbone, None for all of it.
            observes: whether ranges of fake quantisation follow the values, or are held.

        """
        if trained_stages != self._trained_stages:
            self._trained_stages = trained_stages
            if trained_stages is None:
                self.network.unfreeze_backbone()
            else:
                self.network.freeze_backbone(trained_stages=trained_stages)
            self._losses = self._ranks.sharing_gradients(
                _LossModule(self.network), trains_all=self.network.trains_all
            )
        self.network.train()
        if self.fake_quantisation is not None:
            hold_norms(self.network)
            self.fake_quantisation.observe(is_on=observes)

    def validated(self) -> Network:
        """Return the averaged network as it is to be measured, the same in all processes."""
        network = cast("Network", self.averaged.module)
        self._ranks.agree(network)
        if self.fake_quantisation is not None:
            self._ranks.agree(self.fake_quantisation)
            self.fake_quantisation.observe(is_on=False)
        return network

    def step(self, batch: Batch, rate_factor: float, *, where: str) -> dict[str, float]:
        """Take one step on this process' share of a batch.

        Args:
            batch: the share.
            rate_factor: on the peak learning rates.
            where: names the batch in errors.

        Returns:
            The loss of the whole batch: `total` and its parts.

        Raises:
            EdgeCVError: if the loss is not a finite number; no weight has changed then.

        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_rate"] * rate_factor
        self.optimizer.zero_grad(set_to_none=True)
        names, sums = self._backward(batch)
        count, *values = self._ranks.sum(sums).tolist()
        divisor = max(1.0, count)
        losses = {name: value / divisor for name, value in zip(names, values, strict=True)}
        if not math.isfinite(losses["total"]):
            raise EdgeCVError(
                f"the loss became {losses['total']} in {where}. Lower `--lr`, or use "
                "`--precision float32`."
            )
        self.scaler.unscale_(self.optimizer)
        trained = [p for p in self.network.parameters() if p.grad is not None]
        if divisor != self._ranks.size:  # the processes' gradients came as a mean, not as a sum
            for parameter in trained:
                parameter.grad *= self._ranks.size / divisor
        nn.utils.clip_grad_norm_(trained, _MAX_GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.network)
        for mean, constant in self._constants:
            mean.copy_(constant)
        return losses

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on exactly."""
        ranges = self.fake_quantisation
        return {
            **({} if ranges is None else {"fake_quantisation": ranges.state_dict()}),
            "averaged": self.averaged.module.state_dict(),
            "detector": self.network.state_dict(),  # its key since the first format
            "num_averaged": self.averaged.n_averaged,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.network.load_state_dict(state["detector"])
        self.averaged.module.load_state_dict(state["averaged"])
        self.averaged.n_averaged.copy_(state["num_averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.fake_quantisation is not None:
            self.fake_quantisation.load_state_dict(state["fake_quantisation"])

    def _backward(self, batch: Batch) -> tuple[list[str], Tensor]:
        """Leave the gradients of this process' share in the parameters, part by part.

        Returns:
            The names of the losses, `total` first; and over the parts the sums of what the losses
            were divided by and of the losses before that division, float64. The gradients, too,
            are those before the division, because only the whole batch knows the divisor.

        """
        # Alone and in one part, the losses are what they are, and so are their gradients.
        is_whole = self._accumulate * self._ranks.size == 1
        sums = torch.zeros((), dtype=torch.float64, device=self.device)
        names: list[str] = []
        parts = list(_split(batch, self._accumulate))
        for index, (images, targets) in enumerate(parts):
            is_last = index + 1 == len(parts)
            with nullcontext() if is_last else unshared(self._losses):
                losses = self._forward(images, targets)
                if is_whole:
                    count = weight = torch.ones_like(losses.total)
                elif losses.count is None:
                    count = weight = losses.total.new_tensor(len(images))
                else:
                    count, weight = losses.count, losses.count.clamp(min=1)
                self.scaler.scale(losses.total * weight).backward()  # type: ignore[no-untyped-call]
            names = ["total", *losses.parts]
            found = torch.stack([losses.total, *losses.parts.values()]).detach().double() * weight
            sums = sums + torch.cat([count.double()[None], found])
        return names, sums

    def _forward(self, images: Tensor, targets: Targets) -> Losses:
        images = images.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            losses: Losses = self._losses(images, _moved(targets, self.device))
        return losses


class _LossModule(nn.Module):
    """Makes the loss the output of a forward pass, which is where processes are kept in step."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, targets: Targets) -> Losses:
        return self.network.losses(images, targets)


def _split(batch: Batch, num_parts: int) -> Iterator[tuple[Tensor, Targets]]:
    """Yield the images and targets of parts of nearly the same size."""
    start = 0
    for images in batch.images.tensor_split(num_parts):
        yield images, batch.targets[start : start + len(images)]
        start += len(images)


def _moved(targets: Targets, device: torch.device) -> Targets:
    """Return the targets on a device."""
    if isinstance(targets, Tensor):
        return targets.to(device)
    return [target.to(device) for target in targets]


def _parameter_groups(network: Network, config: TrainConfig) -> list[dict[str, Any]]:
    """Group parameters by rate (backbone or not) and by decay (matrices or not).

    What is frozen for some epochs is among them: it has no gradient and is left alone until then.
    """
    backbone = {id(parameter) for parameter in network.backbone().parameters()}
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for parameter in network.parameters():
        is_backbone = id(parameter) in backbone
        if parameter.requires_grad and not (is_backbone and config.backbone_rate == 0):
            groups.setdefault((is_backbone, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak_rate": config.learning_rate * (config.backbone_rate if is_backbone else 1.0),
            "weight_decay": config.weight_decay if is_matrix else 0.0,
        }
        for (is_backbone, is_matrix), parameters in groups.items()
    ]


def _constants_of(detector: nn.Module, averaged: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return what no checkpoint holds, such as anchors: of the averaged copy, and as it should be.

    A mean of equal values drifts by its rounding, over a run by a hundredth of a pixel; a model
    that is built again has the values themselves.
    """
    stored = detector.state_dict().keys()
    copies = dict(averaged.named_buffers())
    return [(copies[name], value) for name, value in detector.named_buffers() if name not in stored]


def _ramped_average(decay: float) -> Any:  # noqa: ANN401  # torch's own signature
    """Return the moving average whose decay grows to `decay`, so that early steps are forgotten."""

    def average(mean: Tensor, value: Tensor, num_averaged: Tensor | int) -> Tensor:
        count = float(num_averaged)
        current = min(decay, (1 + count) / (10 + count))
        return mean * current + value * (1 - current) if mean.is_floating_point() else value

    return average


def _choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        dtype: torch.dtype = getattr(torch, wanted)
        return dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = torch.cpu.get_capabilities()
    has_bfloat16 = fast.get("avx512_bf16") or fast.get("amx_bf16")
    return torch.bfloat16 if has_bfloat16 else torch.float32
