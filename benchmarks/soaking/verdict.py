"""What a bar comes to: its checks, each with the figure that was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Args:
        text: what was found, with its bound.
        holds: whether it does.

    """

    text: str
    holds: bool


@dataclass(frozen=True)
class Verdict:
    """What a bar found.

    Args:
        bar: its name.
        checks: in the order of the closing line.
        figures: more of the same, for the JSON file.

    """

    bar: str
    checks: tuple[Check, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_passed(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    @property
    def line(self) -> str:
        """The verdict for people."""
        word = "passed" if self.is_passed else "FAILED"
        texts = [check.text if check.holds else f"NOT MET: {check.text}" for check in self.checks]
        return f"{self.bar}: {word}: {'; '.join(texts)}"

    def to_plain(self) -> dict[str, Any]:
        """Return the verdict for JSON."""
        return {
            "bar": self.bar,
            "passed": self.is_passed,
            "checks": [{"text": each.text, "holds": each.holds} for each in self.checks],
            **self.figures,
        }
