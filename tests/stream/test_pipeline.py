"""The threaded pipeline: order, bounds, errors, endings."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgecv
from edgecv.errors import InputError, SourceError
from edgecv.stream.opening import stream
from edgecv.stream.pipeline import Pipeline, Stage, StreamResult

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


def test_results_of_a_pipeline_that_was_not_entered_are_refused(
    fake_source: Fake, fake_model: Fake
) -> None:
    pipeline = Pipeline(fake_source(1), fake_model())
    with pytest.raises(RuntimeError, match="with pipeline:"):
        next(pipeline.results())
    with pipeline:
        assert len(list(pipeline.results())) == 1


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
