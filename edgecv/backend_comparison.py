"""One model on several backends: latency in turns, throughput, agreement and accuracy."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.bench import latencies_in_turns
from edgecv.data import AnyDataset
from edgecv.errors import EdgeCVError
from edgecv.evaluation import accuracy_of
from edgecv.metrics.accuracy import Accuracy
from edgecv.metrics.latency import LatencyStatistics
from edgecv.output_spec import FusedOutput
from edgecv.precision import Precision
from edgecv.proposals import sliding_windows
from edgecv.provenance import cpu_name, num_cores, versions_in_use
from edgecv.records import finite
from edgecv.runtime.building import wait_for_engine
from edgecv.runtime.contenders import Contender
from edgecv.runtime.model import Model
from edgecv.runtime.racing import ALIKE
from edgecv.runtime.session import Outputs, RunOptions, open_as

_ROUNDS = 3  # of throughput, in turns; the median counts
_FEWEST_CALLS = 8  # of a round and caller


@dataclass(frozen=True)
class Row:
    """What was measured of one backend.

    Args:
        contender: what was asked for.
        backend: what ran it, such as `openvino cpu bf16`.
        latency: of the network alone, in turns with the others.
        per_second: images, with several callers at once, tuned for that where a backend can be.
        difference: from the first backend, the largest of any output over that output's largest
            magnitude; None for the first, and where the graph keeps objects: those may swap.
        accuracy: on the data, None where none were given.

    """

    contender: Contender
    backend: str
    latency: LatencyStatistics
    per_second: float
    difference: float | None
    accuracy: Accuracy | None

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers."""
        return {
            "contender": str(self.contender),
            "backend": self.backend,
            "latency": self.latency.to_plain(),
            "per_second": round(self.per_second, 2),
            "difference": self.difference,
            "accuracy": None if self.accuracy is None else dict(self.accuracy.figures),
        }


