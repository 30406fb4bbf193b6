"""The best pairing of rows with columns."""

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import linear_assignment_cpu
from edgecv.kernels.arguments import check_array


def linear_assignment(gains: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row the column that it is paired with, so that the sum of gains is largest.

    A row and a column are in one pair at most. A row may stay alone; so it does where no gain of
    its is above 0. To pair by costs up to a limit, give `limit - costs`.

    Args:
        gains: (N, M) float64, finite: what a pair is worth; one that is not above 0 rules the pair
            out.

    Returns:
        (N,) int64, columns, -1 for a row that stays alone. Where several pairings are equally
        good, one of them.

    Raises:
        ValueError: if the shape is not as described, or a gain is not finite.
        TypeError: if the array has another dtype; nothing is converted silently.

    Source:
        Jonker and Volgenant, "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear
        Assignment Problems", Computing 38, 1987.

    """
    check_array("linear_assignment", "gains", gains, np.float64, ("N", "M"))
    if not np.isfinite(gains).all():
        raise ValueError(
            "linear_assignment: `gains` must be finite, got NaN or infinity. "
            "Rule a pair out by a gain of 0."
        )
    column_of_row = np.empty(len(gains), np.int64)
    linear_assignment_cpu(np.ascontiguousarray(gains), column_of_row)
    return column_of_row
