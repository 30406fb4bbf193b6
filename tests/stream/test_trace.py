"""Traces: valid at every moment, a row each, arrows that follow a frame, drops with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import OutputError
from edgecv.stream.accounting import Account, Drop, DropReason
from edgecv.stream.job import Job
from edgecv.stream.ledger import Ledger
from edgecv.stream.notices import Notices
from edgecv.stream.sources import Frame
from edgecv.stream.trace import Trace

STAGES = ("decode", "fit", "infer", "postprocess", "deliver")


class Somewhere:
    def __init__(self, name: str) -> None:
        self.name, self.account = name, Account(name, on_drop=lambda _job, _drop: None)


def make_job(source: str, index: int, trace: Trace, stages: tuple[str, ...] = STAGES) -> Job:
    """A frame each of whose stages takes 1 ms, 1 ms after the one before."""
    inlet: Any = Somewhere(source)
    begin_s = trace._begin_s + 0.1 * index
    job = Job(Frame(index, (), "bgr24"), Ledger(begin_s), inlet)
    for position, stage in enumerate(stages):
        at_s = begin_s + 0.002 * position
        job.ledger.record(stage, at_s, at_s + 0.001)
    return job


def events(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def rows(found: list[dict[str, Any]]) -> dict[tuple[int, int], str]:
    named = [event for event in found if event["name"] == "thread_name"]
    return {(event["pid"], event["tid"]): event["args"]["name"] for event in named}


def test_a_row_for_each_source_and_each_stage(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json") as trace:
        for index in range(2):
            for source in ("door", "yard"):
                trace.delivered(make_job(source, index, trace))
    found = events(tmp_path / "t.json")
    named = rows(found)
    assert sorted(named.values()) == sorted(["door", "yard", *STAGES[1:]])
    groups = [event["args"]["name"] for event in found if event["name"] == "process_name"]
    assert groups == ["sources", "stages"]
    boxes = [event for event in found if event["ph"] == "X"]
    door = [box for box in boxes if named[box["pid"], box["tid"]] == "door"]
    assert [box["name"] for box in door] == ["decode", "decode"]
    assert [box["ts"] for box in door] == pytest.approx([0, 100_000], abs=0.2)
    assert [box["dur"] for box in boxes] == pytest.approx([1000] * len(boxes), abs=0.2)


def test_arrows_follow_a_frame_within_its_boxes(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json") as trace:
        for index in range(3):
            trace.delivered(make_job("door", index, trace))
    found = events(tmp_path / "t.json")
    boxes = [event for event in found if event["ph"] == "X"]
    for index in range(3):
        arrows = [event for event in found if event["name"] == "frame" and event["id"] == index + 1]
        assert [arrow["ph"] for arrow in arrows] == ["s", "t", "t", "t", "f"]
        assert [arrow["ts"] for arrow in arrows] == sorted(arrow["ts"] for arrow in arrows)
        for arrow, stage in zip(arrows, STAGES, strict=True):
            (around,) = (
                box
                for box in boxes
                if (box["pid"], box["tid"]) == (arrow["pid"], arrow["tid"])
                and box["ts"] <= arrow["ts"] <= box["ts"] + box["dur"]
            )
            assert around["name"] == stage
            assert around["args"] == {"source": "door", "frame": index}


def test_a_batch_is_one_box_with_an_arrow_for_each_frame(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json") as trace:
        begin_s = trace._begin_s
        for source in ("door", "yard"):
            job = make_job(source, 0, trace, ("decode",))
            job.ledger.record("infer", begin_s + 0.01, begin_s + 0.02)
            trace.delivered(job)
    found = events(tmp_path / "t.json")
    assert [event["name"] for event in found if event["ph"] == "X"].count("infer") == 1
    assert [event["ph"] for event in found if event["name"] == "frame"].count("f") == 2


def test_a_dropped_frame_tells_why(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json") as trace:
        job = make_job("door", 7, trace, ("decode", "fit"))
        drop = Drop("door", 7, "fit", DropReason.STOPPED, trace._begin_s + 1)
        trace.dropped(job, drop)
    found = events(tmp_path / "t.json")
    (mark,) = (event for event in found if event["ph"] == "i")
    assert rows(found)[mark["pid"], mark["tid"]] == "door"
    assert mark["name"] == "stopped"
    assert mark["args"] == {"frame": 7, "stage": "fit", "why": DropReason.STOPPED.sentence}
    assert "f" not in [event["ph"] for event in found]  # it did not arrive


def test_boxes_of_a_row_do_not_overlap(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json") as trace:
        begin_s = trace._begin_s
        for index in range(2):  # the second packet arrives while the first is decoded
            job = make_job("door", index, trace, ())
            job.ledger.record("decode", begin_s + 0.001 * index, begin_s + 0.004 + 0.002 * index)
            trace.delivered(job)
    first, second = (event for event in events(tmp_path / "t.json") if event["ph"] == "X")
    assert second["ts"] >= first["ts"] + first["dur"] - 0.2
    assert second["ts"] + second["dur"] == pytest.approx(6000, abs=0.3)


def test_what_a_crash_leaves_is_valid_but_for_the_bracket(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    trace = Trace(path)
    sizes = set()
    for index in range(400):
        trace.delivered(make_job("door", index, trace))
        content = path.read_text()
        if content and len(content) not in sizes:
            sizes.add(len(content))
            json.loads(content + "]")
    assert len(sizes) > 2  # it was written as it went
    assert len(trace._lines) < 1000
    trace.close()
    trace.close()
    assert len([event for event in events(path) if event["ph"] == "X"]) == 400 * len(STAGES)


def test_names_are_escaped(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json") as trace:
        trace.delivered(make_job('a "cam"\n\\', 0, trace))
    assert 'a "cam"\n\\' in rows(events(tmp_path / "t.json")).values()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write the trace: No such file"):
        Trace(tmp_path / "nowhere" / "t.json")


def test_a_full_disk_ends_the_trace_and_not_the_stream() -> None:
    notices = Notices()
    trace = Trace(Path("/dev/full"), notices)
    for index in range(400):
        trace.delivered(make_job("door", index, trace))
    trace.close()
    (notice,) = notices.recent()
    assert notice.kind == "sink"
    assert "No space left on device. The stream goes on" in notice.text
    assert trace._lines == []
