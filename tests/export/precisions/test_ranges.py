"""Histograms against NumPy's, and the ways to choose a range against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike, NDArray

from edgecv.export.precisions.ranges import (
    CALIBRATION_METHODS,
    CalibrationMethod,
    Histogram,
    TensorRange,
)

finite = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


def histogram_of(*batches: ArrayLike) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.asarray(batch, np.float32))
    return histogram


@given(st.lists(hnp.arrays(np.float32, st.integers(0, 40), elements=finite), max_size=4))
def test_counts_are_those_of_numpy_over_all_values_at_once(
    batches: list[NDArray[np.float32]],
) -> None:
    values = np.concatenate([np.zeros(0, np.float32), *batches]).astype(np.float64)
    seen = histogram_of(*batches)
    assert seen.counts.sum() == values.size
    assert seen.low == min(0, values.min(initial=0))
    assert seen.high == max(0, values.max(initial=0))
    if seen.width:
        bins = np.floor(values / seen.width).astype(int) + len(seen.counts) // 2
        np.testing.assert_array_equal(seen.counts, np.bincount(bins, minlength=len(seen.counts)))


def test_a_wider_value_joins_bins_two_by_two() -> None:
    seen = histogram_of([0.1, -0.1, 0.2], [100.0])
    assert np.log2(seen.width).is_integer()
    assert 100 < 2048 * seen.width <= 200
    assert seen.counts.sum() == 4


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_a_tensor_of_zeros_has_an_empty_range(method: CalibrationMethod) -> None:
    assert histogram_of(np.zeros(9)).range(method) == TensorRange(0, 0, 0)


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
@given(values=hnp.arrays(np.float32, st.integers(1, 60), elements=finite))
def test_no_range_goes_beyond_what_was_seen_and_each_holds_zero(
    method: CalibrationMethod, values: NDArray[np.float32]
) -> None:
    found = histogram_of(values).range(method)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    assert low <= found.low <= 0 <= found.high <= high
    assert 0 <= found.magnitude <= max(-low, high)


def test_min_max_is_the_whole_range() -> None:
    assert histogram_of([-1.5, 0.25], [4.0]).range("min-max") == TensorRange(-1.5, 4.0, 4.0)


def test_percentile_cuts_a_ten_thousandth_at_either_end() -> None:
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    seen = histogram_of(values)
    found = seen.range("percentile")
    # A bin is the resolution of the histogram; neighbours in the tail are a few bins apart.
    tolerance = 4 * seen.width
    assert found.low == pytest.approx(np.quantile(values, 1e-4), abs=tolerance)
    assert found.high == pytest.approx(np.quantile(values, 1 - 1e-4), abs=tolerance)
    assert found.magnitude == pytest.approx(np.quantile(np.abs(values), 1 - 1e-4), abs=tolerance)


def rounding_error(values: NDArray[np.float32], low: float, high: float, levels: int) -> float:
    """The mean square of what rounding to a grid of `levels` steps changes, by definition."""
    step = (high - low) / levels
    zero = round(-low / step)
    codes = np.clip(np.rint(values / step) + zero, 0, levels)
    return float((((codes - zero) * step - values) ** 2).mean())


def test_mse_is_close_to_the_best_of_all_ranges() -> None:
    rng = np.random.default_rng(0)
    values = rng.laplace(size=20_000).astype(np.float32)
    values[:3] = 60, -45, 50  # outliers that make the whole range coarse
    found = histogram_of(values).range("mse")
    ends = np.linspace(2, 60, 60)
    best = min(rounding_error(values, -low, high, 255) for low in ends for high in ends)
    assert rounding_error(values, found.low, found.high, 255) <= 1.05 * best
    best = min(rounding_error(values, -end, end, 254) for end in ends)
    assert rounding_error(values, -found.magnitude, found.magnitude, 254) <= 1.05 * best


def divergence_when_cut(counts: NDArray[np.int64], bins: int, levels: int) -> float:
    """The Kullback-Leibler divergence of Migacz's algorithm, written out level by level."""
    reference = counts[:bins].astype(float)
    candidate = np.zeros(bins)
    for level in range(levels):
        part = slice(level * bins // levels, (level + 1) * bins // levels)
        filled = reference[part] > 0
        if filled.any():
            candidate[part] = filled * reference[part].sum() / filled.sum()
    reference[-1] += counts[bins:].sum()
    p, q = reference / reference.sum(), candidate / candidate.sum()
    return sum(a * np.log(a / max(b, 1e-12)) for a, b in zip(p, q, strict=True) if a > 0)


def test_entropy_cuts_where_the_divergence_is_smallest() -> None:
    values = np.abs(np.random.default_rng(0).normal(size=50_000)).astype(np.float32)
    values[:2] = 15.9, 12
    seen = histogram_of(values)
    counts = seen.counts[2048:].copy()
    counts[0] = 0
    last = int(np.flatnonzero(counts)[-1]) + 1
    divergences = {
        bins: divergence_when_cut(counts, bins, 128) for bins in range(128, last + 1, 16)
    }
    best = min(divergences, key=divergences.__getitem__)
    assert seen.range("entropy").magnitude == pytest.approx(best * seen.width)
    assert best * seen.width < 10  # the outliers were worth less than the steps
