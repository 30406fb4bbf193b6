"""Presentation times that go on rising when a live source starts again from nought."""

_LONGEST_JUMP_S = 10.0  # ahead of the clock: a new timeline, not a gap
_SHORTEST_STEP_S = 1e-3


class Timeline:
    """Presentation times of one source through reconnects, jumps and frames without any.

    Where the source's own times go on, they are passed on as they are. A new connection, a step
    back, or one far ahead of the clock begins a new stretch, which is laid behind the last frame
    by as much as the clock went on.
    """

    def __init__(self) -> None:
        """Begin with the source's own times."""
        self._offset_s = 0.0
        self._is_new = False
        self._last: tuple[float, float] | None = None  # presentation and capture

    def restart(self) -> None:
        """Say that the next frame comes from a new connection."""
        self._is_new = self._last is not None

    def presented_s(self, pts_s: float | None, captured_s: float) -> float | None:
        """Return the time at which a frame is to be shown.

        Args:
            pts_s: as the source tells it, None where it does not.
            captured_s: by the clock.

        Returns:
            Seconds, above those of all frames before; None until the source has told one.

        """
        if self._last is None:
            if pts_s is not None:
                self._last = pts_s, captured_s
            return pts_s
        last_s, last_captured_s = self._last
        elapsed_s = captured_s - last_captured_s
        told_s = None if pts_s is None else pts_s + self._offset_s
        has_jumped = told_s is None or not 0 < told_s - last_s <= elapsed_s + _LONGEST_JUMP_S
        if told_s is None or has_jumped or self._is_new:
            shown_s = last_s + max(elapsed_s, _SHORTEST_STEP_S)
            if pts_s is not None:
                self._offset_s = shown_s - pts_s
                self._is_new = False
        else:
            shown_s = told_s
        self._last = shown_s, captured_s
        return shown_s
