"""The processes of a run that `torchrun` started, or the only one.

Every process draws its share of each batch, holds all weights and takes the same steps. The first
one writes, shows progress and decides what depends on the clock; the others hear of it.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from edgecv.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Which of the processes of a run this one is.

    Args:
        rank: 0 for the first.
        size: processes of the run.
        device: where this process computes.

    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the elementwise sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def any(self, *, is_true: bool) -> bool:
        """Tell whether it is true in any process."""
        return bool(self.sum(torch.tensor(float(is_true), device=self.device)).item())

    def from_first(self, value: T) -> T:
        """Return the first process' value in all of them."""
        if self.size == 1:
            return value
        holder = [value]
        distributed.broadcast_object_list(holder, src=0)
        return holder[0]

    def gathered(self, items: list[T]) -> list[T]:
        """Return the items of all processes in the first one, turn by turn, in others nothing.

        It undoes a split by `items[rank::size]`.
        """
        if self.size == 1:
            return items
        parts: list[Any] | None = [None] * self.size if self.is_first else None
        distributed.gather_object(items, parts)
        if parts is None:
            return []
        longest = max(map(len, parts))
        return [part[row] for row in range(longest) for part in parts if row < len(part)]

    def agree(self, module: nn.Module) -> None:
        """Give the buffers of `module` the first process' values in all of them.

        Batch norms gather statistics of each process' own images.
        """
        if self.size > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Run a block in the first process before the others: it may download what they read."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def sharing_gradients(self, module: nn.Module, *, trains_all: bool) -> nn.Module:
        """Wrap `module` so that its backward pass averages gradients over the processes.

        Args:
            module: what is frozen or unfrozen in it afterwards needs a new wrapper.
            trains_all: see `edgecv.models.Detector`; looking for what a loss did not reach costs
                time.

        """
        if self.size == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=not trains_all)


def unshared(module: nn.Module) -> AbstractContextManager[None]:
    """Return the block in which gradients stay in their process, to be shared with later ones."""
    if isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return nullcontext()


def is_first_process() -> bool:
    """Tell, before any has joined, whether this process is to report."""
    return int(os.environ.get("RANK", "0")) == 0


def join_ranks(device: str) -> Ranks:
    """Join the processes that `torchrun` started with this one; alone, return the only rank.

    They stay joined until Python ends: what one group left in torchrun's store would mislead a
    second group of the same processes.

    Args:
        device: `auto`, `cpu` or `cuda`; GPUs exchange over NCCL, CPUs over Gloo.

    Raises:
        InputError: if a GPU is wanted and there is none, or fewer than processes.

    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _choose_device(device, local_rank)
    if size == 1:
        return Ranks(0, 1, chosen)
    if not distributed.is_initialized():
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Ranks(int(os.environ["RANK"]), size, chosen)


def _choose_device(wanted: str, local_rank: int) -> torch.device:
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and num_gpus == 0):
        return torch.device("cpu")
    if num_gpus == 0:
        raise InputError("`--device cuda`: PyTorch sees no GPU here. Use `--device cpu`.")
    if local_rank >= num_gpus:
        raise InputError(
            f"`torchrun` started more processes on this machine than it has GPUs ({num_gpus}). "
            f"Use `--nproc-per-node {num_gpus}`."
        )
    return torch.device("cuda", local_rank)
