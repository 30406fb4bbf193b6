"""The best F1 against trying every threshold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.metrics.matching import RankedDetections
from edgecv.metrics.operating_point import best_f1


def ranking(scores: list[float], hits: list[bool], num_objects: int) -> RankedDetections:
    return RankedDetections(np.array(scores, float), np.array(hits, bool), num_objects)


def test_by_hand() -> None:
    point = best_f1(ranking([0.9, 0.8, 0.6, 0.2], [True, True, False, False], 3))
    assert point.f1 == pytest.approx(4 / 5)
    assert (point.precision, point.recall) == (1.0, pytest.approx(2 / 3))
    assert point.score_threshold == pytest.approx(0.7)  # halfway from 0.8 to 0.6


def test_equal_scores_stay_together() -> None:
    point = best_f1(ranking([0.5, 0.5, 0.5], [True, False, False], 1))
    assert point.precision == pytest.approx(1 / 3)
    assert point.score_threshold < 0.5


def test_without_objects_or_hits() -> None:
    nothing = best_f1(ranking([0.5], [False], 0))
    assert math.isnan(nothing.f1)
    assert math.isnan(nothing.recall)
    missed = best_f1(ranking([0.5], [False], 2))
    assert (missed.f1, missed.precision, missed.recall) == (0.0, 0.0, 0.0)
    assert math.isnan(missed.score_threshold)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 10),
)
def test_no_threshold_is_better(pairs: list[tuple[int, bool]], num_missed: int) -> None:
    pairs = sorted(pairs, key=lambda pair: -pair[0])
    scores = [number / 20 for number, _ in pairs]
    hits = [is_hit for _, is_hit in pairs]
    num_objects = sum(hits) + num_missed
    if not any(hits):
        return
    point = best_f1(ranking(scores, hits, num_objects))

    def f1_above(threshold: float) -> float:
        kept = [is_hit for score, is_hit in zip(scores, hits, strict=True) if score > threshold]
        if not any(kept):
            return 0.0
        precision, recall = sum(kept) / len(kept), sum(kept) / num_objects
        return 2 * precision * recall / (precision + recall)

    assert point.f1 == pytest.approx(max(f1_above(number / 40) for number in range(41)))
    assert f1_above(point.score_threshold) == pytest.approx(point.f1)
    assert 2 * point.precision * point.recall / (point.precision + point.recall) == pytest.approx(
        point.f1
    )
