"""A table: one row per object found, or per event."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgecv.errors import InputError
from edgecv.results import Classification, Detections, ModelResults, Segmentation
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.lines import AppendedLines
from edgecv.stream.sinks.lines_sink import LinesSink
from edgecv.stream.sinks.records import as_record

CSV_SUFFIXES = (".csv", ".tsv")

_OF_FRAME = ("source", "frame", "pts_s", "path")
_OF_BOX = ("x1", "y1", "x2", "y2")
_OF_POINT = ("x", "y")
_OF_EVENT = (
    *("event", "name", "track_id", "class", "class_id", "at_s", *_OF_POINT),
    *("direction", "dwell_s", "lost"),
)
_COLUMNS = {
    Detections.KEY: ("class", "class_id", "score", *_OF_BOX, "track_id"),
    Classification.KEY: ("class", "class_id", "score"),
    Segmentation.KEY: ("class", "class_id", "share"),
}


class CsvSink(LinesSink):
    """One row per object, per class of a classification or a segmentation; a header first.

    A frame in which nothing was found has no row. Masks and keypoints are not in it, nor
    what second models tell: take JSON lines for them. `track_id` is empty without a tracker. A file
    that ends in `.tsv` has tabs.

    Args:
        path: see `LinesSink`, as are `classes` and the options.
        is_of_events: give a row to each line crossed and each zone entered, dwelled in or left
            instead; what an event does not have is empty.

    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        is_of_events: bool = False,
        **options: Any,  # noqa: ANN401  # those of `LinesSink`
    ) -> None:
        """Name the file; it is opened with the first result."""
        super().__init__(path, classes, **options)
        self._is_of_events = is_of_events

    def write(self, result: StreamResult) -> None:
        """Append the rows of one frame, see `Sink`.

        Raises:
            InputError: if there are several models, or the file that rows are added to has other
                columns.
            OutputError: if the disk is full.

        """
        if not self._is_of_events and isinstance(result.result, ModelResults):
            raise InputError(
                f"`{self._path}`: a table holds the results of one model, got those of several. "
                "Write .jsonl."
            )
        key = "events" if self._is_of_events else result.result.KEY
        columns = _OF_EVENT if self._is_of_events else _COLUMNS[key]
        header = self._text([(*_OF_FRAME, *columns)])
        if self._opened is None:
            lines = self._open()
            if isinstance(lines, AppendedLines) and not lines.is_empty:
                self._check_header(lines, header)
            self._opened = lines
        lines = self._lines()
        record = as_record(result, self._classes)
        shared = [record.get(name) for name in _OF_FRAME]
        rows = self._text([shared + row for row in _rows(record.get(key, ()), columns)])
        # In one piece: a file of rows without a header would be refused at the next start.
        if lines.is_empty:
            rows = header + rows
        if rows:
            lines.write(rows)

    @property
    def _delimiter(self) -> str:
        return "\t" if self._path.suffix.lower() == ".tsv" else ","

    def _check_header(self, lines: AppendedLines, header: bytes) -> None:
        with self._path.open("rb") as file:
            present = file.readline()
        if present != header:
            lines.close()
            raise InputError(
                f"`{self._path}`: rows can only be added to a table with the columns "
                f"`{header.decode().strip()}`, this one begins with "
                f"`{present.decode('utf-8', 'replace').strip()}`. Name another file."
            )

    def _text(self, rows: Sequence[Sequence[Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()


def _rows(records: Sequence[dict[str, Any]], columns: Sequence[str]) -> Iterator[list[Any]]:
    for record in records:
        flat = record | dict(zip(_OF_BOX, record.get("box_xyxy", ()), strict=False))
        flat |= dict(zip(_OF_POINT, record.get("point_xy", ()), strict=False))
        yield [flat.get(name) for name in columns]
