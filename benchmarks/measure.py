"""What the benchmarks of the operators share: a case, and the fair measurement of one."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Call = Callable[[], object]

_MIN_SAMPLE_S = 1e-3  # shorter calls are repeated within a sample, beyond the clock's noise


@dataclass(frozen=True)
class Case:
    """One operator at one size, what it is compared with, and the least time it could take.

    Args:
        operator: public name.
        size: what is computed, for the table.
        ours: the call through the public function, with an output buffer where there is one.
        peers: by name with its version left out; each does the same work on the same data, with
            buffers of its own where its interface takes them.
        floor: a measured call that no implementation can undercut, such as `copying(...)`.
        floor_is: what the floor does, for the table.

    """

    operator: str
    size: str
    ours: Call
    peers: Mapping[str, Call]
    floor: Call
    floor_is: str


@dataclass(frozen=True)
class Measurement:
    """Medians over turns in which all contenders took part, one after the other.

    Args:
        ours_s: seconds of a call.
        peers_s: by peer.
        ratios: by peer, the median over the turns of the peer's time over ours.
        floor_s: seconds of the floor.
        num_turns: how many turns.

    """

    case: Case
    ours_s: float
    peers_s: Mapping[str, float]
    ratios: Mapping[str, float]
    floor_s: float
    num_turns: int
    share_of_floor: float = field(init=False)

    def __post_init__(self) -> None:
        """Derive the share: 1 is a call as fast as its floor."""
        object.__setattr__(self, "share_of_floor", self.floor_s / self.ours_s)

    def to_plain(self) -> dict[str, Any]:
        """Return the figures for JSON, times in milliseconds."""
        return {
            "operator": self.case.operator,
            "size": self.case.size,
            "ours_ms": self.ours_s * 1e3,
            "peers_ms": {name: value * 1e3 for name, value in self.peers_s.items()},
            "ratios": dict(self.ratios),
            "floor_ms": self.floor_s * 1e3,
            "floor_is": self.case.floor_is,
            "share_of_floor": self.share_of_floor,
            "turns": self.num_turns,
        }


def measure(case: Case, *, budget_s: float) -> Measurement:
    """Time all contenders in turns until `budget_s` is spent, at least 5 turns.

    In a turn every contender first makes a call that does not count: each is timed with the caches
    that it leaves itself, not with those that another left.
    """
    contenders = {"": case.ours, **case.peers, "floor": case.floor}
    repeats = {name: _repeats(call) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    begin = time.perf_counter()
    turns = 0
    while turns < 5 or time.perf_counter() - begin < budget_s:  # noqa: PLR2004
        for name, call in contenders.items():
            call()
            samples[name].append(_seconds(call, repeats[name]))
        turns += 1
    ours = samples[""]
    return Measurement(
        case=case,
        ours_s=statistics.median(ours),
        peers_s={name: statistics.median(samples[name]) for name in case.peers},
        ratios={
            name: statistics.median(b / a for a, b in zip(ours, samples[name], strict=True))
            for name in case.peers
        },
        floor_s=statistics.median(samples["floor"]),
        num_turns=turns,
    )


def copying(num_bytes: int) -> Call:
    """Return a call that reads half of `num_bytes` and writes the other half: NumPy's copy."""
    source = np.ones(max(num_bytes // 2, 1), np.uint8)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)


def reading(num_bytes: int) -> Call:
    """Return a call that reads `num_bytes`: the maximum of 32-bit words."""
    source = np.ones(max(num_bytes // 4, 1), np.int32)
    return source.max


def _repeats(call: Call) -> int:
    call()  # page faults, dispatch, caches
    taken = min(_seconds(call, 1) for _ in range(3))
    return max(1, round(_MIN_SAMPLE_S / taken)) if taken > 0 else 1


def _seconds(call: Call, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
