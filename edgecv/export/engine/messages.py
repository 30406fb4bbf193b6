"""What TensorRT says while it works: kept for the record, and turned into errors of one line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

_MOST_LINES = 1000
_NO_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "std::bad_alloc")


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
    import tensorrt as trt

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


def why_no_engine(errors: Sequence[str], workspace_mib: int) -> str:
    """Return why TensorRT built nothing, and what to do, in one line."""
    reason = errors[-1].rstrip(".") if errors else "it did not say why"
    text = " ".join(errors).lower()
    if any(sign in text for sign in _NO_MEMORY):
        asked = f"{workspace_mib} MiB" if workspace_mib else "all of the device"
        remedy = (
            f"A layer may use {asked}: lower `workspace_mib` in the recipe, and close what else "
            "uses the GPU."
        )
    elif "could not find any implementation" in text:
        remedy = (
            "No kernel fits that layer. Raise `workspace_mib` or `optimisation_level` in the "
            "recipe, or keep the layer in float32 when you export."
        )
    else:
        remedy = "`edgecv inspect` says what this version takes."
    return f"TensorRT built no engine: {reason}. {remedy}"
