"""The accuracy gate: a graph of lower precision passes only if it is nearly as accurate.

Where it is not, the layers that cost most by themselves are returned to float32, twice as many each
time, until a graph passes. That is the sensitivity analysis of Wu et al., "Integer Quantization for
Deep Learning Inference", arXiv 2004.09602, section 6.1, with real accuracy as the judge.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx

from edgecv.export.converted import Converted
from edgecv.export.noise import LayerCost

_MOST_RETURNED = 0.5  # of the layers: beyond it a file gains too little to be worth its drop


@dataclass(frozen=True)
class Attempt:
    """One graph that stood before the gate.

    Args:
        num_returned: layers that had been returned to float32.
        value: its accuracy.
        drop: how much less that is than the reference's.

    """

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
    def value(self) -> float:
        """The accuracy of the last attempt."""
        return self.attempts[-1].value

    @property
    def drop(self) -> float:
        """How much less that is than the reference's."""
        return self.attempts[-1].drop


def pass_gate(
    convert: Callable[[Collection[str]], Converted],
    accuracy: Callable[[onnx.ModelProto], float],
    rank: Callable[[Sequence[str]], Sequence[LayerCost]],
    *,
    reference: float,
    max_drop: float,
    on_attempt: Callable[[Attempt], None] = lambda _: None,
) -> Verdict:
    """Return the first graph that is accurate enough, or the last one tried.

    Args:
        convert: returns the graph with the named layers left in float32.
        accuracy: of a graph on held-out images, a fraction.
        rank: returns the cost of each of the named layers, the highest first; called once, and
            only if the graph with all layers converted does not pass.
        reference: the accuracy of the float32 graph.
        max_drop: how much less is allowed.
        on_attempt: called after each.

    """
    attempts: list[Attempt] = []

    def attempt(keep: Sequence[str]) -> tuple[Converted, bool]:
        converted = convert(keep)
        value = accuracy(converted.model)
        attempts.append(Attempt(len(keep), value, reference - value))
        on_attempt(attempts[-1])
        return converted, attempts[-1].drop <= max_drop  # NaN does not pass

    converted, has_passed = attempt(())
    layers = converted.layers
    costs: tuple[LayerCost, ...] = ()
    returned: tuple[str, ...] = ()
    if not has_passed:
        costs = tuple(rank(layers))
    while not has_passed:
        num_returned = max(1, 2 * len(returned))
        if num_returned > _MOST_RETURNED * len(layers):
            break
        returned = tuple(cost.name for cost in costs[:num_returned])
        converted, has_passed = attempt(returned)
    return Verdict(has_passed, converted, tuple(attempts), returned, costs)
