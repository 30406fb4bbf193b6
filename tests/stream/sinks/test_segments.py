"""Videos that play whatever happens: SIGKILL, a full disk, another size, a new run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from edgecv.errors import InputError
from edgecv.stream.sinks import SegmentedVideoSink

MakeResult = Callable[..., Any]

PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from edgecv.errors import OutputError
from edgecv.results import Detections
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks import SegmentedVideoSink
from edgecv.stream.sources import Frame

path, limit = Path(sys.argv[1]), int(sys.argv[2])
sink = SegmentedVideoSink(path, 25)
rng = np.random.default_rng(0)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for index in range(130):
    pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
    try:
        sink.write(
            StreamResult(Frame(index, pixels, "bgr24", index / 25), Detections.empty(), Ledger(0))
        )
    except OutputError as error:
        print("failed", index, error, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
if limit:
    sink.close()
print("written", flush=True)
sys.stdin.read()
"""


def started(path: Path, limit: int = 0) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), str(limit)],
        cwd=path.parent,  # not the checkout, whose package has no native module
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time or 0.0 for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
def test_a_file_survives_sigkill(tmp_path: Path, suffix: str) -> None:
    with started(tmp_path / f"out{suffix}") as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "written\n"
        program.send_signal(signal.SIGKILL)
    assert program.returncode == -signal.SIGKILL
    (path,) = tmp_path.iterdir()
    shown = times(path)
    shown = [time - shown[0] for time in shown]  # MPEG-TS does not begin at nought
    assert shown == pytest.approx([index / 25 for index in range(len(shown))], abs=2e-3)
    assert len(shown) >= 130 - 75  # a fragment, what the encoder holds back, and a margin


def test_a_full_disk_ends_a_segment_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with started(tmp_path / "out.mp4", 60_000) as program:
        output, _ = program.communicate()
    told = output.splitlines()
    assert len(told) == 2
    assert "File too large. Free some space or choose another place; it plays up to here" in told[0]
    first, second = sorted(tmp_path.iterdir(), key=lambda path: path.stem)
    index = int(told[0].split()[1])
    assert 0 < len(times(first)) <= index
    assert len(times(second)) == 130 - index - 1


def written(sink: SegmentedVideoSink, results: list[Any]) -> list[int]:
    with sink:
        for result in results:
            sink.write(result)
    return [len(times(path)) for path in sink.paths]


def test_segments_by_time_hold_every_frame(tmp_path: Path, result: MakeResult) -> None:
    sink = SegmentedVideoSink(tmp_path / "out.mp4", 25, segment_s=0.4)
    results = [result(index, pts_s=index / 25) for index in range(28)]
    assert written(sink, results) == [11, 11, 6]
    assert sink.name == str(tmp_path / "out.mp4")
    assert all(path.name.startswith("out_2") for path in sink.paths)
    assert sorted(tmp_path.iterdir()) == sorted(sink.paths)


def test_segments_by_size_hold_every_frame(tmp_path: Path, result: MakeResult) -> None:
    sink = SegmentedVideoSink(tmp_path / "out.mkv", 25, segment_bytes=1)
    counts = written(sink, [result(index) for index in range(60)])
    assert sum(counts) == 60
    assert len(counts) >= 2


def test_a_new_size_begins_a_new_segment(tmp_path: Path, result: MakeResult) -> None:
    sink = SegmentedVideoSink(tmp_path / "out.mp4", 25)
    results = [result(0), result(1), result(2, size_hw=(24, 32))]
    assert written(sink, results) == [2, 1]


def test_only_so_many_are_kept_also_of_earlier_runs(tmp_path: Path, result: MakeResult) -> None:
    for name in ("out_20200101T000000Z.mp4", "out_20200101T000000Z.mkv", "other.mp4"):
        (tmp_path / name).touch()
    sink = SegmentedVideoSink(tmp_path / "out.mp4", 25, segment_s=0.04, keep=2)
    assert written(sink, [result(index) for index in range(10)]) == [2, 2]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out_20200101T000000Z.mkv", "other.mp4", *(path.name for path in sink.paths)}


def test_what_was_recorded_stays(tmp_path: Path, result: MakeResult) -> None:
    sink = SegmentedVideoSink(tmp_path / "out.mp4", 25)
    sink.write(result(0))
    sink.discard()
    sink.close()
    assert [len(times(path)) for path in sink.paths] == [1]


def test_nothing_given_nothing_written(tmp_path: Path) -> None:
    SegmentedVideoSink(tmp_path / "out.mp4", 25).close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.mp4", {"segment_s": 0}, "`segment_s` must be greater than 0, got 0. Leave it out"),
        ("out.mp4", {"segment_bytes": -1}, "`segment_bytes` must be greater than 0, got -1"),
        ("out.mp4", {"keep": 0}, "`keep` must be greater than 0, got 0"),
        ("out.avi", {}, r"must end in one of .mp4, .*got `.*out.avi`. Choose a name"),
    ],
)
def test_refused(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SegmentedVideoSink(tmp_path / name, 25, **options)
