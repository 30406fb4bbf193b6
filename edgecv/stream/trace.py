"""A stream's frames on a time line: Chrome's trace events, for Perfetto and chrome://tracing.

The file grows event by event and is whole after each: its format lets the last bracket be missing,
so that a trace opens which a crash has cut off.

Source: "Trace Event Format", Google, 2016: the JSON array format, complete events (X), instant
events (i), flows (s, t, f) and metadata (M).
"""

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.closing import Closing
from edgecv.errors import OutputError
from edgecv.stream.notices import Notices

if TYPE_CHECKING:
    from edgecv.stream.accounting import Drop
    from edgecv.stream.job import Job
    from edgecv.stream.ledger import Ledger

_SOURCES, _STAGES = 1, 2  # the two groups of rows: what the format calls processes
_FLUSH_BYTES = 1 << 16
_FLUSH_S = 1.0


class Trace(Closing):
    """Writes a row per source, on which its frames are decoded, and one per stage behind.

    Arrows follow a frame from row to row. What a batch did together is one box.
    """

    def __init__(self, path: Path, notices: Notices | None = None) -> None:
        """Begin the file.

        Args:
            path: of the file, which is overwritten.
            notices: where it is said that it cannot be written any more: the stream goes on.

        Raises:
            OutputError: if it cannot be written.

        """
        self.path = path
        self._notices = Notices() if notices is None else notices
        self._lock = threading.Lock()
        self._begin_s = time.perf_counter()
        self._lines: list[str] = []
        self._num_bytes, self._flushed_s = 0, self._begin_s
        self._separator = "["
        self._rows: dict[tuple[int, str], int] = {}
        self._last: dict[tuple[int, int], tuple[float, float]] = {}
        self._until_s: dict[tuple[int, int], float] = {}
        self._num_flows = 0
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise OutputError(
                f"`{path}`: cannot write the trace: {error.strerror}. Choose another place."
            ) from error
        for group, name in ((_SOURCES, "sources"), (_STAGES, "stages")):
            self._add(ph="M", pid=group, name="process_name", args={"name": name})

    def delivered(self, job: "Job") -> None:
        """Write a frame that has arrived."""
        with self._lock:
            if self._file.closed:
                return
            self._write_frame(job.inlet.name, job.frame.index, job.ledger, is_whole=True)
            self._flush_if_due()

    def dropped(self, job: "Job", drop: "Drop") -> None:
        """Write a frame that was not delivered, as far as it came, and why."""
        with self._lock:
            if self._file.closed:
                return
            self._write_frame(drop.source, drop.index, job.ledger, is_whole=False)
            self._add(
                ph="i",
                s="t",
                pid=_SOURCES,
                tid=self._row(_SOURCES, drop.source),
                ts=self._us(drop.at_s),
                name=drop.reason.value,
                args={"frame": drop.index, "stage": drop.stage, "why": drop.reason.sentence},
            )
            self._flush_if_due()

    def close(self) -> None:
        """Write what is left and the last bracket; twice does no harm."""
        with self._lock:
            if not self._file.closed:
                self._lines.append("\n]\n")
                self._flush()
                self._file.close()

    def _write_frame(self, source: str, index: int, ledger: "Ledger", *, is_whole: bool) -> None:
        self._num_flows += 1
        last = len(ledger.entries) - 1
        frame = {"source": source, "frame": index}
        for position, (stage, begin_s, end_s) in enumerate(ledger.entries):
            group, name = (_SOURCES, source) if stage == "decode" else (_STAGES, stage)
            row = group, self._row(group, name)
            at_us = self._us(self._write_box(row, stage, (begin_s, end_s), frame))
            if last == 0:
                continue  # it went nowhere else
            phase = "s" if position == 0 else "f" if position == last and is_whole else "t"
            arrow: dict[str, Any] = {"ph": phase, "pid": group, "tid": row[1], "ts": at_us}
            if phase == "f":
                arrow["bp"] = "e"  # it ends at the box around it, not at the next
            self._add(name="frame", cat="frame", id=self._num_flows, **arrow)

    def _write_box(
        self, row: tuple[int, int], stage: str, span_s: tuple[float, float], frame: dict[str, Any]
    ) -> float:
        """Write a box unless the batch has it already; return where it begins."""
        begin_s, end_s = span_s
        if self._last.get(row) == span_s:
            return begin_s
        until_s = self._until_s.get(row, begin_s)
        self._last[row], self._until_s[row] = span_s, max(end_s, until_s)
        if begin_s < until_s < end_s:  # boxes of a row may not overlap: a camera's next packet can
            begin_s = until_s  # arrive while this one is decoded
        duration_us = round((end_s - begin_s) * 1e6, 1)
        where = {"pid": row[0], "tid": row[1], "ts": self._us(begin_s), "dur": duration_us}
        self._add(ph="X", name=stage, args=frame, **where)
        return begin_s

    def _row(self, group: int, name: str) -> int:
        row = self._rows.get((group, name))
        if row is None:
            row = self._rows[group, name] = len(self._rows) + 1
            self._add(ph="M", pid=group, tid=row, name="thread_name", args={"name": name})
        return row

    def _us(self, at_s: float) -> float:
        return round((at_s - self._begin_s) * 1e6, 1)

    def _add(self, **event: Any) -> None:  # noqa: ANN401  # JSON
        line = f"{self._separator}\n{json.dumps(event, separators=(',', ':'))}"
        self._separator = ","
        self._lines.append(line)
        self._num_bytes += len(line)

    def _flush_if_due(self) -> None:
        now_s = time.perf_counter()
        if self._num_bytes >= _FLUSH_BYTES or now_s - self._flushed_s >= _FLUSH_S:
            self._flush()
            self._flushed_s = now_s

    def _flush(self) -> None:
        """Write whole events in one call, so that a crash finds none cut in two."""
        content = "".join(self._lines).encode()
        self._lines.clear()
        self._num_bytes = 0
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            self._file.close()
            reason = error.strerror or type(error).__name__
            text = f"the trace `{self.path}` ends here: {reason}. The stream goes on without."
            self._notices.say(str(self.path), "sink", text)
