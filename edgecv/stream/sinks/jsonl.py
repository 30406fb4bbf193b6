"""One line of JSON per frame."""

import json

from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.lines_sink import LinesSink
from edgecv.stream.sinks.records import as_record

JSONL_SUFFIXES = (".jsonl", ".ndjson")


class JsonlSink(LinesSink):
    """One line of JSON per frame: source, frame, pts_s, path (of pictures) and result."""

    def write(self, result: StreamResult) -> None:
        """Append the line of one frame, see `Sink`."""
        line = json.dumps(as_record(result, self._classes), ensure_ascii=False)
        self._lines().write(f"{line}\n".encode())
