"""The learning rate over a run, and how many epochs a time budget holds."""

import math
import statistics
from collections.abc import Sequence


def rate_factor(step: int, *, num_steps: int, num_warmup: int, floor: float = 0.01) -> float:
    """Return the factor on the peak learning rate at `step`: a linear rise, then half a cosine.

    Args:
        step: 0-based, below `num_steps`.
        num_steps: steps of the whole run.
        num_warmup: steps of the rise.
        floor: the factor at the end.

    Source:
        Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5; the warm-up is that of
        Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2.

    """
    if step < num_warmup:
        return (step + 1) / (num_warmup + 1)
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def planned_epochs(seconds: Sequence[float], *, most: int, time_budget_s: float | None) -> int:
    """Return the number of epochs after which the run ends, by what the finished ones took.

    Without a budget that is `most`. With one, further epochs are expected to take as long as the
    median of the finished ones, the first left aside where there are others, since it also
    compiles and fills caches. The plan is made anew after each epoch and stored with it, so that
    the learning rate reaches its floor when time is up, and a resume goes on with the same plan.
    Two runs of the same settings differ where their machines' speeds do. The first epoch is always
    finished, and none is cut short.

    Args:
        seconds: of each finished epoch with its validation.
        most: epochs that the configuration asks for.
        time_budget_s: seconds for all epochs.

    """
    if time_budget_s is None or not seconds:
        return most
    typical = statistics.median(seconds[1:] or seconds)
    further = (time_budget_s - sum(seconds)) / max(typical, 1e-9)
    return min(most, len(seconds) + max(0, math.floor(further)))
