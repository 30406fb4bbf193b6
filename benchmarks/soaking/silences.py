"""How long each source gave nothing, and how much of that no fault explains."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NOTABLE_S = 1.0

Interval = tuple[float, float]


@dataclass(frozen=True)
class Silence:
    """A time between two results of one source.

    Args:
        camera: its number.
        begin_s: of the result before.
        end_s: of the result after.

    """

    camera: int
    begin_s: float
    end_s: float

    def beyond_s(self, faults: Iterable[Interval]) -> float:
        """Return how much of it lies outside the times in which the camera gave nothing."""
        explained_s = sum(
            max(0.0, min(self.end_s, end_s) - max(self.begin_s, begin_s))
            for begin_s, end_s in faults
        )
        return self.end_s - self.begin_s - explained_s


class SilenceLog:
    """The notable silences of several sources, as their results come."""

    def __init__(self, num_cameras: int, now_s: float) -> None:
        """Begin at `now_s`: the wait for the first result counts."""
        self.found: list[Silence] = []
        self._last_s = [now_s] * num_cameras

    def result(self, camera: int, now_s: float) -> None:
        """Note a result, or the end of the run."""
        last_s, self._last_s[camera] = self._last_s[camera], now_s
        if now_s - last_s > NOTABLE_S:
            self.found.append(Silence(camera, last_s, now_s))

    def end(self, now_s: float) -> None:
        """Note the end of the run for all of them."""
        for camera in range(len(self._last_s)):
            self.result(camera, now_s)


def longest_beyond(
    silences: Sequence[Silence], faults: Sequence[Sequence[Interval]]
) -> tuple[float, Silence | None]:
    """Return the longest silence beyond the faults, in seconds, and which that was.

    Args:
        silences: of all cameras.
        faults: of each camera, when it gave nothing; they do not overlap.

    """
    if not silences:
        return 0.0, None
    worst = max(silences, key=lambda each: each.beyond_s(faults[each.camera]))
    return worst.beyond_s(faults[worst.camera]), worst
