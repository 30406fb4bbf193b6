"""How fast a model is: the bare network, each stage by itself, and the whole stream."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.board.energy import EnergyUse, PowerProbe
from edgecv.metrics.latency import LatencyStatistics
from edgecv.placement import Placement
from edgecv.proposals import sliding_windows
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.runtime.model import Model
from edgecv.runtime.session import Batch, Outputs
from edgecv.stream.run import RunSummary, run_stream
from edgecv.stream.sources import Frame, open_source

_STEADY_S = 5.0  # of the network alone while power is measured, over many readings of the meter


@dataclass(frozen=True)
class PowerReport:
    """What the machine drew.

    Args:
        source: what was read.
        scope: which part of the machine that is.
        total_of: the rails whose sum is the total.
        idle_w: power before the first call, with the model loaded.
        uses: what each part cost that was measured: `network alone`, `whole stream`.

    """

    source: str
    scope: str
    total_of: tuple[str, ...]
    idle_w: float
    uses: dict[str, EnergyUse]

    def to_plain(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "source": self.source,
            "scope": self.scope,
            "total_of": list(self.total_of),
            "idle_w": round(self.idle_w, 4),
            "uses": {name: use.to_plain() for name, use in self.uses.items()},
        }


@dataclass(frozen=True)
class BenchReport:
    """What was measured, on which machine.

    Args:
        machine: CPU, threads, backend and versions.
        frame: size, format and origin of the frames.
        inference: the network alone, on one fitted frame again and again.
        stages: fit, infer and postprocess of real frames, one after the other in one thread.
        stream: the whole stream, stages overlapped; None without a source.
        power: what the machine drew, None where that was not measured.

    """

    machine: dict[str, Any]
    frame: str
    inference: LatencyStatistics
    stages: dict[str, LatencyStatistics]
    stream: RunSummary | None
    power: PowerReport | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers; times are in milliseconds."""
        return {
            "machine": self.machine,
            "frame": self.frame,
            "inference": self.inference.to_plain(),
            "inference_fps": round(1e3 / self.inference.median_ms, 2),
            "stages": {name: stage.to_plain() for name, stage in self.stages.items()},
            "stream": None if self.stream is None else self.stream.to_plain(),
            "power": None if self.power is None else self.power.to_plain(),
        }


def bench(
    model: Model,
    source: str | None,
    *,
    warm_up: int,
    repeat: int,
    threads: int,
    streaming: Model | None = None,
    power: PowerProbe | None = None,
) -> BenchReport:
    """Measure a model.

    Args:
        model: the model.
        source: a video, an image or a folder; None for one frame of noise, 1280x720 in
            `yuv420p`, as decoders make them.
        warm_up: calls before the first that counts.
        repeat: calls that count, and the most frames that are kept for the stages.
        threads: what the session was opened with, for the header.
        streaming: the same model, tuned for whole streams; None where that is no other.
        power: what measures power, which takes some seconds more; None for no such figures.

    Raises:
        InputError: if the source cannot be opened or holds no frame.

    """
    if power is not None:
        power.measure_idle()
    frames = _noise() if source is None else _first_frames(source, repeat)
    height, width = frames[0].size_hw
    batch, placement = _fitted(model, frames[0])
    wanted = model.spec.proposals  # windows will do: how long they take does not hang on where
    given = None if wanted is None else sliding_windows((height, width), wanted.count)
    regions = model.propose(frames[0].pixels, placement, given)
    inference = _timed(lambda: _outputs(model, batch, regions), warm_up=warm_up, repeat=repeat)
    uses: dict[str, EnergyUse | None] = {}
    if power is not None:
        uses["network alone"] = _energy(lambda: _outputs(model, batch, regions), power)
    stages = _stages(model, frames, regions, warm_up=warm_up, repeat=repeat)
    stream = None
    if source is not None:
        with ExitStack() as stack:
            opened = stack.enter_context(open_source(source))
            meter = None if power is None else stack.enter_context(power.measurement())
            stream = run_stream(opened, streaming or model)
        if meter is not None:
            uses["whole stream"] = meter.use(stream.num_frames)
    return BenchReport(
        machine={
            "cpu": cpu_name(),
            "backend": model.session.backend,
            "threads": threads or "one per core",
            "versions": versions_in_use("numpy", _package_of(model), "av"),
        },
        frame=f"{width}x{height} {frames[0].format} of {source or 'noise'}",
        inference=inference,
        stages=stages,
        stream=stream,
        power=None if power is None else _power_report(power, uses),
    )


