"""The learning rate's shape, by its laws and by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.train.schedule import planned_epochs, rate_factor

runs = st.integers(1, 500).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(0, steps)))
floors = st.floats(0, 1)


def factors(num_steps: int, num_warmup: int, floor: float) -> list[float]:
    """One factor a step, and the one after the last."""
    return [
        rate_factor(step, num_steps=num_steps, num_warmup=num_warmup, floor=floor)
        for step in range(num_steps + 1)
    ]


@given(run=runs, floor=floors)
def test_rises_evenly_then_falls(run: tuple[int, int], floor: float) -> None:
    num_steps, num_warmup = run
    found = factors(num_steps, num_warmup, floor)
    rise, fall = found[:num_warmup], found[num_warmup:]
    assert rise == pytest.approx([(step + 1) / (num_warmup + 1) for step in range(num_warmup)])
    assert fall[0] == pytest.approx(1.0)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(fall))


@given(run=runs.filter(lambda run: run[1] < run[0]), floor=floors)
def test_ends_at_the_floor_and_stays_there(run: tuple[int, int], floor: float) -> None:
    num_steps, num_warmup = run
    for step in (num_steps, num_steps + 1, 2 * num_steps):
        found = rate_factor(step, num_steps=num_steps, num_warmup=num_warmup, floor=floor)
        assert found == pytest.approx(floor)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.2), (3, 0.8), (4, 1.0), (9, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2), (14, 0.55)],
)
def test_worked_example(step: int, expected: float) -> None:
    found = rate_factor(step, num_steps=24, num_warmup=4, floor=0.1)
    assert found == pytest.approx(expected)


def test_no_warmup_starts_at_the_peak() -> None:
    assert rate_factor(0, num_steps=10, num_warmup=0) == 1.0


@pytest.mark.parametrize(
    ("seconds", "budget", "expected"),
    [
        ([], 60.0, 50),  # nothing is known yet
        ([10.0], None, 50),
        ([10.0], 60.0, 6),
        ([20.0, 10.0], 60.0, 5),  # the first, slower one is left aside
        ([20.0, 10.0, 11.0, 90.0], 175.0, 8),  # by the median: 44 s hold four more of 11
        ([70.0], 60.0, 1),  # one epoch is always finished
        ([10.0] * 5, 59.9, 5),
        ([0.0], 60.0, 50),
        ([1.0], 1e9, 50),
    ],
)
def test_a_budget_is_planned_by_what_epochs_take(
    seconds: list[float], budget: float | None, expected: int
) -> None:
    assert planned_epochs(seconds, most=50, time_budget_s=budget) == expected
