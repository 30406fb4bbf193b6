"""Which frames of a source are taken: every one, the newest, or so many a second."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edgecv.errors import InputError

Keep = Literal["latest", "every"]

_ROUNDING = 1e-6  # of a period: times of presentation are sums of rounded fractions


@dataclass(frozen=True)
class Policy:
    """What happens to the frames of a source when they come faster than they are taken.

    Args:
        keep: `every` lets the source wait, and none is lost; `latest` throws the older frame away
            when a newer one comes, so that what is taken is never stale.
        rate_hz: at most so many frames a second by their time of presentation, None for all.

    """

    keep: Keep
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse a rate of which no frame would be left."""
        if self.rate_hz is not None and not (self.rate_hz > 0 and math.isfinite(self.rate_hz)):
            raise InputError(
                f"`policy` must hold a rate above 0, got {self.rate_hz:g}. Write `rate=10` for ten "
                "frames a second."
            )

    def __str__(self) -> str:
        """Return the policy as `parse` takes it."""
        return self.keep if self.rate_hz is None else f"rate={self.rate_hz:g}"


Policies: TypeAlias = "str | Policy | Sequence[str | Policy | None] | None"


def parse(policy: str | Policy | None, *, is_live: bool) -> Policy:
    """Return the policy of a source.

    Args:
        policy: `latest`, `every` or `rate=N`; None for `latest` of a live source, whose frames
            come whether anybody takes them or not, and `every` of all others. What a rate lets
            through is kept likewise.
        is_live: see `edgecv.stream.sources.Source`.

    Raises:
        InputError: if it is none of these.

    """
    keep: Keep = "latest" if is_live else "every"
    if policy is None:
        return Policy(keep)
    if isinstance(policy, Policy):
        return policy
    if policy == "latest":
        return Policy("latest")
    if policy == "every":
        return Policy("every")
    name, _, number = policy.partition("=")
    try:
        rate_hz = float(number) if name == "rate" else math.nan
    except ValueError:
        rate_hz = math.nan
    if math.isnan(rate_hz):
        raise InputError(
            f"`policy` must be latest, every or rate=N, got {policy!r}. Write `latest` for the "
            "newest frame, `every` for all, `rate=10` for ten frames a second."
        )
    return Policy(keep, rate_hz)


def parse_each(policies: Policies, are_live: Sequence[bool]) -> list[Policy]:
    """Return the policy of each source.

    Args:
        policies: one for all, or one for each.
        are_live: of each source.

    Raises:
        InputError: if one cannot be understood, or there is another number of them.

    """
    if policies is None or isinstance(policies, str | Policy):
        policies = [policies] * len(are_live)
    if len(policies) != len(are_live):
        raise InputError(
            f"`policy` must be one for all sources or one for each of the {len(are_live)}, got "
            f"{len(policies)}."
        )
    return [parse(policy, is_live=live) for policy, live in zip(policies, are_live, strict=True)]


class RateGate:
    """Lets through at most so many frames a second, and no fewer where they come evenly.

    Of admitted frames i < j the times differ by more than (j - i - 1) periods: a late frame does
    not make the next one later still, so that 30 frames a second become exactly 20.
    """

    def __init__(self, rate_hz: float) -> None:
        """Begin with the next frame."""
        self._period_s = 1 / rate_hz
        self._slack_s = _ROUNDING * self._period_s
        self._due_s = -math.inf
        self._last_s = -math.inf

    def admits(self, time_s: float) -> bool:
        """Tell whether the frame that is shown at `time_s` is let through."""
        if time_s < self._last_s:  # the source began anew
            self._due_s = -math.inf
        self._last_s = time_s
        if time_s < self._due_s - self._slack_s:
            return False
        due_s = self._due_s + self._period_s
        self._due_s = due_s if due_s > time_s else time_s + self._period_s
        return True