def latencies_in_turns(
    models: Sequence[Model],
    pixels: NDArray[np.uint8],
    *,
    repeat: int,
    on_turn: Callable[[], None] = lambda: None,
) -> list[LatencyStatistics]:
    """Time several networks in turns on one image, so that all meet the same moods of the machine.

    Args:
        models: what to time: `infer` alone.
        pixels: (H, W, 3) uint8, RGB.
        repeat: calls of each that count.
        on_turn: called when each was called once more.

    Returns:
        The statistics of each, in the order of `models`.

    """
    calls: list[Callable[[], object]] = []
    for model in models:
        batch, placement = model.fit(pixels, format="rgb24")
        wanted = model.spec.proposals
        given = None if wanted is None else sliding_windows(placement.frame_hw, wanted.count)
        regions = model.propose(pixels, placement, given, format="rgb24")
        calls.append(partial(_outputs, model, batch, regions))
    samples_ms: list[list[float]] = [[] for _ in models]
    for turn in range(-max(1, repeat // 10), repeat):
        for samples, call in zip(samples_ms, calls, strict=True):
            start = time.perf_counter()
            call()
            if turn >= 0:
                samples.append((time.perf_counter() - start) * 1e3)
        if turn >= 0:
            on_turn()
    return [LatencyStatistics.of(samples) for samples in samples_ms]


def _stages(
    model: Model,
    frames: Sequence[Frame],
    regions: NDArray[np.float32] | None,
    *,
    warm_up: int,
    repeat: int,
) -> dict[str, LatencyStatistics]:
    """Time the stages over the frames, round and round, in one thread."""
    samples: dict[str, list[float]] = {"fit": [], "infer": [], "postprocess": []}
    for call in range(-warm_up, repeat):
        frame = frames[call % len(frames)]
        start = time.perf_counter()
        batch, placement = _fitted(model, frame)
        fitted = time.perf_counter()
        outputs = _outputs(model, batch, regions)
        inferred = time.perf_counter()
        model.finish(outputs, placement)
        finished = time.perf_counter()
        if call >= 0:
            samples["fit"].append((fitted - start) * 1e3)
            samples["infer"].append((inferred - fitted) * 1e3)
            samples["postprocess"].append((finished - inferred) * 1e3)
    return {name: LatencyStatistics.of(values) for name, values in samples.items()}


def _package_of(model: Model) -> str:
    """Return the package that runs the network."""
    backend = model.session.backend
    return next((name for name in ("torch", "openvino") if backend.startswith(name)), "onnxruntime")


def _outputs(model: Model, batch: Batch, regions: NDArray[np.float32] | None) -> Outputs:
    """Return the outputs when they are there, also those of a device that answers later."""
    return dict(model.infer(batch, regions))


def _fitted(model: Model, frame: Frame) -> tuple[Batch, Placement]:
    return model.fit(frame.pixels, format=frame.format, matrix=frame.matrix, range=frame.range)


def _timed(call: Callable[[], object], *, warm_up: int, repeat: int) -> LatencyStatistics:
    for _ in range(warm_up):
        call()
    samples_ms = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        samples_ms.append((time.perf_counter() - start) * 1e3)
    return LatencyStatistics.of(samples_ms)


def _energy(call: Callable[[], object], power: PowerProbe) -> EnergyUse | None:
    """Return what call after call costs, after those that warmed up."""
    num_calls = 0
    with power.measurement() as measurement:
        end = time.perf_counter() + _STEADY_S
        while time.perf_counter() < end:
            call()
            num_calls += 1
    return measurement.use(num_calls)


def _power_report(power: PowerProbe, uses: Mapping[str, EnergyUse | None]) -> PowerReport | None:
    """Return what was measured, None if the meter failed throughout."""
    known = {name: use for name, use in uses.items() if use is not None}
    if not known:
        return None
    return PowerReport(power.source, power.scope, power.total_of, power.idle_w, known)


def _first_frames(source: str, most: int) -> list[Frame]:
    """Return some first frames of a source, at most 64 so that 4K does not fill the memory."""
    frames = []
    with open_source(source) as opened:
        for frame in opened:
            frames.append(frame)
            if len(frames) == min(most, 64):
                break
    return frames


def _noise() -> list[Frame]:
    rng = np.random.default_rng(0)
    sizes_hw = (720, 1280), (360, 640), (360, 640)
    planes = tuple(rng.integers(0, 256, size_hw, np.uint8) for size_hw in sizes_hw)
    return [Frame(0, planes, "yuv420p", pts_s=0.0)]
