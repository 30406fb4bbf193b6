"""Which backend `auto` takes for an ONNX file: by the file, the device, and a race that is kept.

The race is short, and run once for a file on a machine: its outcome lies in the user's cache until
a backend, the file or the processor is another. `edgecv bench --backend all` runs a longer one and
replaces it; `EDGECV_BACKEND` names a backend to take without any.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from edgecv.errors import InputError, OutputError
from edgecv.files import cache_folder, write_text
from edgecv.output_spec import FusedOutput
from edgecv.proposals import sliding_windows
from edgecv.provenance import cpu_name, num_cores, versions_in_use
from edgecv.runtime.contenders import Contender
from edgecv.runtime.model import Model
from edgecv.runtime.onnxruntime import available_devices
from edgecv.runtime.session import (
    Backend,
    GraphSession,
    Outputs,
    RunOptions,
    Session,
    is_remote,
    open_graph,
)

RACERS: tuple[Backend, ...] = ("onnxruntime", "openvino")  # on a CPU; the first wins a tie
PINNED = "EDGECV_BACKEND"
ALIKE = 0.01  # of an output's largest value: other sums of float32 stay far below, errors do not

_NOT_PINNED = ("auto", "tensorrt", "torch")  # that open no ONNX file by themselves
_LEAD = 1.05  # less than that and the next race may end otherwise
_MOST_TURNS, _FEWEST_TURNS, _RACE_S = 20, 5, 1.0
_KEY_DIGITS = 32


@dataclass(frozen=True)
class Outcome:
    """How a race ended.

    Args:
        median_ms: an image takes of each backend that ran the file.
        passed_over: why not each of the others.
        day: when it was run, such as `2026-07-01`.

    """

    median_ms: Mapping[Backend, float]
    passed_over: Mapping[Backend, str]
    day: str

    @property
    def winner(self) -> Backend:
        """The fastest, by a clear lead."""
        base, *others = (each for each in RACERS if each in self.median_ms)
        best = min(others, key=lambda each: self.median_ms[each], default=base)
        is_faster = self.median_ms[best] * _LEAD < self.median_ms[base]
        return best if is_faster else base

    @property
    def reason(self) -> str:
        """Why the winner, in one line."""
        told = [
            f"{name} {self.median_ms[name]:.2f} ms"
            if name in self.median_ms
            else f"{name} {self.passed_over[name]}"
            for name in RACERS
            if name in self.median_ms or name in self.passed_over
        ]
        return (
            f"raced here on {self.day}: {', '.join(told)} (`edgecv bench --backend all` races anew)"
        )


def open_fastest(path: Path, options: RunOptions) -> GraphSession:
    """Open an ONNX file on the backend that suits it and the device; its `reason` says why.

    Args:
        path: the file.
        options: how to run it, `backend` being `auto`.

    Raises:
        InputError: see `edgecv.runtime.session.open_session`.

    """
    if options.device in ("gpu", "npu"):
        return _opened(path, options, "openvino", f"only it runs on this `{options.device}`")
    pinned = os.environ.get(PINNED)
    if pinned:
        known = [each for each in get_args(Backend) if each not in _NOT_PINNED]
        if pinned not in known:
            raise InputError(
                f"`{PINNED}` must be one of {', '.join(known)}, got {pinned!r}. Correct it."
            )
        return _opened(path, options, cast("Backend", pinned), f"{PINNED} asks for it")
    if not _is_on_cpu(options.device) or any(
        find_spec(name) is None for name in ("openvino", "onnx")
    ):
        return open_graph(path, options)
    options = replace(options, device="cpu")
    record = _record(path, options)
    outcome = _recall(record)
    if outcome is not None:
        return _opened(path, options, outcome.winner, outcome.reason)
    base = open_graph(path, options)
    if base.spec.provenance.precision.startswith("int8"):
        # Their sums overflow and round in different places: speed alone must not decide.
        base.reason = "8 bits round otherwise elsewhere (`edgecv bench --backend all --data …`)"
        return base
    return _raced(path, options, base, record)


def remember_comparison(
    path: Path, options: RunOptions, median_ms: Mapping[Contender, float]
) -> bool:
    """Keep what a longer measurement found, for `auto`.

    Args:
        path: the model.
        options: how it was run.
        median_ms: of what was compared and may be exchanged.

    Returns:
        Whether that was a race that `auto` would run: of an ONNX file, between all backends, each
        in its own precision, on the CPU.

    """
    is_graph = not is_remote(path) and path.suffix.lower() == ".onnx"
    figures = {name: median_ms[Contender(name)] for name in RACERS if Contender(name) in median_ms}
    is_race = is_graph and _is_on_cpu(options.device) and len(figures) == len(RACERS)
    if is_race:
        _keep(_record(path, options), Outcome(figures, {}, _today()))
    return is_race


def _is_on_cpu(device: str) -> bool:
    return device == "cpu" or (device == "auto" and available_devices() == ["cpu"])


def _raced(path: Path, options: RunOptions, base: GraphSession, record: Path) -> GraphSession:
    """Race the others against onnxruntime, keep the outcome, and return the winner open."""
    sessions: dict[Backend, GraphSession] = {"onnxruntime": base}
    passed_over: dict[Backend, str] = {}
    for backend in RACERS[1:]:
        rival = _rival(path, replace(options, backend=backend))
        if isinstance(rival, str):
            passed_over[backend] = rival
        else:
            sessions[backend] = rival
    answers, median_ms = _timed({name: Model(each) for name, each in sessions.items()})
    for backend in RACERS[1:]:
        if backend in sessions and not _is_alike(base, answers["onnxruntime"], answers[backend]):
            del median_ms[backend]
            passed_over[backend] = "computes something else"
    outcome = Outcome(median_ms, passed_over, _today())
    _keep(record, outcome)
    for name, session in sessions.items():
        if name != outcome.winner:
            session.close()
    return _told(sessions[outcome.winner], outcome.reason)


def _rival(path: Path, options: RunOptions) -> GraphSession | str:
    """Open a file on another backend, or return why that is impossible."""
    try:
        return open_graph(path, options)
    except InputError as error:
        return f"cannot run it ({str(error).partition('. ')[0]})"


def _timed(models: Mapping[Backend, Model]) -> tuple[dict[Backend, Outputs], dict[Backend, float]]:
    """Return what each answers to the same noise, and what an image takes, in turns."""
    spec = next(iter(models.values())).spec
    pixels = np.random.default_rng(0).integers(0, 256, (*spec.input.size_hw, 3), np.uint8)
    answers: dict[Backend, Outputs] = {}
    inputs: dict[Backend, tuple[Any, Any]] = {}
    for name, model in models.items():
        batch, placement = model.fit(pixels, format="rgb24")
        wanted = spec.proposals
        windows = None if wanted is None else sliding_windows(placement.frame_hw, wanted.count)
        inputs[name] = (batch, model.propose(pixels, placement, windows, format="rgb24"))
        answers[name] = dict(model.infer(*inputs[name]))  # it warms up too
    samples_ms: dict[Backend, list[float]] = {name: [] for name in models}
    over_s = time.perf_counter() + _RACE_S
    for turn in range(_MOST_TURNS):
        if turn >= _FEWEST_TURNS and time.perf_counter() > over_s:
            break
        for name, model in models.items():
            start_s = time.perf_counter()
            pending = [model.infer(*inputs[name]) for _ in range(model.num_requests)]
            for outputs in pending:
                dict(outputs)
            end_s = time.perf_counter()
            samples_ms[name].append((end_s - start_s) * 1e3 / model.num_requests)
    return answers, {name: float(np.median(samples)) for name, samples in samples_ms.items()}


def _is_alike(session: Session, wanted: Outputs, found: Outputs) -> bool:
    """Tell whether two backends compute the same; of kept objects, nearly equal ones may swap."""
    if isinstance(session.spec.output, FusedOutput):
        return all(wanted[name].shape == found[name].shape for name in wanted)
    for name, values in wanted.items():
        if values.shape != found[name].shape:
            return False
        if np.issubdtype(values.dtype, np.floating):
            largest = float(np.abs(values).max(initial=0))
            if not np.allclose(found[name], values, rtol=0, atol=ALIKE * largest, equal_nan=True):
                return False
    return True


def _opened(path: Path, options: RunOptions, backend: Backend, reason: str) -> GraphSession:
    return _told(open_graph(path, replace(options, backend=backend)), reason)


def _told(session: GraphSession, reason: str) -> GraphSession:
    session.reason = reason
    return session


def _record(path: Path, options: RunOptions) -> Path:
    """Return where the outcome for a file on this machine lies."""
    versions = versions_in_use(*RACERS)
    wanted = [options.threads, options.hint or "latency"]
    machine = json.dumps([cpu_name(), num_cores(), *wanted, versions, RACERS])
    digest = hashlib.sha256(machine.encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return cache_folder() / "backends" / f"{digest.hexdigest()[:_KEY_DIGITS]}.json"


def _recall(record: Path) -> Outcome | None:
    """Return a kept outcome, None where there is none that can be read."""
    try:
        plain = json.loads(record.read_text(encoding="utf-8"))
        outcome = Outcome(plain["median_ms"], plain["passed_over"], plain["day"])
        return outcome if outcome.median_ms["onnxruntime"] > 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(record: Path, outcome: Outcome) -> None:
    plain = {
        "median_ms": dict(outcome.median_ms),
        "passed_over": dict(outcome.passed_over),
        "day": outcome.day,
    }
    with suppress(OutputError):  # without a cache it is raced again the next time
        write_text(record, json.dumps(plain, indent=1) + "\n")


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()
