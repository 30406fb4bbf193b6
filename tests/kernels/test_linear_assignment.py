"""Pairing rows with columns: against all pairings, and where the best one is known by design.

Sums are compared, not pairs: several pairings may be equally good.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import linear_assignment, reference

Gains = NDArray[np.float64]


def total(gains: Gains, columns: NDArray[np.int64]) -> float:
    """Return the sum of the gains, and see that it is a pairing of possible pairs."""
    rows = np.flatnonzero(columns >= 0)
    chosen = columns[rows]
    assert columns.shape == (len(gains),)
    assert len(np.unique(chosen)) == len(chosen)
    assert (columns >= -1).all()
    assert (gains[rows, chosen] > 0).all()
    return float(gains[rows, chosen].sum())


def planted(size: int, *, seed: int) -> tuple[Gains, float]:
    """Return gains and the largest sum, known by linear programming's duality.

    With prices of rows and columns of which every gain is at most the sum, no pairing is worth more
    than all prices together; and the planted one is, whose gains are the sums themselves.
    """
    rng = np.random.default_rng(seed)
    row_prices, column_prices = rng.random(size), rng.random(size)
    gains = row_prices[:, None] + column_prices
    hidden = rng.permutation(size)
    discount = rng.random((size, size)) * rng.choice([1e-3, 1.0, 4.0], (size, size))
    discount[np.arange(size), hidden] = 0
    return gains - discount, float(row_prices.sum() + column_prices.sum())


matrices = st.tuples(st.integers(0, 6), st.integers(0, 6)).flatmap(
    lambda shape: arrays(
        np.float64, shape, elements=st.integers(-4, 8).map(float) | st.floats(-1e9, 1e9)
    )
)


@given(gains=matrices)
def test_no_pairing_is_worth_more(gains: Gains) -> None:
    best = total(gains, reference.linear_assignment(gains))
    # 2 n sums of numbers up to 1e9 n, rounded once each
    tolerance = 4 * len(gains) ** 2 * 1e9 * np.finfo(np.float64).eps
    assert total(gains, linear_assignment(gains)) == pytest.approx(best, abs=tolerance, rel=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 64, 150])
def test_finds_the_planted_pairing(size: int, seed: int) -> None:
    gains, best = planted(size, seed=seed)
    columns = linear_assignment(gains)
    assert total(gains, columns) == pytest.approx(best, abs=1e-12 * size**2, rel=0)


@pytest.mark.parametrize("seed", range(4))
def test_scipy_agrees(seed: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    gains = rng.random((70, 90)) - 0.6
    # To stay alone is worth 0: a column of its own for every row.
    padded = np.hstack([np.maximum(gains, 0), np.zeros((70, 70))])
    rows, columns = optimize.linear_sum_assignment(padded, maximize=True)
    assert total(gains, linear_assignment(gains)) == pytest.approx(padded[rows, columns].sum())


def test_a_row_gives_way_where_that_is_worth_more() -> None:
    # Row 0 is the first and likes column 0 best, but row 1 can have nothing else.
    assert linear_assignment(np.array([[3.0, 2.0], [2.0, 0.0]])).tolist() == [1, 0]
    # A longer chain: rows 0 and 1 each move on for row 2.
    chain = np.array([[5.0, 4.0, 0.0], [0.0, 5.0, 4.0], [4.0, 0.0, 0.0]])
    assert linear_assignment(chain).tolist() == [1, 2, 0]


def test_a_row_is_left_alone_where_that_is_worth_more() -> None:
    assert linear_assignment(np.array([[1.0], [3.0], [2.0]])).tolist() == [-1, 0, -1]


def test_what_is_worth_nothing_is_no_pair() -> None:
    assert linear_assignment(np.array([[0.0, -1.0], [-0.0, 1e-300]])).tolist() == [-1, 1]


@given(gains=matrices, data=st.data())
def test_the_order_of_rows_does_not_matter(gains: Gains, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(gains))))
    shuffled = gains[list(order)]
    expected = total(gains, linear_assignment(gains))
    assert total(shuffled, linear_assignment(shuffled)) == pytest.approx(expected)


def test_reads_views() -> None:
    gains = np.random.default_rng(0).random((12, 20))
    np.testing.assert_array_equal(
        linear_assignment(gains[::-2, ::3]), linear_assignment(gains[::-2, ::3].copy())
    )
    np.testing.assert_array_equal(linear_assignment(gains.T), linear_assignment(gains.T.copy()))


def test_refuses_what_is_no_matrix_of_gains() -> None:
    with pytest.raises(ValueError, match=r"^linear_assignment: `gains` must have shape \(N, M\)"):
        linear_assignment(np.zeros(3))
    with pytest.raises(
        TypeError, match=r"^linear_assignment: `gains` must be float64, got float32"
    ):
        linear_assignment(np.zeros((1, 1), np.float32))  # type: ignore[arg-type]
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=r"`gains` must be finite.*a gain of 0"):
            linear_assignment(np.array([[bad]]))
