"""How a source fares: what was counted since it was opened, and what is said about it."""

import threading
from dataclasses import dataclass
from typing import Literal

from edgecv.stream.notices import Notices

Loss = Literal["reconnect", "stall"]
Look = tuple[int, int, str, str]  # width, height, pixel format, codec


@dataclass(frozen=True)
class Health:
    """The counters of a source at one moment.

    Args:
        num_frames: frames handed out, each of them decoded.
        num_corrupt: packets that were damaged; what of them does not decode is skipped, and what
            the decoder could mend is handed out.
        num_reconnects: how often the source came back after it had broken off.
        num_restarts: how often it came back after it had fallen silent and was opened anew.
        num_format_changes: how often size, pixel format or codec changed between two frames.
        is_connected: False from the moment a source is lost until its next frame.

    """

    num_frames: int = 0
    num_corrupt: int = 0
    num_reconnects: int = 0
    num_restarts: int = 0
    num_format_changes: int = 0
    is_connected: bool = True


class HealthRecord:
    """Counts what happens to a source, and says what a person should know of.

    The thread that iterates the source writes, any thread reads.

    Args:
        origin: the source's name.
        notices: where to say it; nowhere if None.

    """

    def __init__(self, origin: str, notices: Notices | None = None) -> None:
        """Begin with zeros."""
        self._origin, self._notices = origin, notices
        self._lock = threading.Lock()
        self._num_frames = self._num_corrupt = self._num_format_changes = 0
        self._num_back: dict[Loss, int] = {"reconnect": 0, "stall": 0}
        self._loss: Loss | None = None
        self._look: Look | None = None

    def snapshot(self) -> Health:
        """Return the counters of now."""
        return Health(
            self._num_frames,
            self._num_corrupt,
            self._num_back["reconnect"],
            self._num_back["stall"],
            self._num_format_changes,
            is_connected=self._loss is None,
        )

    def frame(self, look: Look | None = None) -> None:
        """Count a frame that is about to be handed out.

        Args:
            look: to notice a change; None where frames may differ, as pictures do.

        """
        self._num_frames += 1
        if look is None or look == self._look:
            return
        if self._look is not None:
            self._num_format_changes += 1
            self.say("format", f"the frames change from {_told(self._look)} to {_told(look)}.")
        self._look = look

    def corrupt(self, num_packets: int = 1) -> None:
        """Count damaged packets; the 1st, 10th, 100th, … is said."""
        with self._lock:  # reading and decoding are two threads of a live source
            before = self._num_corrupt
            self._num_corrupt += num_packets
        if len(str(before)) < len(str(self._num_corrupt)) or before == 0:
            packets = "packet" if self._num_corrupt == 1 else "packets"
            self.say("corrupt", f"{self._num_corrupt} damaged {packets} so far.")

    def lost(self, loss: Loss, reason: str) -> None:
        """Begin a time without frames."""
        self._loss = loss
        self.say(loss, reason)

    def back(self, after_s: float, num_attempts: int) -> None:
        """End it, counted under what began it."""
        if self._loss is None:
            return
        self._num_back[self._loss] += 1
        attempts = f"{num_attempts} attempt{'' if num_attempts == 1 else 's'}"
        self.say(self._loss, f"frames again, after {after_s:.1f} s and {attempts}.")
        self._loss = None

    def say(
        self, kind: Literal["backend", "corrupt", "format", "reconnect", "stall"], text: str
    ) -> None:
        """Say something else of the source."""
        if self._notices is not None:
            self._notices.say(self._origin, kind, f"`{self._origin}`: {text}")


def _told(look: Look) -> str:
    width, height, format, codec = look  # noqa: A001  # the word of the whole package
    return f"{width}x{height} {format} ({codec})"
