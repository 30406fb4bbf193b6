"""Lines: appended whole, rotated, kept apart from what a crash or a full disk left."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError, OutputError
from edgecv.results import Classification, Detections, ModelResults, Segmentation
from edgecv.stream.events import LineCrossed, ZoneLeft
from edgecv.stream.sinks import CsvSink, JsonlSink
from edgecv.stream.sinks.lines import AppendedLines

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]


def indices(path: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in path.read_text("utf-8").splitlines()]


def test_appending_goes_on_where_the_last_run_ended(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "deeper" / "out.jsonl"
    for run in range(3):
        with JsonlSink(path, CLASSES, append=True) as sink:
            sink.write(result(run))
            assert indices(path) == list(range(run + 1))  # at once, not at the end
    assert sink.name == str(path)


def test_an_append_is_kept_whatever_ends_the_run(tmp_path: Path, result: MakeResult) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl", CLASSES, append=True)
    sink.write(result(0))
    sink.discard()
    assert indices(tmp_path / "out.jsonl") == [0]


@given(st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"") + b"\n")), st.binary())
def test_half_a_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / "lines"
    torn = torn.replace(b"\n", b"")
    path.write_bytes(b"".join(lines) + torn)
    appended = AppendedLines(path)
    assert appended.is_empty == (not lines)
    appended.write(b"new\n")
    appended.close()
    assert path.read_bytes() == b"".join(lines) + b"new\n"


def test_half_a_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\n" + b"x" * 200_000)
    AppendedLines(path).close()
    assert path.read_bytes() == b"a\n"


def test_rotation_by_size_loses_and_splits_nothing(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.jsonl"
    with JsonlSink(path, CLASSES, rotate_bytes=400) as sink:
        for index in range(20):
            sink.write(result(index))
    rotated = sorted(tmp_path.glob("out_*.jsonl"), key=lambda file: file.stem)
    assert len(rotated) > 3
    found = [index for file in (*rotated, path) for index in indices(file)]
    assert found == list(range(20))
    assert all(file.stat().st_size < 600 for file in rotated)


def test_rotation_by_age(
    tmp_path: Path, result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr("edgecv.stream.sinks.lines.time.monotonic", lambda: now_s)
    with JsonlSink(tmp_path / "out.jsonl", CLASSES, rotate_s=60) as sink:
        sink.write(result(0))
        now_s = 59.0
        sink.write(result(1))
        now_s = 60.0
        sink.write(result(2))
    (rotated,) = tmp_path.glob("out_*.jsonl")
    assert indices(rotated) == [0, 1]
    assert indices(tmp_path / "out.jsonl") == [2]


def test_only_so_many_rotated_files_are_kept(tmp_path: Path, result: MakeResult) -> None:
    (tmp_path / "out_mine.jsonl").write_text("not ours\n")
    (tmp_path / "out_20200101T000000Z.jsonl").write_text("of an earlier run\n")
    with JsonlSink(tmp_path / "out.jsonl", CLASSES, rotate_bytes=1, keep=2) as sink:
        for index in range(6):
            sink.write(result(index))
    rotated = sorted(tmp_path.glob("out_2*.jsonl"), key=lambda file: file.stem)
    assert [indices(file) for file in rotated] == [[3], [4]]
    assert (tmp_path / "out_mine.jsonl").exists()


@pytest.mark.parametrize("limit", ["rotate_bytes", "rotate_s", "keep"])
@pytest.mark.parametrize("kind", [JsonlSink, CsvSink])
def test_a_limit_of_nothing_is_refused(tmp_path: Path, kind: Any, limit: str) -> None:
    with pytest.raises(InputError, match=f"`{limit}` must be greater than 0, got 0. Leave it out"):
        kind(tmp_path / "out.jsonl", CLASSES, **{limit: 0})


FULL_DISK = """
import json, resource, sys
from edgecv.errors import OutputError
from edgecv.stream.sinks.lines import AppendedLines
from pathlib import Path

lines = AppendedLines(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (250, resource.RLIM_INFINITY))
errors = []
for index in range(6):
    if index == 5:  # there is room again
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        lines.write(json.dumps({"frame": index, "text": "x" * 80}).encode() + b"\\n")
    except OutputError as error:
        errors.append(str(error))
