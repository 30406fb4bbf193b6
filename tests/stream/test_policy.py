"""Policies: what is understood, what is refused, and what a rate lets through."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.stream.policy import Policy, RateGate, parse, parse_each


@pytest.mark.parametrize(
    ("text", "is_live", "policy"),
    [
        (None, True, Policy("latest")),
        (None, False, Policy("every")),
        ("latest", False, Policy("latest")),
        ("every", True, Policy("every")),
        ("rate=10", True, Policy("latest", 10.0)),
        ("rate=0.5", False, Policy("every", 0.5)),
        (Policy("latest", 3), False, Policy("latest", 3)),
    ],
)
def test_what_is_understood(text: str | Policy | None, is_live: bool, policy: Policy) -> None:  # noqa: FBT001
    assert parse(text, is_live=is_live) == policy


@pytest.mark.parametrize("policy", [Policy("latest"), Policy("every"), Policy("every", 2.5)])
def test_a_policy_is_told_as_it_is_written(policy: Policy) -> None:
    assert parse(str(policy), is_live=policy.keep == "latest") == policy


@pytest.mark.parametrize(
    "text", ["newest", "", "rate", "rate=", "rate=ten", "latest=3", "rate=nan"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"must be latest, every or rate=N, got .*rate=10"):
        parse(text, is_live=True)


@pytest.mark.parametrize("text", ["rate=0", "rate=-3", "rate=inf"])
def test_a_rate_without_frames_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"a rate above 0, got .*`rate=10`"):
        parse(text, is_live=True)


def test_one_for_all_or_one_for_each() -> None:
    latest, every = Policy("latest"), Policy("every")
    assert parse_each(None, [True, False]) == [latest, every]
    assert parse_each("every", [True, False]) == [every, every]
    assert parse_each(["latest", None], [False, False]) == [latest, every]
    with pytest.raises(InputError, match="one for each of the 3, got 2"):
        parse_each(["latest", "every"], [True, True, True])


@pytest.mark.parametrize(("fps", "rate", "kept"), [(30, 10, 100), (30, 20, 200), (25, 25, 250)])
def test_even_frames_become_exactly_the_rate(fps: int, rate: int, kept: int) -> None:
    gate = RateGate(rate)
    assert sum(gate.admits(index / fps) for index in range(10 * fps)) == kept


def test_a_source_that_begins_anew_is_let_through() -> None:
    gate = RateGate(1)
    assert [gate.admits(at) for at in (100.0, 100.5, 0.0, 0.5, 1.0)] == [
        True,
        False,
        True,
        False,
        True,
    ]


STEPS = st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60)


@given(steps=STEPS, rate_hz=st.floats(0.2, 50))
def test_no_more_than_the_rate_and_no_less_than_could_be(
    steps: list[float], rate_hz: float
) -> None:
    times, now = [], 0.0
    for step in steps:
        now += step
        times.append(now)
    gate, period = RateGate(rate_hz), 1 / rate_hz
    admitted = [time for time in times if gate.admits(time)]
    assert admitted[0] == times[0]
    tolerance = 1e-4 * period + 1e-9
    for i, earlier in enumerate(admitted):
        for j in range(i + 1, len(admitted)):
            assert admitted[j] - earlier > (j - i - 1) * period - tolerance
    # After a whole period without any, the next frame is let through.
    for time in times:
        before = max((each for each in admitted if each < time), default=-math.inf)
        if time - before > period + tolerance:
            assert time in admitted
