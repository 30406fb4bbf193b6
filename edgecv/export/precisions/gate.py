"""The accuracy gate: a graph of lower precision passes only if it is nearly as accurate.

Where it is not, other variants of the conversion are tried, such as other ways to calibrate. Then
the layers of the best of them that cost most by themselves are returned to float32, twice as many
each time, until a graph passes. That is the sensitivity analysis of Wu et al., "Integer
Quantization for Deep Learning Inference", arXiv 2004.09602, section 6.1, judged by real accuracy.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx

from edgecv.export.precisions.converted import Converted
from edgecv.export.precisions.noise import LayerCost

Lower = Callable[[Collection[str]], Converted]

_MOST_RETURNED = 0.5  # of the layers: beyond it a file gains too little to be worth its drop


@dataclass(frozen=True)
class Attempt:
    """One graph that stood before the gate.

    Args:
        variant: how it was converted.
        num_returned: layers that had been returned to float32.
        value: its accuracy.
        drop: how much less that is than the reference's.

    """

    variant: str
    num_returned: int
    value: float
    drop: float


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Args:
        has_passed: whether the last attempt's drop was within the limit.
        converted: the graph of the last attempt.
        attempts: all, in their order.
        returned: names of the layers that it has in float32 for the sake of accuracy.
        costs: of each layer by itself, the highest first; empty if the first attempt passed.

    """

    has_passed: bool
    converted: Converted
    attempts: tuple[Attempt, ...]
    returned: tuple[str, ...]
    costs: tuple[LayerCost, ...]

    @property
    def variant(self) -> str:
        """How the last attempt was converted."""
        return self.attempts[-1].variant

    @property
    def drop(self) -> float:
        """How much less that is than the reference's."""
        return self.attempts[-1].drop


def pass_gate(
    variants: Mapping[str, Lower],
    accuracy: Callable[[onnx.ModelProto], float],
    rank: Callable[[Lower, Sequence[str]], Sequence[LayerCost]],
    *,
    reference: float,
    max_drop: float,
) -> Verdict:
    """Return the first graph that is accurate enough, or the last one tried.

    Args:
        variants: by name, at least one: each returns the graph with the named layers left in
            float32. They are tried in their order.
        accuracy: of a graph on held-out images, a fraction.
        rank: returns the cost of each of the named layers in a variant, the highest first; called
            once, and only if no variant passes with all its layers converted.
        reference: the accuracy of the float32 graph.
        max_drop: how much less is allowed.

    """
    attempts: list[Attempt] = []

    def attempt(name: str, keep: Sequence[str]) -> Converted:
        converted = variants[name](keep)
        value = accuracy(converted.model)
        attempts.append(Attempt(name, len(keep), value, reference - value))
        return converted

    def has_passed() -> bool:
        return attempts[-1].drop <= max_drop  # NaN does not pass

    for name in variants:
        converted = attempt(name, ())
        if has_passed():
            return Verdict(True, converted, tuple(attempts), (), ())  # noqa: FBT003  # a field
    best = min(attempts, key=lambda entry: math.inf if math.isnan(entry.drop) else entry.drop)
    lower = variants[best.variant]
    converted = lower(())
    costs = tuple(rank(lower, converted.layers))
    num_layers = len(costs)
    returned: tuple[str, ...] = ()
    while not has_passed() and max(1, 2 * len(returned)) <= _MOST_RETURNED * num_layers:
        returned = tuple(cost.name for cost in costs[: max(1, 2 * len(returned))])
        converted = attempt(best.variant, returned)
    return Verdict(has_passed(), converted, tuple(attempts), returned, costs)
