"""The learning rate over a run."""

import math


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
