"""What TensorRT says while it works: kept for records and errors."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

_MOST_LINES = 1000


@dataclass
class Messages:
    """Warnings and errors, in order; the first `_MOST_LINES` of them.

    Args:
        lines: `warning: …` or `error: …`, each on one line.

    """

    lines: list[str] = field(default_factory=list)

    def add(self, severity: str, text: str) -> None:
        """Keep a message, whatever thread it comes from."""
        if len(self.lines) < _MOST_LINES:
            self.lines.append(f"{severity}: {' '.join(text.split())}")

    def note(self, text: str) -> None:
        """Keep a remark of edgecv's own."""
        self.add("note", text)

    @property
    def errors(self) -> list[str]:
        """The errors, without the word."""
        return [line.partition(": ")[2] for line in self.lines if line.startswith("error: ")]

    @property
    def notes(self) -> list[str]:
        """Edgecv's own remarks."""
        return [line.partition(": ")[2] for line in self.lines if line.startswith("note: ")]


def logger(messages: Messages) -> "trt.ILogger":
    """Return TensorRT's logger that keeps warnings and errors in `messages`."""
    import tensorrt as trt  # noqa: PLC0415  # only where it is used

    kept = {
        int(trt.ILogger.Severity.INTERNAL_ERROR): "error",
        int(trt.ILogger.Severity.ERROR): "error",
        int(trt.ILogger.Severity.WARNING): "warning",
    }

    class _Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            word = kept.get(int(severity))
            if word is not None:
                messages.add(word, msg)

    return _Logger()