lines.close()
print(json.dumps(errors))
"""


def test_after_a_full_disk_whole_lines_go_on(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=tmp_path,  # not the checkout, whose package has no native module
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    errors = json.loads(done.stdout)
    assert len(errors) == 3
    assert errors[0] == (
        f"cannot write `{path}`: File too large. "
        "Free some space or choose another place; whole lines are kept."
    )
    assert indices(path) == [0, 1, 5]


def test_a_folder_that_goes_is_an_error_of_output(tmp_path: Path, result: MakeResult) -> None:
    (tmp_path / "file").touch()
    sink = JsonlSink(tmp_path / "file" / "out.jsonl", CLASSES, append=True)
    with pytest.raises(OutputError, match="choose another place"):
        sink.write(result(0))


# Tables


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_a_row_an_object(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.csv"
    with CsvSink(path, CLASSES) as sink:
        sink.write(result(3, source="door", pts_s=0.12, class_ids=(1, 0)))
        sink.write(result(4, class_ids=()))
        sink.write(result(5, path=Path("a, b.png")))
        assert not path.exists()
    table = rows(path)
    assert table[0] == {
        "source": "door",
        "frame": "3",
        "pts_s": "0.12",
        "path": "",
        "class": "dög",
        "class_id": "1",
        "score": "0.875",
        "x1": "1.23",
        "y1": "2.0",
        "x2": "30.5",
        "y2": "40.0",
        "track_id": "",
    }
    assert [row["frame"] for row in table] == ["3", "3", "5"]
    assert table[2]["path"] == "a, b.png"


@pytest.mark.parametrize(
    ("found", "columns", "last"),
    [
        (
            Classification(np.array([0.25, 0.75], np.float32)),
            ["class", "class_id", "score"],
            ["cat", "0", "0.25"],
        ),
        (
            Segmentation(np.array([[1, 1, 1, 0]], np.uint8)),
            ["class", "class_id", "share"],
            ["cat", "0", "0.25"],
        ),
    ],
)
def test_other_tasks(
    tmp_path: Path, result: MakeResult, found: Any, columns: list[str], last: list[str]
) -> None:
    with CsvSink(tmp_path / "out.tsv", CLASSES) as sink:
        sink.write(result(0, found=found))
    table = rows(tmp_path / "out.tsv", "\t")
    assert list(table[0])[4:] == columns
    assert list(table[1].values())[4:] == last


def test_several_models_are_no_table(tmp_path: Path, result: MakeResult) -> None:
    sink = CsvSink(tmp_path / "out.csv", CLASSES)
    both = ModelResults({"a": Detections.empty()}, {"a": CLASSES})
    with pytest.raises(InputError, match=r"out.csv`: a table holds the results of one model"):
        sink.write(result(0, found=both))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_row_an_event(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.csv"
    crossed = LineCrossed("gate", 7, 1, 0.12, (3.0, 4.5), "out")
    left = ZoneLeft("yard", 7, 1, 0.12, (3.0, 4.5), 2.5, is_lost=True)
    with CsvSink(path, CLASSES, is_of_events=True) as sink:
        sink.write(result(2))
        sink.write(replace(result(3, source="door", pts_s=0.12), events=(crossed, left)))
    of_both = {
        "source": "door",
        "frame": "3",
        "pts_s": "0.12",
        "path": "",
        "track_id": "7",
        "class": "dög",
        "class_id": "1",
        "at_s": "0.12",
        "x": "3.0",
        "y": "4.5",
    }
    assert rows(path) == [
        {
            **of_both,
            "event": "line_crossed",
            "name": "gate",
            "direction": "out",
            "dwell_s": "",
            "lost": "",
        },
        {
            **of_both,
            "event": "zone_left",
            "name": "yard",
            "direction": "",
            "dwell_s": "2.5",
            "lost": "True",
        },
    ]


def test_rows_are_added_under_one_header(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.csv"
    for index in range(3):
        with CsvSink(path, CLASSES, append=True) as sink:
            sink.write(result(index))
    assert [row["frame"] for row in rows(path)] == ["0", "1", "2"]


def test_every_rotated_table_has_a_header(tmp_path: Path, result: MakeResult) -> None:
    with CsvSink(tmp_path / "out.csv", CLASSES, rotate_bytes=100) as sink:
        for index in range(6):
            sink.write(result(index))
    files = sorted(tmp_path.iterdir(), key=lambda file: (file.stem == "out", file.stem))
    assert len(files) > 2
    assert [row["frame"] for file in files for row in rows(file)] == list("012345")


def test_a_table_with_other_columns_is_refused(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.csv"
    path.write_text("a,b\n1,2\n")
    sink = CsvSink(path, CLASSES, append=True)
    with pytest.raises(InputError, match=r"this one begins with `a,b`. Name another file"):
        sink.write(result(0))
    sink.discard()
    assert path.read_text() == "a,b\n1,2\n"


def test_a_discarded_table_leaves_the_old_one(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    sink = CsvSink(path, CLASSES)
    sink.write(result(0))
    sink.discard()
    sink.close()
    assert path.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208
