"""Pipelines over time: stages that hang or fail, what a start leaves behind, and memory."""

import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecv.stream.accounting import Counts, DropReason
from edgecv.stream.notices import Notices
from edgecv.stream.opening import open_pipeline
from edgecv.stream.pipeline import CLOSE_S, STOP_S, Pipeline
from edgecv.stream.sources import Frame

Fake = Any  # the classes of conftest.py, which no test can import

TIMEOUT_S = 10


def test_a_stage_that_hangs_is_said_and_left_behind(fake_source: Fake, fake_model: Fake) -> None:
    may_go, is_said = threading.Event(), threading.Event()

    def before(stage: str, index: int) -> None:
        if stage == "infer" and index == 2:
            may_go.wait(TIMEOUT_S)

    notices = Notices()
    notices.listen(lambda _: is_said.set())
    source = fake_source(None)
    pipeline = Pipeline(source, fake_model(before), notices=notices, stall_s=0.05)
    with pipeline:
        results = pipeline.results()
        assert [next(results).frame.index for _ in range(2)] == [0, 1]
        assert is_said.wait(TIMEOUT_S)
        begin_s = time.perf_counter()
        pipeline.stop()
        assert list(results) == []
    stopped_s = time.perf_counter() - begin_s
    hung = [thread for thread in threading.enumerate() if thread.name == "edgecv-infer"]
    may_go.set()
    for thread in hung:
        thread.join(TIMEOUT_S)
    assert stopped_s < STOP_S + CLOSE_S + 5  # of a loaded machine; the stage would take ten
    said = [notice.text for notice in notices.recent() if notice.origin == "infer"]
    assert said[0].startswith("`infer` has worked on frame 2 of fake for ")
    assert said[-1].startswith("infer is left behind: `infer` has worked on frame 2")
    (counts,) = (account.counts() for account in pipeline.accounts.values())
    assert counts.in_flight == 0
    assert counts.dropped.keys() == {DropReason.STOPPED}
    assert source.num_closed == 1


def test_a_source_that_hangs_is_closed_by_its_own_thread(
    fake_source: Fake, fake_model: Fake
) -> None:
    may_go = threading.Event()

    def before(index: int) -> None:
        if index == 1:
            may_go.wait(TIMEOUT_S)

    source = fake_source(None, before=before)
    with Pipeline(source, fake_model()) as pipeline:
        next(pipeline.results())
    assert source.num_closed == 0  # it is still being read
    (reader,) = (thread for thread in threading.enumerate() if thread.name == "edgecv-read fake")
    may_go.set()
    reader.join(TIMEOUT_S)
    assert source.num_closed == 1
    (account,) = pipeline.accounts.values()
    assert account.counts() == Counts(1, 1)  # what comes too late is nobody's


def test_a_failing_stage_marks_the_frame_it_failed_on(fake_source: Fake, fake_model: Fake) -> None:
    def before(stage: str, index: int) -> None:
        if (stage, index) == ("postprocess", 4):
            raise ZeroDivisionError

    pipeline = Pipeline(fake_source(20), fake_model(before))
    with pipeline, pytest.raises(ZeroDivisionError):
        list(pipeline.results())
    (account,) = pipeline.accounts.values()
    drops = {drop.index: (drop.reason, drop.stage) for drop in account.recent_drops()}
    assert drops.pop(4) == (DropReason.FAILED, "postprocess")
    assert {reason for reason, _ in drops.values()} <= {DropReason.STOPPED}
    counts = account.counts()
    assert counts.delivered == 4
    assert counts.decoded == 4 + counts.num_dropped


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("way", ["end", "break", "stop"])
def test_a_hundred_starts_and_stops_leave_nothing(
    fake_source: Fake, fake_model: Fake, tmp_path: Path, video_writer: Any, way: str
) -> None:
    video = video_writer(tmp_path / "v.mp4", 6)
    before: tuple[int, int] | None = None
    for turn in range(34):  # three ways make a hundred
        given: list[Any] = [str(video), fake_source(6, is_live=True), fake_source(4)]
        with open_pipeline(given, fake_model(), trace=tmp_path / "t.json") as pipeline:
            for result in pipeline.results():
                if way == "stop" and result.frame.index == 1:
                    pipeline.stop()
                if way == "break" and result.frame.index == 1:
                    break
        now = threading.active_count(), open_descriptors()
        if turn == 1:  # what is made once is there
            before = now
    assert now == before


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize("is_live", [True, False])
def test_a_closed_pipeline_needs_no_cycle_collector(
    fake_source: Fake, fake_model: Fake, *, is_live: bool, is_begun: bool
) -> None:
    sources = [fake_source(None, is_live=is_live), fake_source(None, is_live=is_live)]
    pipeline = Pipeline(sources, fake_model())
    if is_begun:
        with pipeline:
            next(pipeline.results())
    pipeline.close()
    alive = [weakref.ref(pipeline), *map(weakref.ref, sources)]
    alive += [weakref.ref(account) for account in pipeline.accounts.values()]
    del pipeline, sources
    assert [ref() for ref in alive] == [None] * 5


def test_memory_stays_flat(fake_source: Fake, fake_model: Fake) -> None:
    """Of frames that are through, dropped or delivered, nothing is kept."""
    alive: list[weakref.ref[Frame]] = []

    class Watched(fake_source):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                alive.append(weakref.ref(frame))
                yield frame

    def num_alive() -> int:
        alive[:] = [each for each in list(alive) if each() is not None]
        return len(alive)

    sources = [Watched(3000, is_live=live, size_hw=(4, 4)) for live in (True, False)]
    most, at_first, at_last = 0, 0, 0
    tracemalloc.start()
    try:
        with Pipeline(sources, fake_model(), policy=["rate=20", "every"]) as pipeline:
            for number, result in enumerate(pipeline.results()):
                if result.frame.index % 100 == 0:
                    most = max(most, num_alive())
                if number == 500:
                    at_first, _ = tracemalloc.get_traced_memory()
                if result.source == "fake (2)" and result.frame.index == 2900:
                    at_last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert num_alive() <= 1  # the last one is in this function's hand
    assert most < 40
    assert at_last - at_first < 100_000
