"""What the values of a graph's outputs tell of their meaning, beyond their shapes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.points import anchor_points

_SLACK = 1e-3  # of float16 probabilities and their sums


@dataclass(frozen=True)
class Finding:
    """What one look at the values says of a format.

    Args:
        holds: whether the values are as the format has them; None where they cannot tell, as
            constants cannot.
        words: what was seen.

    """

    holds: bool | None
    words: str


def verdict(findings: Iterable[Finding]) -> Finding:
    """Return what several findings say together: one that does not hold refutes the format."""
    findings = tuple(findings)
    against = [finding for finding in findings if finding.holds is False]
    if against:
        return Finding(False, against[0].words)  # noqa: FBT003  # the field's name is there
    told = [finding for finding in findings if finding.holds]
    words = ", ".join(finding.words for finding in told) or "its values tell nothing"
    return Finding(True if told else None, words)


def are_fractions(values: NDArray[Any], name: str) -> Finding:
    """Tell whether values are probabilities, all within 0..1."""
    if _is_constant(values):
        return Finding(None, f"the {name} are constant")
    low, high = float(values.min()), float(values.max())
    holds = bool(low >= -_SLACK and high <= 1 + _SLACK)
    relation = "lie" if holds else "do not lie"
    return Finding(holds, f"the {name} {relation} in 0..1 ({low:.3g} to {high:.3g})")


def are_no_fractions(values: NDArray[Any], name: str) -> Finding:
    """Tell whether values are no probabilities, some outside of 0..1."""
    found = are_fractions(values, name)
    return Finding(None if found.holds is None else not found.holds, found.words)


def sum_to_one(values: NDArray[Any], axis: int, name: str) -> Finding:
    """Tell whether values are the outcome of a softmax over `axis`."""
    sums = values.sum(axis=axis, dtype=np.float64)
    holds = bool(values.min() >= -_SLACK and np.abs(sums - 1).max() < _SLACK)
    relation = "are" if holds else "are no"
    low, high = float(values.min()), float(values.max())
    first = float(sums.reshape(-1)[0])
    return Finding(
        holds,
        f"the {name} {relation} probabilities: {low:.3g} to {high:.3g}, their sum {first:.3g}",
    )


def lie_on_grid(
    centres_xy: NDArray[Any],
    size_hw: tuple[int, int],
    strides: tuple[int, ...],
    per_cell: int = 1,
) -> Finding:
    """Tell whether boxes lie where their cells do, so that they grow with the grid: decoded.

    Args:
        centres_xy: (B, N, 2), level by level, the anchors of a level one after the other.
        size_hw: height and width of the input in pixels.
        strides: input pixels per cell of each level.
        per_cell: anchors a cell.

    """
    if _is_constant(centres_xy):
        return Finding(None, "the boxes are constant")
    points = np.concatenate(
        [np.tile(anchor_points(size_hw, (stride,), 0.5), (per_cell, 1)) for stride in strides]
    )
    distance, of_origin = (
        float(np.median(np.abs(centres - points[:, :2]).max(axis=-1) / points[:, 2]))
        for centres in (centres_xy, np.zeros_like(points[:, :2]))
    )
    # Boxes that are not decoded lie near the origin, whatever cell they are of.
    holds = distance < of_origin / 2
    relation = "lie on the grid" if holds else "do not lie on the grid"
    return Finding(holds, f"the boxes {relation} ({distance:.2g} cells off)")


def are_off_grid(
    centres_xy: NDArray[Any], size_hw: tuple[int, int], strides: tuple[int, ...]
) -> Finding:
    """Tell whether boxes lie elsewhere than their cells: not decoded."""
    found = lie_on_grid(centres_xy, size_hw, strides)
    return Finding(None if found.holds is None else not found.holds, found.words)


def are_sizes(values: NDArray[Any], name: str) -> Finding:
    """Tell whether values can be widths and heights; that they are proves nothing."""
    holds = None if values.size == 0 or values.min() >= 0 else False
    return Finding(holds, f"some {name} are negative")


def are_whole(values: NDArray[Any], name: str) -> Finding:
    """Tell whether values are class ids: whole numbers from 0 on."""
    if _is_constant(values):
        return Finding(None, f"the {name} are constant")
    holds = bool((values == np.rint(values)).all() and values.min() >= 0)
    relation = "are" if holds else "are no"
    return Finding(holds, f"the {name} {relation} whole numbers")


def _is_constant(values: NDArray[Any]) -> bool:
    return bool(values.size == 0 or values.min() == values.max())
