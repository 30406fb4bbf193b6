"""Latency in milliseconds: the figures of a sample, and a collector of bounded memory."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

WINDOW = 10_000  # samples kept for percentiles: at 30 frames a second the last 5.5 minutes

# Those of Prometheus's own clients.
BUCKETS_MS = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)


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
    """Collects latencies of an endless stream: of the last its percentiles, of all the rest."""

    def __init__(self, size: int = WINDOW) -> None:
        """Keep the last `size` samples for the percentiles; their memory is taken at once."""
        self.count = 0
        self._total_ms = 0.0
        self._size = size
        self._last_ms = array("d", bytes(8 * size))
        self._in_buckets = [0] * (len(BUCKETS_MS) + 1)

    def add(self, sample_ms: float) -> None:
        """Take in one latency; one thread at a time, while others may ask for statistics."""
        self._last_ms[self.count % self._size] = sample_ms
        self._total_ms += sample_ms
        self._in_buckets[bisect_left(BUCKETS_MS, sample_ms)] += 1
        self.count += 1

    def histogram(self) -> tuple[int, ...]:
        """Return how many were at most each of `BUCKETS_MS`, and at last how many there were."""
        return tuple(accumulate(self._in_buckets))

    def statistics(self) -> LatencyStatistics:
        """Return what was seen so far.

        Raises:
            ValueError: if nothing was added.

        """
        recent = LatencyStatistics.of(np.array(self._last_ms[: min(self.count, self._size)]))
        return LatencyStatistics(
            count=self.count,
            mean_ms=self._total_ms / self.count,
            median_ms=recent.median_ms,
            p90_ms=recent.p90_ms,
            p95_ms=recent.p95_ms,
            p99_ms=recent.p99_ms,
        )
