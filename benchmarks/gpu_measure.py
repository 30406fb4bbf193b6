"""What the benchmark of the GPU kernels measures, and how: a case, and its contenders' times.

A call is timed by events on its stream, after a write of twice the second-level cache, so that it
finds its inputs in memory and not in the cache; that write also lets the host enqueue the call
ahead of time. Where a call can be captured, a CUDA graph of it is timed in the same way, which
leaves out what Python and the driver cost, and then back to back without the write in between. A
figure is the median over the turns, in which all contenders take part one after the other.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Call = Callable[[], object]

_REPLAYS = 20  # of a graph, back to back


@dataclass(frozen=True)
class Target:
    """What a case must reach on an H100.

    Args:
        most_us: microseconds under graph replay, cache flushed; None for any.
        least_ratio: by a peer's name, how many times slower it must be; empty for none.
        least_share: of the bandwidth of a copy; 0 for any.

    """

    most_us: float | None = None
    least_ratio: Mapping[str, float] = field(default_factory=dict)
    least_share: float = 0.0


@dataclass(frozen=True)
class Case:
    """One operator at one size.

    Args:
        operator: public name.
        size: what is computed, for the table.
        num_bytes: that must be read and written at least.
        ours: by implementation, `cuda` first; each call writes into buffers of its own.
        peers: by name; each does the same work on the same data.
        check: raises AssertionError unless ours agree with each other and with a peer.
        target: to be reached on an H100.

    """

    operator: str
    size: str
    num_bytes: int
    ours: Mapping[str, Call]
    peers: Mapping[str, Call]
    check: Call
    target: Target = Target()


@dataclass(frozen=True)
class Times:
    """Microseconds of one contender; None where it cannot be captured, as one that waits cannot."""

    eager: float
    graph: float | None
    graph_warm: float | None

    @property
    def best(self) -> float:
        """As in a loop that is captured where it can be."""
        return self.eager if self.graph is None else self.graph


@dataclass(frozen=True)
class Measurement:
    """The times of all contenders of a case, and of a copy that moves as many bytes."""

    case: Case
    times: Mapping[str, Times]
    copy_us: float

    @property
    def ours(self) -> Times:
        """The CUDA kernel's."""
        return self.times["cuda"]

    def ratio(self, name: str) -> float:
        """Return how many times as long another contender takes."""
        return self.times[name].best / self.ours.best

    def gigabytes_per_s(self) -> float:
        """Return what our kernel reaches of the bytes that it must move."""
        return self.case.num_bytes / self.ours.best / 1e3

    def misses(self) -> list[str]:
        """Return the parts of the target that are missed."""
        target, missed = self.case.target, []
        if target.most_us is not None and self.ours.best > target.most_us:
            missed.append(f"{self.ours.best:.1f} µs, target {target.most_us:g}")
        for name, least in target.least_ratio.items():
            if name in self.times and self.ratio(name) < least:
                missed.append(f"{self.ratio(name):.1f}x of {name}, target {least:g}x")
        share = self.copy_us / self.ours.best
        if share < target.least_share:
            missed.append(f"{share:.2f} of a copy, target {target.least_share:g}")
        return missed

    def to_plain(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "operator": self.case.operator,
            "size": self.case.size,
            "bytes": self.case.num_bytes,
            "gigabytes_per_s": self.gigabytes_per_s(),
            "copy_us": self.copy_us,
            "us": {
                name: {"eager": one.eager, "graph": one.graph, "graph_warm": one.graph_warm}
                for name, one in self.times.items()
            },
            "ratios": {name: self.ratio(name) for name in self.times if name != "cuda"},
            "misses": self.misses(),
        }


class Stopwatch:
    """Times calls on the current GPU."""

    def __init__(self) -> None:
        """Allocate what flushes the second-level cache."""
        size = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
        self._flusher = torch.empty(max(2 * size, 1 << 20), dtype=torch.uint8, device="cuda")
        self._begin = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)

    def measure(self, case: Case, *, turns: int) -> Measurement:
        """Check a case and time its contenders."""
        case.check()
        torch.cuda.synchronize()
        contenders = {**case.ours, **case.peers}
        graphs = {name: _captured(call) for name, call in contenders.items()}
        samples: dict[str, list[tuple[float, float | None, float | None]]] = {
            name: [] for name in contenders
        }
        copies = []
        copy = _captured(_copying(case.num_bytes))
        assert copy is not None  # a copy does not wait
        for turn in range(turns + 1):
            for name, call in contenders.items():
                graph = graphs[name]
                sample = (
                    self._once(call),
                    None if graph is None else self._once(graph.replay),
                    None if graph is None else self._back_to_back(graph.replay),
                )
                if turn > 0:  # the first turn warms up
                    samples[name].append(sample)
            copies.append(self._once(copy.replay))
        return Measurement(
            case=case,
            times={name: _medians(taken) for name, taken in samples.items()},
            copy_us=statistics.median(copies[1:]),
        )

    def _once(self, call: Call) -> float:
        self._flusher.zero_()
        self._begin.record()
        call()
        self._end.record()
        self._end.synchronize()
        return self._begin.elapsed_time(self._end) * 1e3

    def _back_to_back(self, call: Call) -> float:
        self._begin.record()
        for _ in range(_REPLAYS):
            call()
        self._end.record()
        self._end.synchronize()
        return self._begin.elapsed_time(self._end) * 1e3 / _REPLAYS


def _copying(num_bytes: int) -> Call:
    """Return a call that reads half of `num_bytes` and writes the other half."""
    source = torch.ones(max(num_bytes // 2, 1), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _captured(call: Call) -> "torch.cuda.CUDAGraph | None":
    """Return a graph of one call, or None if it cannot be captured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # allocations, compilation
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:  # it waits for the GPU
        torch.cuda.synchronize()
        return None
    torch.cuda.synchronize()
    return graph


def _medians(samples: list[tuple[float, float | None, float | None]]) -> Times:
    eager, graph, warm = zip(*samples, strict=True)

    def median(values: tuple[float | None, ...]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return Times(statistics.median(eager), median(graph), median(warm))
