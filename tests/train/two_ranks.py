"""Runs under `torchrun`, and as a module of the tests: a detector without batch norms, trained.

Batch norms see what one process sees, so only without them a run of two processes equals that of
one. `torchrun two_ranks.py SCENES FOLDER` makes the runs that `test_distributed.py` looks at.
"""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgecv.data.batches import Batch
from edgecv.data.targets import Target
from edgecv.models import Detector, register_model, ssd_mobilenetv2
from edgecv.train import trainer
from edgecv.train.config import TrainConfig
from edgecv.train.distributed import Ranks, join_ranks
from edgecv.train.optimisation import Optimisation


@register_model
def ssd_of_group_norms(num_classes: int, size_hw: tuple[int, int]) -> Detector:
    """Build the SSD with norms that look at one image only."""
    detector = ssd_mobilenetv2(num_classes, size_hw)
    for module in list(detector.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
    return detector


class Losses:
    """Remembers the losses, and sends SIGTERM to this process after `stop_after` steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self.stop_after = stop_after

    def started(self, **_: object) -> None:
        pass

    def stepped(self, *, loss: float, **_: object) -> None:
        self.losses.append(loss)
        if len(self.losses) == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def finished_epoch(self, record: object) -> None:
        pass


def config_for(scenes: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "model": "ssd_of_group_norms",
        "data": f"coco:{scenes}",
        "epochs": 2,
        "size_hw": (64, 96),
        "batch_size": 8,
        "weights": "none",
        "precision": "float32",
        "device": "cpu",
    }
    return TrainConfig(**(settings | changes))


def gradients_of(ranks: Ranks, accumulate: int) -> torch.Tensor:
    """Return the gradients, in one row, of a step on eight images with none to two objects."""
    torch.manual_seed(0)
    detector = ssd_of_group_norms(3, (64, 96))
    images = torch.randn(8, 3, 64, 96)
    targets = tuple(
        Target(
            torch.tensor([[5.0, 5.0, 40.0 + image, 40.0]]).repeat(image % 3, 1),
            torch.ones(image % 3, dtype=torch.int64),
        )
        for image in range(8)
    )
    config = config_for(Path("unused"), accumulate=accumulate)
    optimisation = Optimisation(detector, config, ranks)
    optimisation.begin_epoch(None)
    share = slice(ranks.rank, None, ranks.size)
    optimisation.step(Batch(images[share], targets[share]), 0.0, where="the only batch")
    gradients = [parameter.grad for parameter in detector.parameters()]
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def ranges_of(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Return the ranges of fake quantisation after a step on images that no other process sees."""
    torch.manual_seed(0)
    config = config_for(Path("unused"), fake_quantise="int8-cpu", weights="unused")
    optimisation = Optimisation(ssd_of_group_norms(3, (64, 96)), config, ranks)
    optimisation.begin_epoch(None)
    target = Target(torch.tensor([[5.0, 5.0, 40.0, 40.0]]), torch.ones(1, dtype=torch.int64))
    images = (1 + ranks.rank) * torch.randn(1, 3, 64, 96)
    optimisation.step(Batch(images, (target,)), 0.0, where="the only batch")
    optimisation.validated()
    found = optimisation.fake_quantisation
    return {} if found is None else dict(found.state_dict())


def main(scenes: Path, folder: Path) -> None:
    rank = int(os.environ["RANK"])
    norms = config_for(scenes, model="ssd_mobilenetv2", unfreeze=(0, 1))

    for accumulate in (1, 3):
        gradients = gradients_of(join_ranks("cpu"), accumulate)
        torch.save(gradients, folder / f"gradients_{accumulate}_{rank}.pt")

    if find_spec("torchao") is not None:
        torch.save(ranges_of(join_ranks("cpu")), folder / f"ranges_{rank}.pt")

    trainer.train(config_for(scenes), folder / "one_by_one", Losses())
    trainer.train(norms, folder / "whole", Losses())

    # Stopped within the first epoch, after the signal reached the second process alone.
    if rank == 1:
        after_two_steps(lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = trainer.train(norms, folder / "stopped", Losses())
    resumed = trainer.resume(folder / "stopped", Losses())
    epochs = [record["epoch"] for record in resumed.history]
    said = f"rank {rank} interrupted {stopped.was_interrupted}, then epochs {epochs}\n"
    (folder / f"rank_{rank}.txt").write_text(said)

    # To be continued by one process.
    trainer.train(config_for(scenes), folder / "handed_over", Losses(stop_after=2))


def after_two_steps(act: Any) -> None:
    """Run `act` once, after this process' second step from now."""
    original, count = Optimisation.step, 0

    def step(self: Optimisation, *args: Any, **options: Any) -> dict[str, float]:
        nonlocal count
        losses = original(self, *args, **options)
        count += 1
        if count == 2:
            Optimisation.step = original  # type: ignore[method-assign]
            act()
        return losses

    Optimisation.step = step  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
