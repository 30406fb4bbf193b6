"""The threaded pipeline: order, bounds, errors, endings."""

import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import edgecv
from edgecv.errors import InputError, SourceError
from edgecv.stream.accounting import Counts, DropReason
from edgecv.stream.notices import Notices
from edgecv.stream.opening import open_pipeline, stream
from edgecv.stream.pipeline import CLOSE_S, STOP_S, Pipeline, Stage, StreamResult
from edgecv.stream.sources import Frame

Fake = Any  # the classes of conftest.py, which no test can import

TIMEOUT_S = 10
STAGES = ["decode", "fit", "infer", "postprocess", "deliver"]


def indices(results: list[StreamResult]) -> list[int]:
    return [result.frame.index for result in results]


def test_results_come_in_order_with_their_own_detections(
    fake_source: Fake, fake_model: Fake
) -> None:
    source = fake_source(50)
    results = list(stream(source, fake_model()))
    assert indices(results) == list(range(50))
    assert [result.detections.boxes_xyxy[0, 0] for result in results] == list(range(50))
    assert source.num_closed == 1


def test_an_empty_source_yields_nothing(fake_source: Fake, fake_model: Fake) -> None:
    assert list(stream(fake_source(0), fake_model())) == []


def test_the_package_is_the_public_one_liner(fake_source: Fake, fake_model: Fake) -> None:
    assert indices(list(edgecv.stream(fake_source(3), fake_model()))) == [0, 1, 2]
    package = sys.modules["edgecv.stream"]
    assert vars(edgecv)["stream"] is package
    assert package.sources is sys.modules["edgecv.stream.sources"]


@pytest.mark.parametrize("queue_size", [1, 3])
def test_a_file_runs_ahead_of_the_consumer_but_not_far(
    fake_source: Fake, fake_model: Fake, queue_size: int
) -> None:
    # Three queues and one fitted frame before the network; one frame each held by the reader, by
    # the network's thread, by the one that finishes, and by the consumer.
    limit = 3 * queue_size + 1 + 4
    num_begun, num_consumed, leads = 0, 0, []
    has_run_ahead = threading.Event()

    def begin(index: int) -> None:
        nonlocal num_begun
        num_begun = index + 1
        leads.append(num_begun - num_consumed)
        if leads[-1] == limit:
            has_run_ahead.set()

    with Pipeline(fake_source(60, before=begin), fake_model(), queue_size=queue_size) as pipeline:
        for result in pipeline.results():
            if result.frame.index == 0:
                assert has_run_ahead.wait(TIMEOUT_S)  # while this consumer does nothing
            num_consumed = result.frame.index + 1
    assert num_consumed == 60
    assert pipeline.num_dropped == 0
    # The consumer counts a moment after it made room, hence one more.
    assert limit <= max(leads) <= limit + 1


def test_stages_overlap(fake_source: Fake, fake_model: Fake) -> None:
    # Frame 0 leaves the network only when frame 1 has been fitted: impossible one by one.
    next_is_fitted = threading.Event()

    def before(stage: str, index: int) -> None:
        if stage == "fit" and index == 1:
            next_is_fitted.set()
        if stage == "infer" and index == 0:
            assert next_is_fitted.wait(TIMEOUT_S)

    assert len(list(stream(fake_source(4), fake_model(before)))) == 4


def test_break_ends_all_threads_and_closes_the_source(fake_source: Fake, fake_model: Fake) -> None:
    source = fake_source(None)
    for result in stream(source, fake_model()):
        if result.frame.index == 5:
            break
    assert source.num_closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("edgecv-")]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_in_the_consumer_ends_all_threads(
    fake_source: Fake, fake_model: Fake, kind: type[BaseException]
) -> None:
    source = fake_source(None)

    def consume() -> None:
        for result in stream(source, fake_model()):
            if result.frame.index == 3:
                raise kind

    with pytest.raises(kind):
        consume()
    assert source.num_closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("edgecv-")]


@pytest.mark.parametrize("place", ["decode", "fit", "infer", "postprocess"])
def test_an_error_comes_once_and_after_the_results_before_it(
    fake_source: Fake, fake_model: Fake, place: str
) -> None:
    def before(stage: str, index: int) -> None:
        if (stage, index) == (place, 20):
            raise RuntimeError(f"{place} broke")

    source = fake_source(100, before=lambda index: before("decode", index))
    results = stream(source, fake_model(before))
    received: list[StreamResult] = []
    with pytest.raises(RuntimeError, match=f"{place} broke"):
        received.extend(results)  # what came before the error stays
    assert indices(received) == list(range(20))
    assert next(results, None) is None
    assert source.num_closed == 1


