"""Following long work: how it tells a user, or a test, what it is at."""

from collections.abc import Callable
from typing import TypeAlias

Advance: TypeAlias = Callable[[], None]
"""Called after each part of a step."""

Follow: TypeAlias = Callable[[str, int], Advance]
"""Told the name of a step and the number of its parts, returns what to call after each part."""


def unfollowed(_step: str, _total: int) -> Advance:
    """Follow nothing."""
    return lambda: None
