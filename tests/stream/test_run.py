"""Whole runs: summary, sinks, drawing, CTRL-C."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgecv.closing import Closing
from edgecv.errors import OutputError, SourceError
from edgecv.frame_formats import FrameFormat, Plane
from edgecv.stream.notices import Notices
from edgecv.stream.run import run_stream
from edgecv.stream.sinks import JsonlSink, Sink, VideoSink
from edgecv.stream.sources import Frame, Health, open_source
from edgecv.stream.sources.decoding import VideoReader
from edgecv.stream.sources.health import HealthRecord

Fake = Any  # the classes of conftest.py, which no test can import

STAGES = ["decode", "fit", "infer", "postprocess", "deliver"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_summary_counts(fake_source: Fake, fake_model: Fake) -> None:
    seen: list[int] = []
    source = fake_source(9)
    summary = run_stream(
        source, fake_model(), on_result=lambda result: seen.append(result.frame.index)
    )
    assert seen == list(range(9))
    assert (summary.num_frames, summary.num_dropped, summary.is_interrupted) == (9, 0, False)
    assert summary.num_found == {"even": 5, "odd": 4}
    assert summary.num_by_backend == {"fake cpu": 9}
    assert list(summary.stages) == STAGES
    assert summary.fps == pytest.approx(9 / summary.wall_s)
    assert source.num_closed == 1
    plain = json.loads(json.dumps(summary.to_plain()))
    assert plain["frames"] == 9
    assert plain["frames_by_backend"] == {"fake cpu": 9}
    assert plain["stages"]["infer"]["work"]["count"] == 9
    assert plain["latency"]["count"] == 9


def test_a_run_without_frames(fake_source: Fake, fake_model: Fake) -> None:
    summary = run_stream(fake_source(0), fake_model())
    assert (summary.num_frames, summary.fps, summary.latency) == (0, 0.0, None)
    assert summary.to_plain()["stages"] == {}


def test_stages_are_present_when_needed(
    fake_source: Fake, fake_model: Fake, tmp_path: Path
) -> None:
    sink = JsonlSink(tmp_path / "a.jsonl", fake_model.spec.classes)
    written = run_stream(fake_source(3), fake_model(), sinks=[sink], draw=True)
    assert list(written.stages) == [*STAGES[:4], "draw", "encode", "deliver"]
    drawn = run_stream(fake_source(3), fake_model(), draw=True)
    assert list(drawn.stages) == [*STAGES[:4], "draw", "deliver"]


def test_from_a_video_to_a_video_and_lines(
    fake_model: Fake, tmp_path: Path, video_writer: Callable[..., Path]
) -> None:
    video = video_writer(tmp_path / "in.mp4", 12)
    sinks: list[Sink] = [
        VideoSink(tmp_path / "o.mp4", 25),
        JsonlSink(tmp_path / "o.jsonl", ("even", "odd")),
    ]
    summary = run_stream(video, fake_model(), sinks=sinks, draw=True)
    assert summary.num_frames == 12
    with open_source(tmp_path / "o.mp4") as source:
        times = [frame.pts_s for frame in source]
    assert times == pytest.approx([index / 25 for index in range(12)])
    assert [line["frame"] for line in lines(tmp_path / "o.jsonl")] == list(range(12))


def test_the_callback_sees_the_drawing(fake_source: Fake, fake_model: Fake) -> None:
    is_coloured: dict[bool, bool] = {}
    for draw in (False, True):

        def look(result: Any, draw: bool = draw) -> None:  # noqa: FBT001
            pixels = result.frame.to_array()
            is_coloured[draw] = bool((pixels[:, :, 0] != pixels[:, :, 2]).any())

        run_stream(fake_source(1), fake_model(), draw=draw, on_result=look)
    assert is_coloured == {False: False, True: True}


class LockStep(Closing):
    """Decodes a frame only when the one before it was delivered, and copies what it decoded.

    So the decoder has not yet predicted the next frame when this one is drawn into.
    """

    name, is_live, fps = "lock step", False, 25.0

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path))
        # A camera's decoder, which holds back no frame.
        self._reader = VideoReader(
            self._container, "video", HealthRecord("lock step"), is_live=True
        )
        self._is_delivered = threading.Semaphore()
        self.num_frames, self.size_hw, self.health = None, self._reader.size_hw, Health()
        self.planes: list[list[Plane]] = []

    def __iter__(self) -> Iterator[Frame]:
        pictures = (
            picture
            for packet in self._reader.packets()
            for picture in self._reader.pictures(packet)
        )
        while self._is_delivered.acquire(timeout=10):
            picture = next(pictures, None)
            if picture is None:
                return
            frame = self._reader.frame(picture, index=len(self.planes), captured_s=0.0)
            assert frame.format == "yuv420p"
            self.planes.append([plane.copy() for plane in frame.pixels])
            yield frame

    def delivered(self, _: object) -> None:
        self._is_delivered.release()

    def close(self) -> None:
        self._container.close()


def test_drawing_leaves_the_decoder_its_pictures(
    fake_model: Fake, tmp_path: Path, video_writer: Callable[..., Path]
) -> None:
    """A decoder predicts frames from those before: a box drawn into one would stay in the next."""
    video = video_writer(tmp_path / "in.mp4", 20, tune="zerolatency")
    decoded, delivered = {}, {}
    for draw in (False, True):
        source = LockStep(video)
        pixels: list[Any] = []

        def take(result: Any, pixels: list[Any] = pixels, source: LockStep = source) -> None:
            pixels.append(result.frame.pixels)
            source.delivered(result)

        run_stream(source, fake_model(), draw=draw, on_result=take)
        decoded[draw], delivered[draw] = source.planes, pixels
    assert len(decoded[False]) == len(decoded[True]) == 20
    for drawn, plain, left, right in zip(
        delivered[True], delivered[False], decoded[True], decoded[False], strict=True
    ):
        assert (drawn[0] != plain[0]).any()
        for with_drawing, without, kept in zip(left, right, plain, strict=True):
            np.testing.assert_array_equal(with_drawing, without)
            np.testing.assert_array_equal(kept, without)


@pytest.mark.parametrize(
    ("name", "shape"), [("yuyv422", (48, 64, 2)), ("bayer_rggb8", (48, 64)), ("gray8", (48, 64))]
)
def test_any_format_can_be_drawn_in(
    fake_source: Fake, fake_model: Fake, name: FrameFormat, shape: tuple[int, ...]
) -> None:
    pixels = np.full(shape, 128, np.uint8)
    pixels.flags.writeable = False

    class OneFrame(fake_source):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, pixels, name)

    results: list[Any] = []
    run_stream(OneFrame(1), fake_model(), draw=True, on_result=results.append)
    (result,) = results
    assert result.frame.size_hw == (48, 64)
    assert len(np.unique(result.frame.to_array())) > 1
    assert (pixels == 128).all()


def test_the_callback_can_end_the_run(fake_source: Fake, fake_model: Fake, tmp_path: Path) -> None:
    source = fake_source(None)
    sink = JsonlSink(tmp_path / "o.jsonl", ("even", "odd"))
    summary = run_stream(
        source, fake_model(), sinks=[sink], on_result=lambda result: result.frame.index < 4
    )
    assert summary.is_interrupted
    assert summary.num_frames >= 5
    # What the sink was given is what the summary counts.
    assert [line["frame"] for line in lines(sink._path)] == list(range(summary.num_frames))
    assert source.num_closed == 1


def test_a_source_that_breaks_off_leaves_what_it_gave(
    fake_source: Fake, fake_model: Fake, tmp_path: Path
) -> None:
    def before(index: int) -> None:
        if index == 6:
            raise SourceError("unplugged")

    sink = JsonlSink(tmp_path / "o.jsonl", ("even", "odd"))
    with pytest.raises(SourceError, match="unplugged"):
        run_stream(fake_source(None, before=before), fake_model(), sinks=[sink])
    assert [line["frame"] for line in lines(tmp_path / "o.jsonl")] == list(range(6))


def test_a_sink_that_fails_stops_neither_the_stream_nor_the_others(
    fake_source: Fake, fake_model: Fake, tmp_path: Path
) -> None:
    class Failing(JsonlSink):
        def write(self, result: Any) -> None:
            if result.frame.index == 3:
                raise OutputError("the disk is full")
            super().write(result)

    sinks: list[Sink] = [
        Failing(tmp_path / "bad.jsonl", ("even", "odd")),
        JsonlSink(tmp_path / "good.jsonl", ("even", "odd")),
    ]
    notices = Notices()
    summary = run_stream(fake_source(12), fake_model(), sinks=sinks, notices=notices)
    assert summary.num_frames == 12
    assert [path.name for path in tmp_path.iterdir()] == ["good.jsonl"]
    assert [line["frame"] for line in lines(tmp_path / "good.jsonl")] == list(range(12))
    bad, good = summary.sinks
    assert (bad.has_failed, bad.num_written, bad.num_dropped) == (True, 3, {"failed": 9})
    assert (good.has_failed, good.num_written) == (False, 12)
    assert summary.failures == [
        f"`{bad.name}` is incomplete, 9 results are missing: the disk is full"
    ]
    assert [notice.kind for notice in notices.recent()] == ["sink"]
    plain = json.loads(json.dumps(summary.to_plain()))["sinks"]
    assert [sink["written"] for sink in plain] == [3, 12]


def test_a_summary_tells_of_each_source(fake_source: Fake, fake_model: Fake) -> None:
    def before(index: int) -> None:
        if index == 3:
            raise SourceError("unplugged.")

    door, yard = fake_source(8), fake_source(None, before=before)
    door.name, yard.name = "door", "yard"
    summary = run_stream([door, yard], fake_model())
    assert summary.num_frames == 11
    assert summary.errors == {"yard": "unplugged."}
    plain = json.loads(json.dumps(summary.to_plain()))["sources"]
    assert plain["door"]["delivered"] == plain["door"]["decoded"] == 8
    assert plain["door"]["latency"]["count"] == 8
    assert plain["yard"] == plain["yard"] | {"decoded": 3, "dropped": {}, "error": "unplugged."}


def test_a_summary_holds_what_the_reader_met(fake_source: Fake, fake_model: Fake) -> None:
    summary = run_stream(fake_source(2), fake_model())
    health = summary.sources["fake"].health
    assert (health["num_frames"], health["num_corrupt"], health["num_reconnects"]) == (2, 0, 0)


def test_a_run_can_be_watched_from_elsewhere(fake_source: Fake, fake_model: Fake) -> None:
    watched: list[Any] = []
    run_stream(fake_source(5), fake_model(), on_start=lambda *given: watched.append(given))
    ((pipeline, reports),) = watched
    assert reports() == []
    assert pipeline.status()["fake"].counts.delivered == 5


def test_a_run_is_traced(fake_source: Fake, fake_model: Fake, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    run_stream([fake_source(4), fake_source(3)], fake_model(), trace=path, policy="rate=12.5")
    events = json.loads(path.read_text())
    delivered = [event for event in events if event["ph"] == "X" and event["name"] == "deliver"]
    dropped = [event["name"] for event in events if event["ph"] == "i"]
    assert len(delivered) == 4  # of 25 frames a second every other one
    assert dropped == ["rate"] * 3


def test_signal_handlers_are_put_back(fake_source: Fake, fake_model: Fake) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run_stream(fake_source(2), fake_model())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


ENDLESS_RUN = """
import importlib.util, json, sys, threading
from pathlib import Path
from edgecv.stream.run import run_stream
from edgecv.stream.sinks import JsonlSink, VideoSink

spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
folder = Path(sys.argv[2])

def on_result(result):
    if result.frame.index == 30:
        print("running", flush=True)

summary = run_stream(
    fakes.FakeSource(None),
    fakes.FakeModel(),
    sinks=[VideoSink(folder / "o.mp4", 25), JsonlSink(folder / "o.jsonl", ("even", "odd"))],
    draw=True,
    on_result=on_result,
)
plain = summary.to_plain()
plain["threads"] = [thread.name for thread in threading.enumerate()]
print(json.dumps(plain))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_files_that_play(tmp_path: Path, number: signal.Signals) -> None:
    fakes = str(Path(__file__).with_name("conftest.py"))
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS_RUN, fakes, str(tmp_path)],
        cwd=tmp_path,  # not the checkout, whose package has no native module
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        child.send_signal(number)
        output, errors = child.communicate(timeout=30)
    assert child.returncode == 0, errors
    assert errors == ""
    summary = json.loads(output)
    assert summary["interrupted"] is True
    assert summary["frames"] > 30
    assert summary["threads"] == ["MainThread"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.jsonl", "o.mp4"]
    expected = list(range(summary["frames"]))
    assert [line["frame"] for line in lines(tmp_path / "o.jsonl")] == expected
    with open_source(tmp_path / "o.mp4") as source:
        assert [frame.index for frame in source] == expected


HUNG_RUN = """
import importlib.util, sys, time
from edgecv.stream.run import run_stream

spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)

def before(stage, index):
    if (stage, index) == (sys.argv[2], 20):
        print("running", flush=True)
        time.sleep(3600)

source = fakes.FakeSource(None, before=lambda index: before("decode", index))
summary = run_stream(source, fakes.FakeModel(before))
counts = summary.sources["fake"].counts
print(summary.is_interrupted, counts.decoded == counts.delivered + counts.num_dropped)
"""


@pytest.mark.parametrize("stage", ["decode", "infer", "postprocess"])
def test_a_process_whose_stage_hangs_ends_on_sigterm(tmp_path: Path, stage: str) -> None:
    fakes = str(Path(__file__).with_name("conftest.py"))
    with subprocess.Popen(
        [sys.executable, "-c", HUNG_RUN, fakes, stage],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        child.send_signal(signal.SIGTERM)
        output, errors = child.communicate(timeout=30)  # the stage would take an hour
    assert (child.returncode, errors) == (0, "")
    assert output == "True True\n"