def test_a_live_source_is_never_blocked_and_keeps_the_newest(
    fake_source: Fake, fake_model: Fake
) -> None:
    is_open = threading.Event()

    def before(stage: str, _index: int) -> None:
        if stage == "infer":
            assert is_open.wait(TIMEOUT_S)

    source = fake_source(200, is_live=True)
    with Pipeline(source, fake_model(before)) as pipeline:
        assert source.is_exhausted.wait(TIMEOUT_S)  # although the network stands still
        is_open.set()
        received = indices(list(pipeline.results()))
    assert received == sorted(set(received))
    assert received[-1] == 199
    assert len(received) + pipeline.num_dropped == 200
    # One in the network, one fitted before it, one waiting.
    assert len(received) <= 3


def test_stop_yields_what_is_complete_and_ends(fake_source: Fake, fake_model: Fake) -> None:
    source = fake_source(None)
    with Pipeline(source, fake_model()) as pipeline:
        results = pipeline.results()
        first = [next(results) for _ in range(10)]
        pipeline.stop()
        rest = list(results)
    received = indices([*first, *rest])
    assert received == list(range(len(received)))
    assert len(received) <= 10 + 4 + 1 + 1  # the last queue, and a frame in the last stage


def test_closing_a_pipeline_that_never_ran(fake_source: Fake, fake_model: Fake) -> None:
    source = fake_source(3)
    Pipeline(source, fake_model()).close()
    assert source.num_closed == 1


def test_a_source_is_opened_at_once(fake_model: Fake) -> None:
    with pytest.raises(SourceError, match="no such file"):
        stream("nowhere.mp4", fake_model())


def test_the_ledger_adds_up_without_gaps(fake_source: Fake, fake_model: Fake) -> None:
    begin_s = time.perf_counter()
    results = list(stream(fake_source(30), fake_model()))
    wall_ms = (time.perf_counter() - begin_s) * 1e3
    for result in results:
        ledger = result.ledger
        assert list(ledger.stages) == STAGES
        times = [value for t in ledger.stages.values() for value in (t.wait_ms, t.work_ms)]
        assert min(times) >= 0
        np.testing.assert_allclose(sum(times), ledger.total_ms, rtol=1e-9, atol=1e-6)
        assert 0 < ledger.latency_ms <= ledger.total_ms <= wall_ms


def test_waiting_and_working_are_told_apart(fake_source: Fake, fake_model: Fake) -> None:
    work_s = 0.02

    def before(stage: str, _index: int) -> None:
        if stage == "infer":
            time.sleep(work_s)

    last = list(stream(fake_source(12), fake_model(before)))[-1].ledger.stages
    assert last["infer"].work_ms >= work_s * 1e3
    assert last["fit"].wait_ms >= work_s * 1e3  # several frames queue before they are fitted
    assert last["infer"].wait_ms >= work_s * 1e3 / 2  # and one before the network
    assert last["postprocess"].wait_ms < last["infer"].wait_ms


def test_stages_behind_the_model_are_part_of_the_chain(fake_source: Fake, fake_model: Fake) -> None:
    seen: list[int] = []
    extra = Stage("extra", lambda job: seen.append(job.frame.index))
    with Pipeline(fake_source(9), fake_model(), stages=[extra]) as pipeline:
        results = list(pipeline.results())
    assert seen == indices(results) == list(range(9))
    assert list(results[0].ledger.stages) == [*STAGES[:4], "extra", "deliver"]


def test_many_sources_are_in_order_each_and_accounted_for(
    fake_source: Fake, fake_model: Fake
) -> None:
    sources = [fake_source(count) for count in (30, 0, 7)]
    sources[0].name, sources[1].name = "street", "nothing"
    received: dict[str, list[int]] = {}
    with Pipeline(sources, fake_model()) as pipeline:
        for result in pipeline.results():
            received.setdefault(result.source, []).append(result.frame.index)
    assert received == {"street": list(range(30)), "fake": list(range(7))}
    assert [source.num_closed for source in sources] == [1, 1, 1]
    status = pipeline.status()
    assert {name: each.counts for name, each in status.items()} == {
        "street": Counts(30, 30),
        "nothing": Counts(),
        "fake": Counts(7, 7),
    }
    assert status["street"].latency is not None
    assert status["street"].latency.count == 30
    assert status["nothing"].latency is None
    assert {each.policy for each in status.values()} == {"every"}
    assert all(each.is_ended and each.error is None for each in status.values())


def test_one_of_several_that_breaks_off_leaves_the_others_alone(
    fake_source: Fake, fake_model: Fake
) -> None:
    def before(index: int) -> None:
        if index == 3:
            raise SourceError("unplugged.")

    broken, whole = fake_source(None, before=before), fake_source(40)
    broken.name = "yard"
    notices = Notices()
    with Pipeline([broken, whole], fake_model(), notices=notices) as pipeline:
        results = list(pipeline.results())
    assert sum(result.source == "yard" for result in results) == 3
    assert sum(result.source == "fake" for result in results) == 40
    assert [str(error) for error in pipeline.errors().values()] == ["unplugged."]
    assert pipeline.status()["yard"].error == "unplugged."
    (notice,) = notices.recent()
    assert (notice.origin, notice.kind) == ("yard", "ended")
    assert notice.text == "unplugged. The others go on."