@dataclass(frozen=True)
class Comparison:
    """What was measured of all, on which machine.

    Args:
        machine: CPU, threads, callers and versions.
        precision: what the model's description says that it computes with.
        rows: of the backends that ran the model.
        failures: why not each of the others, by its name.

    """

    machine: dict[str, Any]
    precision: Precision
    rows: tuple[Row, ...]
    failures: dict[str, str]

    @property
    def exchangeable_ms(self) -> dict[Contender, float]:
        """The medians that speed alone may decide between: of backends that compute the same."""
        if self.precision.startswith("int8"):
            return {}
        return {
            row.contender: row.latency.median_ms
            for row in self.rows
            if row.difference is None or row.difference <= ALIKE
        }

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers; what is not finite is None."""
        rows = [row.to_plain() for row in self.rows]
        plain: dict[str, Any] = finite(
            {
                "machine": self.machine,
                "precision": self.precision,
                "backends": rows,
                "failures": self.failures,
            }
        )
        return plain


def compare_backends(
    path: Path,
    contenders: Sequence[Contender],
    options: RunOptions,
    *,
    repeat: int,
    open_dataset: Callable[[Model], AnyDataset] | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Comparison:
    """Measure a model on several backends.

    Args:
        path: the model.
        contenders: at least one.
        options: device, threads, hint and cache; the rest is the contenders'.
        repeat: calls of each that are timed, after a tenth of them to warm up.
        open_dataset: returns the ground truth for an open model; None for no accuracy.
        on_step: called with what is done next.

    Raises:
        EdgeCVError: if no backend can run the model, what the first said; whatever `open_dataset`
            raises.

    """
    with ExitStack() as stack:
        models: dict[Contender, Model] = {}
        failures: dict[str, EdgeCVError] = {}
        for contender in contenders:
            on_step(f"opening {contender}")
            try:
                models[contender] = stack.enter_context(_opened(path, contender, options))
            except EdgeCVError as error:
                failures[str(contender)] = error
        if not models:
            raise next(iter(failures.values()))
        opened = list(models.values())
        dataset = None if open_dataset is None else open_dataset(opened[0])
        size_hw = opened[0].spec.input.size_hw
        pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
        answers = [_call(model, pixels)() for model in opened]
        on_step("latency, in turns")
        latencies = latencies_in_turns(opened, pixels, repeat=repeat)
        accuracies: list[Accuracy | None] = [None] * len(opened)
        if dataset is not None:
            for index, contender in enumerate(models):
                on_step(f"accuracy of {contender}")
                accuracies[index] = accuracy_of(opened[index], dataset)
        callers = max(2, num_cores())
        on_step(f"throughput, {callers} callers")
        speeds = _throughputs(path, models, options, pixels, repeat=repeat, callers=callers)
        rows = tuple(
            Row(
                contender,
                model.session.backend,
                latencies[index],
                speeds[index],
                None if index == 0 else _difference(model, answers[0], answers[index]),
                accuracies[index],
            )
            for index, (contender, model) in enumerate(models.items())
        )
    machine = {
        "cpu": cpu_name(),
        "threads": options.threads or "one per core",
        "callers": callers,
        "versions": versions_in_use("numpy", "onnxruntime", "openvino", "torch"),
    }
    precision = opened[0].spec.provenance.precision
    told = {name: str(error) for name, error in failures.items()}
    return Comparison(machine, precision, rows, told)


def _opened(path: Path, contender: Contender, options: RunOptions) -> Model:
    # Each insists on nothing that another backend has: `--cache` is for those that compile.
    compiles = contender.backend in ("openvino", "onnxruntime-tensorrt", "tensorrt")
    cache = options.cache if compiles else None
    wanted = replace(options, backend=contender.backend, precision=contender.precision, cache=cache)
    session = open_as(path, wanted)
    wait_for_engine(session)
    return Model(session)


def _throughputs(
    path: Path,
    models: dict[Contender, Model],
    options: RunOptions,
    pixels: NDArray[np.uint8],
    *,
    repeat: int,
    callers: int,
) -> list[float]:
    """Return images per second of each with several callers, the median of rounds in turns."""
    calls = max(_FEWEST_CALLS, repeat // callers // _ROUNDS)
    with ExitStack() as stack:
        tuned = [
            stack.enter_context(_opened(path, contender, replace(options, hint="throughput")))
            if contender.backend in ("onnxruntime", "openvino")
            else model
            for contender, model in models.items()
        ]
        work = [_call(model, pixels) for model in tuned]
        for call in work:
            call()
        rounds = [[_per_second(call, callers, calls) for call in work] for _ in range(_ROUNDS)]
    return [float(speed) for speed in np.median(np.array(rounds), axis=0)]


def _per_second(call: Callable[[], object], callers: int, calls: int) -> float:
    """Return images per second of callers that start together."""
    start = threading.Barrier(callers + 1)
    errors: list[Exception] = []

    def work() -> None:
        start.wait()
        try:
            for _ in range(calls):
                call()
        except Exception as error:  # noqa: BLE001  # raised in the thread that measures
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    start.wait()
    start_s = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - start_s
    if errors:
        raise errors[0]
    return callers * calls / elapsed_s


def _call(model: Model, pixels: NDArray[np.uint8]) -> Callable[[], Outputs]:
    batch, placement = model.fit(pixels, format="rgb24")
    wanted = model.spec.proposals
    given = None if wanted is None else sliding_windows(placement.frame_hw, wanted.count)
    regions = model.propose(pixels, placement, given, format="rgb24")
    return lambda: dict(model.infer(batch, regions))


def _difference(model: Model, wanted: Outputs, found: Outputs) -> float | None:
    if isinstance(model.spec.output, FusedOutput):
        return None
    apart = 0.0
    for name, values in wanted.items():
        if np.issubdtype(values.dtype, np.floating):
            largest = float(np.abs(values).max(initial=0)) or 1.0
            apart = max(apart, float(np.abs(values - found[name]).max(initial=0)) / largest)
    return apart
