"""What values tell of a format: on both sides of each decision, and when they tell nothing."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from edgecv.export.adoption.evidence import (
    Finding,
    are_fractions,
    are_no_fractions,
    are_off_grid,
    are_sizes,
    are_whole,
    lie_on_grid,
    sum_to_one,
    verdict,
)

SIZE_HW, STRIDES = (64, 96), (8, 32)


def centres(per_cell: int = 1) -> np.ndarray:
    """The centres of all cells, level by level, by the definition."""
    return np.array(
        [
            ((column + 0.5) * stride, (row + 0.5) * stride)
            for stride in STRIDES
            for _ in range(per_cell)
            for row in range(64 // stride)
            for column in range(96 // stride)
        ]
    )[None]


@pytest.mark.parametrize("per_cell", [1, 3])
def test_decoded_boxes_grow_with_the_grid(per_cell: int) -> None:
    decoded = centres(per_cell)
    noise = np.random.default_rng(0).uniform(-8, 8, decoded.shape)
    assert lie_on_grid(decoded + noise, SIZE_HW, STRIDES, per_cell).holds is True
    for raw in (noise / 8, decoded / 96):  # offsets within a cell; fractions of the input
        found = lie_on_grid(raw, SIZE_HW, STRIDES, per_cell)
        assert found.holds is False
        assert "do not lie on the grid" in found.words
    assert lie_on_grid(decoded * 0, SIZE_HW, STRIDES, per_cell).holds is None


def test_off_the_grid_is_the_contrary() -> None:
    assert are_off_grid(centres(), SIZE_HW, STRIDES).holds is False
    assert are_off_grid(centres() / 96, SIZE_HW, STRIDES).holds is True
    assert are_off_grid(centres() * 0, SIZE_HW, STRIDES).holds is None


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ([0, 1], True),
        ([-0.0005, 1.0005], True),  # as float16 rounds them
        ([-0.002, 0.5], False),
        ([0.5, 1.002], False),
        ([0.5, 0.5], None),
        ([], None),
    ],
)
def test_fractions(values: list[float], holds: bool | None) -> None:  # noqa: FBT001  # a case
    assert are_fractions(np.array(values), "scores").holds is holds
    contrary = None if holds is None else not holds
    assert are_no_fractions(np.array(values), "scores").holds is contrary


def test_a_softmax_is_told_by_its_sums() -> None:
    good = np.array([[0.25, 0.75], [1, 0]])
    assert sum_to_one(good, 1, "values").holds
    assert not sum_to_one(good * 1.01, 1, "values").holds
    assert not sum_to_one(np.array([[-1.0, 2.0]]), 1, "values").holds
    maps = np.stack([np.full((4, 5), 0.25), np.full((4, 5), 0.75)])[None]
    assert sum_to_one(maps, 1, "values").holds


def test_sizes_and_class_ids() -> None:
    assert are_sizes(np.array([0, 3.5]), "sides").holds is None  # that is no proof
    assert are_sizes(np.array([-0.1, 3.5]), "sides").holds is False
    assert are_whole(np.array([0.0, 3.0]), "ids").holds is True
    assert are_whole(np.array([0.0, 3.5]), "ids").holds is False
    assert are_whole(np.array([-1.0, 3.0]), "ids").holds is False
    assert are_whole(np.array([3.0, 3.0]), "ids").holds is None


def test_one_finding_against_refutes_all() -> None:
    good, bad, open_ = Finding(True, "a"), Finding(False, "b"), Finding(None, "c")  # noqa: FBT003
    assert verdict([good, open_, bad]) == bad
    assert verdict([good, open_, good]) == Finding(True, "a, a")  # noqa: FBT003
    assert verdict([open_]).holds is None
