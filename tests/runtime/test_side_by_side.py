"""Runs side by side: how many, whose outputs are whose, and what becomes of errors."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv.runtime.side_by_side import SideBySide

LIMIT_S = 20


def answering(value: float) -> Callable[[], Any]:
    return lambda: {"x": np.array([value])}


def test_as_many_run_as_there_are_threads_and_the_next_waits() -> None:
    runs = SideBySide(2)
    both, go_on, third = threading.Barrier(3), threading.Event(), threading.Event()

    def run() -> Any:
        both.wait(LIMIT_S)
        go_on.wait(LIMIT_S)
        return {}

    for _ in range(2):
        runs.start([], run)
    both.wait(LIMIT_S)  # both are under way
    waiting = threading.Thread(target=lambda: (runs.start([], dict), third.set()))
    waiting.start()
    assert not third.wait(0.1)
    go_on.set()
    assert third.wait(LIMIT_S)
    waiting.join()
    runs.close()


def test_each_answer_has_its_own_outputs_in_whatever_order_they_are_looked_at() -> None:
    runs = SideBySide(3)
    answers = [runs.start(["x"], answering(value)) for value in range(12)]
    assert [int(answer["x"][0]) for answer in reversed(answers)] == [*reversed(range(12))]
    assert (list(answers[0]), len(answers[0])) == (["x"], 1)
    runs.close()


def test_an_error_is_raised_where_its_outputs_are_looked_at_and_gives_its_thread_back() -> None:
    runs = SideBySide(1)

    def fail() -> Any:
        raise RuntimeError("out of memory")

    answers = [runs.start(["x"], fail) for _ in range(3)]
    for answer in answers:
        with pytest.raises(RuntimeError, match="out of memory"):
            dict(answer)
    assert runs.start(["x"], answering(1.0))["x"] == 1.0
    runs.close()


def test_closing_waits_and_ends_the_threads() -> None:
    runs = SideBySide(2)
    answers = [runs.start(["x"], answering(value)) for value in range(2)]
    runs.close()
    runs.close()
    assert [int(answer["x"][0]) for answer in answers] == [0, 1]
    assert not [each for each in threading.enumerate() if each.name.startswith("edgecv-run")]
    for _ in range(3):  # a thread that is refused is idle again
        with pytest.raises(RuntimeError):
            runs.start(["x"], answering(0.0))