def test_the_one_liner_raises_what_broke_off_when_all_have_ended(
    fake_source: Fake, fake_model: Fake
) -> None:
    def before(index: int) -> None:
        if index == 3:
            raise OSError("unplugged")

    received: list[StreamResult] = []
    with pytest.raises(SourceError, match="fake \\(1\\): unplugged"):
        received.extend(stream([fake_source(9, before=before), fake_source(20)], fake_model()))
    assert len(received) == 23


SOURCES = st.lists(
    st.tuples(
        st.integers(0, 12),  # frames
        st.booleans(),  # live
        st.sampled_from([None, "latest", "every", "rate=5", "rate=100"]),
        st.integers(0, 14),  # the frame at which it breaks off, if it comes that far
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(made=SOURCES, max_batch=st.integers(1, 4), stop_after=st.integers(0, 30))
def test_every_frame_is_accounted_for_whatever_happens(
    made: list[tuple[int, bool, str | None, int]], max_batch: int, stop_after: int
) -> None:
    """The classes are those of conftest.py; a fixture would live through all the examples."""
    from tests.stream.conftest import FakeModel, FakeSource

    class Counted(FakeSource):
        num_given = 0

        def __iter__(self) -> Iterator[Any]:
            for frame in super().__iter__():
                self.num_given += 1
                yield frame

    def breaking_at(last: int) -> Callable[[int], None]:
        def before(index: int) -> None:
            if index == last:
                raise SourceError("gone")

        return before

    model = FakeModel()
    model.max_batch = 4  # type: ignore[misc]
    sources = [Counted(count, is_live=live, before=breaking_at(at)) for count, live, _, at in made]
    policies = [policy for *_, policy, _ in made]
    received: dict[str, list[int]] = {}
    pipeline = Pipeline(sources, model, policy=policies, max_batch=max_batch)  # type: ignore[arg-type]
    with pipeline, suppress(SourceError):
        for num_taken, result in enumerate(pipeline.results()):
            received.setdefault(result.source, []).append(result.frame.index)
            for account in pipeline.accounts.values():
                counts = account.counts()
                total = counts.delivered + counts.num_dropped + counts.in_flight
                assert counts.decoded == total
            if num_taken == stop_after:
                pipeline.stop()
    for source, (name, status) in zip(sources, pipeline.status().items(), strict=True):
        counts, indices_of = status.counts, received.get(name, [])
        assert pipeline.is_stopped or DropReason.STOPPED not in counts.dropped
        assert counts.in_flight == 0
        assert counts.decoded == source.num_given == counts.delivered + counts.num_dropped
        assert counts.delivered == len(indices_of)
        assert indices_of == sorted(set(indices_of))
        dropped = {drop.index for drop in pipeline.accounts[name].recent_drops()}
        assert sorted({*indices_of, *dropped}) == list(range(source.num_given))


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
        assert indices([next(results), next(results)]) == [0, 1]
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget_ms": -1.0}, "`budget_ms` must be at least 0, got -1"),
        ({"budget_ms": float("nan")}, "`budget_ms` must be at least 0, got nan"),
        ({"max_batch": 0}, "`max_batch` must be at least 1, got 0"),
        ({"policy": "fast"}, "`policy` must be latest, every or rate=N"),
        ({"policy": ["every", "every"]}, "one for each of the 1, got 2"),
    ],
)
def test_refused_options_leave_nothing_open(
    fake_source: Fake, fake_model: Fake, options: dict[str, Any], said: str
) -> None:
    source = fake_source(3)
    with pytest.raises(InputError, match=said):
        stream(source, fake_model(), **options)
    assert source.num_closed == 1


def test_no_source_is_refused(fake_model: Fake) -> None:
    with pytest.raises(InputError, match="the list of sources is empty"):
        Pipeline([], fake_model())


def test_a_list_that_holds_no_source_for_one_closes_the_others(
    fake_source: Fake, fake_model: Fake
) -> None:
    source = fake_source(3)
    with pytest.raises(SourceError, match="no such file"):
        stream([source, "nowhere.mp4"], fake_model())
    assert source.num_closed == 1


def test_a_list_of_pictures_is_one_source(fake_model: Fake, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "ba"]
    for path in paths:
        Image.new("RGB", (64, 48)).save(path)
    results = list(stream([str(path) for path in paths], fake_model()))
    assert [result.frame.path for result in results] == paths
    assert {result.source for result in results} == {"2 images"}
    several = list(stream([paths[0], str(tmp_path)], fake_model()))
    assert {result.source for result in several} == {str(paths[0]), str(tmp_path)}


def test_pytorch_comes_with_a_checkpoint_alone(tmp_path: Path) -> None:
    """Importing it takes seconds, and a device has none."""
    code = (
        "import sys, edgecv.runtime.model, edgecv.runtime.frames, edgecv.runtime.transfers, "
        "edgecv.stream.run; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
