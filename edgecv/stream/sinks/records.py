"""A result as plain data: what a line of JSON, a message and a slot of the ring hold."""

import json
import time
from collections.abc import Sequence
from typing import Any

from edgecv.stream.pipeline import StreamResult


def as_record(result: StreamResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return one result as a dictionary for JSON: the same for the same frame, whenever run.

    Its keys are `source` where the source has a name, `frame`, `pts_s`, `path` of a picture, and
    the key of the result's kind, such as `detections`, and `events` where lines were crossed or
    zones entered, dwelled in or left.
    """
    record: dict[str, Any] = {"source": result.source} if result.source else {}
    record["frame"] = result.frame.index
    pts_s = result.frame.pts_s
    record["pts_s"] = None if pts_s is None else round(pts_s, 6)
    if result.frame.path is not None:
        record["path"] = str(result.frame.path)
    record[result.result.KEY] = result.result.to_records(classes)
    if result.events:
        record["events"] = [event.to_record(classes) for event in result.events]
    return record


def as_message(result: StreamResult, classes: Sequence[str]) -> bytes:
    """Return a record with `captured_at`, seconds since 1970, as UTF-8: for those elsewhere."""
    record = {"captured_at": round(captured_at_s(result), 3)} | as_record(result, classes)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def captured_at_s(result: StreamResult) -> float:
    """Return when the frame was captured, in seconds since 1970."""
    return time.time() - (time.perf_counter() - result.frame.captured_s)
