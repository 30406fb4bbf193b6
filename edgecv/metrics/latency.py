"""Latency in milliseconds: the figures of a sample, and a collector of bounded memory."""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 10_000  # samples kept for percentiles: at 30 frames a second the last 5.5 minutes


@dataclass(frozen=True)
class LatencyStatistics:
    """What a sample of latencies looks like.

    Args:
        count: number of samples.
        mean_ms: arithmetic mean.
        median_ms: half of the samples are at most this.
        p90_ms: 90 % of them are, by linear interpolation as `numpy.percentile` has it.
        p95_ms: 95 %.
        p99_ms: 99 %.

    """

    count: int
    mean_ms: float
    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, samples_ms: Sequence[float] | NDArray[np.floating]) -> "LatencyStatistics":
        """Return the statistics of `samples_ms`.

        Raises:
            ValueError: if there is no sample, or one is not finite.

        """
        samples = np.asarray(samples_ms, np.float64)
        if samples.size == 0 or not np.isfinite(samples).all():
            raise ValueError(
                "LatencyStatistics.of: `samples_ms` must hold at least one number and only finite "
                f"ones, got {samples.size} of which {int(np.isfinite(samples).sum())} are finite."
            )
        median, p90, p95, p99 = np.percentile(samples, [50, 90, 95, 99]).tolist()
        return cls(samples.size, float(samples.mean()), median, p90, p95, p99)

    def to_plain(self) -> dict[str, int | float]:
        """Return the fields for JSON, milliseconds rounded to 4 decimals."""
        return {key: round(value, 4) for key, value in asdict(self).items()}


class LatencyWindow:
    """Collects latencies of an endless stream: count and mean of all, percentiles of the last."""

    def __init__(self, size: int = WINDOW) -> None:
        """Keep the last `size` samples for the percentiles."""
        self.count = 0
        self._total_ms = 0.0
        self._last_ms: deque[float] = deque(maxlen=size)

    def add(self, sample_ms: float) -> None:
        """Take in one latency."""
        self.count += 1
        self._total_ms += sample_ms
        self._last_ms.append(sample_ms)

    def statistics(self) -> LatencyStatistics:
        """Return what was seen so far.

        Raises:
            ValueError: if nothing was added.

        """
        recent = LatencyStatistics.of(list(self._last_ms))
        return LatencyStatistics(
            count=self.count,
            mean_ms=self._total_ms / self.count,
            median_ms=recent.median_ms,
            p90_ms=recent.p90_ms,
            p95_ms=recent.p95_ms,
            p99_ms=recent.p99_ms,
        )
