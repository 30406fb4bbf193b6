"""Latency statistics against their definition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.metrics.latency import BUCKETS_MS, LatencyStatistics, LatencyWindow


def percentile(samples: list[float], percent: float) -> float:
    """Linear interpolation between the two nearest ranks."""
    ordered = sorted(samples)
    rank = (len(ordered) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_matches_the_definition(samples: list[float]) -> None:
    found = LatencyStatistics.of(samples)
    assert found.count == len(samples)
    for value, percent in (
        (found.median_ms, 50),
        (found.p90_ms, 90),
        (found.p95_ms, 95),
        (found.p99_ms, 99),
    ):
        assert value == pytest.approx(percentile(samples, percent), rel=1e-12, abs=1e-9)
    assert found.mean_ms == pytest.approx(math.fsum(samples) / len(samples), rel=1e-9)


def test_one_sample_is_all_of_them() -> None:
    assert LatencyStatistics.of([3.25]) == LatencyStatistics(1, 3.25, 3.25, 3.25, 3.25, 3.25)


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf]])
def test_refuses_nothing_and_what_is_no_number(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="must hold at least one number and only finite"):
        LatencyStatistics.of(samples)


def test_to_plain_is_rounded() -> None:
    plain = LatencyStatistics.of([1 / 3, 2 / 3]).to_plain()
    assert plain["count"] == 2
    assert plain["mean_ms"] == 0.5
    assert plain["p90_ms"] == 0.6333


def test_a_window_counts_all_and_keeps_the_last() -> None:
    window = LatencyWindow(size=10)
    for value in range(1000):
        window.add(float(value))
    found = window.statistics()
    assert found.count == 1000
    assert found.mean_ms == 499.5
    assert found.median_ms == 994.5  # of 990..999
    assert len(window._last_ms) == 10


@given(st.lists(st.one_of(st.floats(0, 2e4), st.sampled_from(BUCKETS_MS))))
def test_the_histogram_counts_all_of_them(samples: list[float]) -> None:
    window = LatencyWindow(size=3)
    for sample in samples:
        window.add(sample)
    wanted = [sum(sample <= bound for sample in samples) for bound in BUCKETS_MS]
    assert window.histogram() == (*wanted, len(samples))
