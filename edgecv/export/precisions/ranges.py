"""What range of a tensor 8 bits should span: seen values in a histogram, and four ways to choose.

Outliers make a wide range and a coarse step. Cutting them off trades their error for everybody
else's, and the methods differ in how they weigh the two.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

CalibrationMethod = Literal["min-max", "entropy", "percentile", "mse"]
"""How a tensor's range is chosen from the values that it was seen to have.

`min-max`: all of them. `percentile`: but for a ten-thousandth at either end. `mse`: the range whose
rounding and cutting together have the smallest mean square. `entropy`: the range that loses the
least information, as the Kullback-Leibler divergence measures it (Migacz, 8-bit inference with
TensorRT, GTC 2017).
"""

CALIBRATION_METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)

PERCENTILE = 99.99
_BINS = 2048  # on either side of zero; the widest value falls into the upper half of them
_LEVELS = 256
_SIGNED_LEVELS = 127  # of one sign; -128 is left unused so that zero is in the middle
_SHARES = np.linspace(0.2, 1, 41)  # of the whole range, which are tried


@dataclass(frozen=True)
class TensorRange:
    """What an 8-bit tensor should span.

    Args:
        low: of an asymmetric grid, 0 or below.
        high: of an asymmetric grid, 0 or above.
        magnitude: of a grid that is symmetric about zero.

    """

    low: float
    high: float
    magnitude: float


@dataclass
class Histogram:
    """How often a tensor had which values, in memory that does not grow.

    Bins are a power of two wide and begin at zero. A value beyond the last bin doubles the width,
    which joins bins two by two: counts are never spread or guessed.
    """

    low: float = 0.0
    high: float = 0.0
    width: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * _BINS, np.int64))

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Count `values`, which must be finite."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        reach = max(-low, high)
        if reach > 0 and self.width == 0:
            self.width = _width(reach)
            self.counts[_BINS] = self.counts.sum()  # all that came before was zero
        while reach >= _BINS * self.width > 0:
            self._widen()
        if self.width == 0:
            self.counts[_BINS] += values.size
            return
        # A float32 holds the quotient exactly: the width is a power of two.
        bins = np.floor(values.ravel() * np.float32(1 / self.width)).astype(np.int32)
        self.counts += np.bincount(bins + _BINS, minlength=2 * _BINS)

    def _widen(self) -> None:
        joined = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros_like(self.counts)
        self.counts[_BINS // 2 : _BINS // 2 + _BINS] = joined
        self.width *= 2

    @property
    def edges(self) -> NDArray[np.float64]:
        """The borders of the bins, [bins + 1], rising."""
        return np.arange(-_BINS, _BINS + 1, dtype=np.float64) * self.width

    def range(self, method: CalibrationMethod) -> TensorRange:
        """Return the range that `method` chooses."""
        widest = TensorRange(self.low, self.high, max(-self.low, self.high))
        if method == "min-max" or self.width == 0:
            return widest
        if method == "percentile":
            return self._percentile(widest)
        if method == "mse":
            return self._least_error(widest)
        return self._least_divergence(widest)

    def _percentile(self, widest: TensorRange) -> TensorRange:
        rest = 1 - PERCENTILE / 100
        below = np.concatenate([[0], np.cumsum(self.counts)]) / self.counts.sum()
        low = self.edges[np.searchsorted(below, rest, side="right") - 1]
        high = self.edges[np.searchsorted(below, 1 - rest, side="left")]
        share = np.concatenate([[0], np.cumsum(self._magnitudes())]) / self.counts.sum()
        magnitude = np.searchsorted(share, 1 - rest, side="left") * self.width
        return _within(widest, float(low), float(high), float(magnitude))

    def _least_error(self, widest: TensorRange) -> TensorRange:
        """Try shares of the range, the two ends of an asymmetric one in turn."""
        used = np.flatnonzero(self.counts)
        counts, centres = self.counts[used], self.edges[used] + self.width / 2

        def error(low: float, high: float, levels: int) -> float:
            step = (high - low) / levels
            zero = round(-low / step)
            codes = np.clip(np.rint(centres / step) + zero, 0, levels)
            return float((counts * ((codes - zero) * step - centres) ** 2).sum())

        low, high = widest.low, widest.high
        for _ in range(2):
            if high > 0:
                ends = _SHARES * widest.high
                high = float(ends[np.argmin([error(low, end, _LEVELS - 1) for end in ends])])
            if low < 0:
                ends = _SHARES * widest.low
                low = float(ends[np.argmin([error(end, high, _LEVELS - 1) for end in ends])])
        ends = _SHARES * widest.magnitude
        errors = [error(-end, end, 2 * _SIGNED_LEVELS) for end in ends]
        return TensorRange(low, high, float(ends[np.argmin(errors)]))

    def _least_divergence(self, widest: TensorRange) -> TensorRange:
        """Find one limit on the magnitude for the symmetric grid and one for the asymmetric."""
        magnitudes = self._magnitudes()
        # An asymmetric grid has this many levels on its longer side.
        levels = round(_LEVELS * widest.magnitude / (widest.high - widest.low))
        limit = _least_divergent_bins(magnitudes, levels) * self.width
        magnitude = _least_divergent_bins(magnitudes, _SIGNED_LEVELS + 1) * self.width
        return _within(widest, -limit, limit, magnitude)

    def _magnitudes(self) -> NDArray[np.int64]:
        """Return how often a magnitude fell into each bin, [bins]."""
        return self.counts[_BINS:] + self.counts[_BINS - 1 :: -1]


def _width(reach: float) -> float:
    """Return the smallest power of two of which fewer than all bins reach to `reach`."""
    exponent = math.floor(math.log2(reach / _BINS)) + 1
    return 2.0 ** max(exponent, -120)  # so that its inverse is a float32


def _within(widest: TensorRange, low: float, high: float, magnitude: float) -> TensorRange:
    """Return a range of bins' borders, no end of which is beyond what was seen."""
    return TensorRange(
        max(widest.low, min(low, 0.0)),
        min(widest.high, max(high, 0.0)),
        min(widest.magnitude, magnitude),
    )


def _least_divergent_bins(counts: NDArray[np.int64], levels: int) -> int:
    """Return after how many bins to cut a histogram of magnitudes that `levels` must express.

    The reference distribution is the histogram up to there, with all that is cut off in its last
    bin; the candidate shares each level's count among those of its bins that are not empty. The
    first bin, mostly exact zeros, is expressed exactly by any grid and counts for neither.
    """
    numbers_seen = counts.astype(np.float64)
    numbers_seen[0] = 0
    last = int(np.flatnonzero(numbers_seen)[-1]) + 1 if numbers_seen.any() else 1
    best, best_divergence = last, math.inf
    for bins in range(levels, last + 1, max(1, levels // 8)):
        kept = numbers_seen[:bins]
        reference = kept.copy()
        reference[-1] += numbers_seen[bins:].sum()
        starts = np.arange(levels) * bins // levels
        filled = kept > 0
        sums = np.add.reduceat(kept, starts)
        numbers = np.add.reduceat(filled.astype(np.float64), starts)
        lengths = np.diff(np.append(starts, bins))
        candidate = np.repeat(sums / np.maximum(numbers, 1), lengths) * filled
        if candidate.sum() == 0:
            continue
        divergence = _divergence(reference, candidate)
        if divergence < best_divergence:
            best, best_divergence = bins, divergence
    return best


def _divergence(reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> float:
    """Return the Kullback-Leibler divergence in nats; a bin that only the first fills costs."""
    p, q = reference / reference.sum(), candidate / candidate.sum()
    used = p > 0
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))).sum())
