"""Checkpoints: written whole or not at all, read without running code from the file."""

import json
import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgecv.errors import InputError, SpecError
from edgecv.files import replacing
from edgecv.models import Network, build_model
from edgecv.provenance import installed_version
from edgecv.records import from_plain, to_plain
from edgecv.spec import ModelSpec
from edgecv.train.config import TrainConfig

MARK = "edgecv_checkpoint"  # the key that tells a checkpoint from bare weights
_FORMAT = 1


@dataclass
class Progress:
    """How far a run has come.

    Args:
        epoch: the epoch that is under way, 0-based.
        batch: its next batch.
        step: optimiser steps since the start.
        losses: total loss of the batches of this epoch so far.
        history: one record per finished epoch.
        best: the best validation figure so far, AP or top-1, -1 before the first.
        best_epoch: the epoch (1-based) that reached it, whose weights are in `best.pt`; 0 before.
        epoch_seconds: that this epoch's batches have taken so far.
        waited_seconds: of these, how many the loop waited for the next batch.
        planned_epochs: after how many the run ends, 0 before the first batch.

    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float = -1.0
    best_epoch: int = 0
    epoch_seconds: float = 0.0
    waited_seconds: float = 0.0
    planned_epochs: int = 0

    @property
    def waiting(self) -> float:
        """The share of this epoch's time, 0..1, that was spent on waiting for data."""
        return self.waited_seconds / self.epoch_seconds if self.epoch_seconds else 0.0


@dataclass(frozen=True)
class Trained:
    """A trained network with its description, as `best.pt` holds it."""

    network: Network
    spec: ModelSpec
    config: TrainConfig


def save_checkpoint(path: Path, contents: dict[str, Any]) -> None:
    """Write a checkpoint; until it is whole, an older one stays in place.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.

    """
    with replacing(path) as partial, partial.open("wb") as file:
        try:
            torch.save({MARK: _FORMAT, **contents}, file)
        except RuntimeError as error:  # torch wraps a full disk in an error of its own
            raise OSError(str(error).splitlines()[0]) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint of edgecv.

    """
    if not path.is_file():
        raise InputError(f"`{path}`: there is no such checkpoint. Check the path.")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"`{path}` is not a readable checkpoint: {reason}. "
            "Take another one of the run, or train again."
        ) from error
    found = contents.get(MARK) if isinstance(contents, dict) else None
    if found != _FORMAT:
        raise InputError(
            f"`{path}` is not a checkpoint that this edgecv reads (format {found!r}, expected "
            f"{_FORMAT}). Give `best.pt` or `last.pt` of a run of `edgecv train`."
        )
    return dict(contents)


def load_trained(path: Path) -> Trained:
    """Return the network with the averaged weights of `best.pt` or `last.pt`, on the CPU.

    Raises:
        InputError: if the file is not a checkpoint, see `read_checkpoint`, or an edgecv wrote it
            whose settings or layers were others.

    """
    contents = read_checkpoint(path)
    try:
        spec = ModelSpec.from_json(contents["spec"])
        config = from_plain(TrainConfig, contents["config"], where="config")
    except (SpecError, KeyError) as error:
        raise InputError(_of_another_version(path, contents, str(error))) from error
    network = build_model(
        config.model,
        len(spec.classes),
        config.size_hw,
        backbone=config.backbone,
        options=config.options,
        num_keypoints=len(spec.keypoints),
    )
    try:
        network.load_state_dict(contents["averaged"])
    except (RuntimeError, KeyError) as error:
        reason = f"the layers of its {config.model} are others"
        raise InputError(_of_another_version(path, contents, reason)) from error
    network.eval()
    return Trained(network, spec, config)


def _of_another_version(path: Path, contents: Mapping[str, Any], reason: str) -> str:
    """Return the one line that says why a checkpoint is not understood."""
    writer = "another version"
    with suppress(KeyError, TypeError, ValueError):
        versions = json.loads(contents["spec"])["provenance"]["versions"]
        writer = f"edgecv {versions['edgecv']}"
    return (
        f"`{path}` was written by {writer}, this is {installed_version('edgecv') or 'a checkout'}, "
        f"and cannot be read: {reason.rstrip('.')}. Export it with the version that trained it, or "
        "start a new training from it with `--weights`."
    )


def config_to_plain(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as it is stored in a checkpoint."""
    plain: dict[str, Any] = to_plain(config)
    return plain
