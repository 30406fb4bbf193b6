"""The engines that edgecv builds by itself: by which recipe, where they are kept, which fit.

A file's name holds a checksum over everything that makes another engine of a model: so boards,
versions of TensorRT and containers share a folder without building each other's engines anew.
"""

import hashlib
import json
import re
import shlex
from dataclasses import astuple, dataclass
from pathlib import Path

import edgecv
from edgecv.board.files import SystemFiles
from edgecv.board.jetson import find_jetson
from edgecv.errors import InputError
from edgecv.files import cache_folder
from edgecv.runtime.engine_record import EngineRecord, Host, mismatches, read_record, sha256_of
from edgecv.runtime.session import ComputePrecision

_KEY_DIGITS = 16
# The first words of a Jetson's module, see `edgecv.board.jetson`; the longer ones first.
_BOARDS = {
    "AGX Orin": "agx-orin",
    "Orin NX": "orin-nx",
    "Orin Nano": "orin-nano",
    "Orin": "orin-nano",  # of an unknown one it is known that it has no less memory
    "AGX Thor": "thor",
    "Thor": "thor",
}


@dataclass(frozen=True)
class RecipeChoice:
    """The recipe that suits a machine.

    Args:
        name: of one that ships with edgecv.
        reason: why, in a few words.

    """

    name: str
    reason: str


@dataclass(frozen=True)
class WantedEngine:
    """The engine of a model for a machine, built or not.

    Args:
        model: the ONNX file.
        path: where the engine is kept; its record lies beside it.
        recipe: what builds it.
        host: which it is to fit.

    """

    model: Path
    path: Path
    recipe: RecipeChoice
    host: Host

    @property
    def words(self) -> tuple[str, ...]:
        """The words after `edgecv` that build it."""
        words = ("build", str(self.model), "-o", str(self.path), "--recipe", self.recipe.name)
        plugins = self.host.plugins
        return words if plugins is None else (*words, "--plugins", str(plugins))

    @property
    def command(self) -> str:
        """What a user types to build it."""
        return shlex.join(("edgecv", *self.words))

    def record(self) -> EngineRecord | None:
        """Return the record of the engine, None where none is kept that fits."""
        try:
            record = read_record(self.path)
        except (OSError, ValueError):  # none, or a damaged one: a cache says no more than that
            return None
        return None if mismatches(record, self.host) else record


def wanted_engine(
    model: Path, host: Host, precision: ComputePrecision | None = None, cache: Path | None = None
) -> WantedEngine:
    """Return which engine a model is to run as.

    Args:
        model: an ONNX file.
        host: where.
        precision: what the file must compute in, None for whatever it does.
        cache: folder to keep engines in, None for one in the user's cache.

    Raises:
        InputError: if no recipe has the precision.

    """
    recipe = choose_recipe(SystemFiles(), precision)
    plugins = "" if host.plugins is None else sha256_of(host.plugins)
    facts = (sha256_of(model), recipe.name, host.tensorrt, *astuple(host.gpu), plugins)
    # Another edgecv may write another graph, or have changed the recipe.
    text = json.dumps((*facts, edgecv.__version__))
    key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
    folder = cache_folder() / "tensorrt" if cache is None else cache
    stem = re.sub(r"[^\w.-]+", "-", model.stem)
    return WantedEngine(model, folder / f"{stem}-{recipe.name}-{key}.engine", recipe, host)


def choose_recipe(files: SystemFiles, precision: ComputePrecision | None) -> RecipeChoice:
    """Return the recipe of a machine, see `edgecv/export/engine/recipes`.

    Args:
        files: of the machine.
        precision: what a model must compute in, None for a recipe that takes any: networks are
            strongly typed, and a recipe states what the file decides.

    Raises:
        InputError: if there is none for the precision.

    """
    if precision not in (None, "fp32", "fp16"):
        raise InputError(
            f"TensorRT's recipes are for fp32, fp16 and the file's own types, got {precision}. "
            "Leave out `--precision`."
        )
    jetson = find_jetson(files)
    if jetson is None:
        name, reason = "workstation", "for a GPU with memory of its own"
    else:
        module = jetson.module
        known = next((name for words, name in _BOARDS.items() if module.startswith(words)), None)
        name = known or "workstation"
        reason = f"for {'' if known else 'an unknown '}{jetson.model} ({module})"
    return RecipeChoice(name if precision is None else f"{name}-{precision}", reason)
