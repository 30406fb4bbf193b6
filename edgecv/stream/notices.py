"""What happens beside the frames: a camera came back, a sink failed, an engine took over."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind = Literal["backend", "corrupt", "ended", "format", "reconnect", "reload", "sink", "stall"]

_KEPT = 200  # a stream runs for weeks


@dataclass(frozen=True)
class Notice:
    """One thing that happened.

    Args:
        origin: what it happened to: the name of a source or a sink, or the model's file.
        kind: for filters and counters.
        text: a sentence for people; never with a password.
        at_s: when, in seconds of `time.time`.

    """

    origin: str
    kind: Kind
    text: str
    at_s: float = field(default_factory=time.time)


Listener: TypeAlias = Callable[[Notice], object]


class Notices:
    """The last notices of a stream, and whoever wants to hear of the next; for any thread."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._recent: deque[Notice] = deque(maxlen=_KEPT)
        self._listeners: list[Listener] = []

    def say(self, origin: str, kind: Kind, text: str) -> None:
        """Keep a notice and hand it to the listeners, in the thread that calls."""
        notice = Notice(origin, kind, text)
        with self._lock:
            self._recent.append(notice)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(notice)

    def recent(self) -> list[Notice]:
        """Return the last ones, oldest first."""
        with self._lock:
            return list(self._recent)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each notice from now on; it must not block."""
        with self._lock:
            self._listeners.append(listener)
