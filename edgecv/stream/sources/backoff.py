"""How long to wait before the next attempt to reach what does not answer."""

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Waiting times that double up to a bound, each shortened by chance.

    By chance, so that cameras which were lost together do not all come back in the same instant.
    The bound is low because the price of an attempt is: a camera that answers again is seen
    within `longest_s`, and shown some 2 s later at the most, with its next key frame.

    Args:
        first_s: the longest that the first wait may be, in seconds.
        longest_s: the longest that any may be.
        chance: where the chance comes from.

    """

    first_s: float = 0.25
    longest_s: float = 2.0
    chance: random.Random = field(default_factory=random.Random)
    num_attempts: int = field(init=False, default=0)

    def next_s(self) -> float:
        """Return the next wait in seconds: between a half and the whole of first · 2ⁿ."""
        doubled = self.first_s * 2.0 ** min(self.num_attempts, 30)
        self.num_attempts += 1
        return min(doubled, self.longest_s) * self.chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the first wait: frames have come."""
        self.num_attempts = 0
