"""The backends that a file can be run on, each by itself or several to compare."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast, get_args

from edgecv.errors import InputError
from edgecv.runtime.session import CHECKPOINT, ENGINE, Backend, ComputePrecision, is_remote

ALL = "all"


@dataclass(frozen=True)
class Contender:
    """A backend and what it computes with.

    Args:
        backend: its name.
        precision: None for the backend's own, see `edgecv.runtime.session.open_session`.

    """

    backend: Backend = "auto"
    precision: ComputePrecision | None = None

    def __str__(self) -> str:
        """Return the form that `parse_contenders` reads."""
        return self.backend if self.precision is None else f"{self.backend}:{self.precision}"


def parse_contenders(text: str, path: Path, device: str = "auto") -> list[Contender]:
    """Return what a list such as `onnxruntime,openvino:bf16` names.

    Args:
        text: backends with commas, each with a precision behind a colon where it is to be
            another; `all` for those that can run the file here.
        path: the model.
        device: what `all` is to run on.

    Raises:
        InputError: if a backend or a precision is unknown, or one is named twice.

    """
    if text.strip() == ALL:
        return contenders_here(path, device)
    found: list[Contender] = []
    for part in text.split(","):
        one = _parsed(part.strip(), also=(ALL,))
        if one in found:
            raise InputError(f"`--backend` names {one} twice. Leave one out.")
        found.append(one)
    return found


def parse_pair(text: str) -> tuple[Contender, Contender]:
    """Return the backends of reference and candidate; a single one is that of both.

    Raises:
        InputError: if a backend or a precision is unknown, or there are more than two.

    """
    found = [_parsed(part.strip()) for part in text.split(",")]
    if len(found) > 2:  # noqa: PLR2004  # reference and candidate
        raise InputError(
            f"`--backend` must name one or two backends, got {text!r}. Leave some out."
        )
    return found[0], found[-1]


def _parsed(text: str, also: tuple[str, ...] = ()) -> Contender:
    name, colon, precision = text.partition(":")
    if name not in get_args(Backend):
        known = ", ".join((*get_args(Backend), *also))
        raise InputError(f"`--backend` must be one of {known}, got {name!r}. Correct it.")
    if not colon:
        return Contender(cast("Backend", name))
    if precision not in get_args(ComputePrecision):
        known = ", ".join(get_args(ComputePrecision))
        raise InputError(
            f"`--backend` must have one of {known} behind the colon, got {text!r}. Correct it."
        )
    return Contender(cast("Backend", name), cast("ComputePrecision", precision))


def contenders_here(path: Path, device: str = "auto") -> list[Contender]:
    """Return what can run a model on this machine, onnxruntime first.

    Args:
        path: the model.
        device: `auto` for any.

    """
    if is_remote(path):
        return [Contender()]
    if path.suffix.lower() == CHECKPOINT:
        return [Contender("torch")]
    if path.suffix.lower() == ENGINE:
        return [Contender("tensorrt")]
    from edgecv.runtime.onnxruntime import (  # noqa: PLC0415  # slow to import
        available_devices,
        has_tensorrt,
    )

    found = [] if device in ("gpu", "npu") else [Contender("onnxruntime")]
    if device == "cuda" or (device == "auto" and "cuda" in available_devices()):
        found += [Contender("onnxruntime-tensorrt")] * has_tensorrt()
    if device != "cuda" and find_spec("openvino") is not None and find_spec("onnx") is not None:
        from edgecv.runtime.openvino import has_fast_bf16  # noqa: PLC0415  # slow to import

        found.append(Contender("openvino"))
        if device in ("auto", "cpu") and has_fast_bf16():
            found.append(Contender("openvino", "bf16"))
    if not found:
        raise InputError(
            f"nothing that is installed runs `{path}` on {device!r}. "
            "Install OpenVINO with `pip install 'edgecv[openvino]'`."
        )
    return found
