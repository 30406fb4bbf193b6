"""Batches: when they leave, who is in them, and that each frame gets its own outputs."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.frame_formats import FrameFormat
from edgecv.placement import Placement
from edgecv.runtime.side_by_side import SideBySide
from edgecv.spec import InputSpec, ProposalsSpec
from edgecv.stream.batching import Batch, Batcher, Buffers
from edgecv.stream.inlet import Intake
from edgecv.stream.pipeline import Pipeline, StreamResult

Fake = Any  # the classes of conftest.py, which no test can import

TIMEOUT_S = 10


@pytest.fixture
def batch_model(fake_model: Fake) -> Callable[..., Any]:
    """A fake model of which each run's frames are kept in `runs`."""

    class BatchModel(fake_model):  # type: ignore[misc]
        max_batch = 16

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.runs: list[list[int]] = []

        def infer(self, batch: Any) -> Mapping[str, Any]:
            self.runs.append([int(image[0, 0, 0]) for image in batch])
            outputs: Mapping[str, Any] = super().infer(batch)
            return outputs

    return BatchModel


def own_results(results: list[StreamResult]) -> bool:
    """Whether each result is that of its frame: the box's left edge is the frame's pixel."""
    return all(
        result.detections.boxes_xyxy[0, 0] == result.frame.pixels[0, 0, 0]  # type: ignore[call-overload]
        for result in results
    )


def test_a_batch_that_is_full_leaves(fake_source: Fake, batch_model: Fake) -> None:
    model = batch_model()
    # An hour would pass if it waited for its budget.
    with Pipeline(fake_source(12), model, max_batch=4, budget_ms=3.6e6) as pipeline:
        results = list(pipeline.results())
    assert model.runs == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [result.frame.index for result in results] == list(range(12))
    assert own_results(results)


def test_the_rest_leaves_when_no_more_can_come(fake_source: Fake, batch_model: Fake) -> None:
    model = batch_model()
    with Pipeline(fake_source(5), model, max_batch=4, budget_ms=3.6e6) as pipeline:
        assert len(list(pipeline.results())) == 5
    assert model.runs == [[0, 1, 2, 3], [4]]


def test_a_dead_camera_holds_the_others_for_no_longer_than_the_budget(
    fake_source: Fake, batch_model: Fake
) -> None:
    may_end = threading.Event()
    dead = fake_source(1, is_live=True, before=lambda _: may_end.wait(TIMEOUT_S))
    alive = fake_source(6, is_live=False)
    with Pipeline([dead, alive], batch_model(), budget_ms=5, max_batch=8) as pipeline:
        results = pipeline.results()
        received = [next(results) for _ in range(6)]  # while the other gives nothing
        may_end.set()
        rest = list(results)
    assert [result.source for result in received] == ["fake (2)"] * 6
    assert [result.source for result in rest] == ["fake (1)"]


def test_frames_gather_while_the_network_is_busy(fake_source: Fake, batch_model: Fake) -> None:
    """Without any budget the first goes alone; those that come meanwhile go together."""
    num_fitted = 0
    are_fitted = threading.Event()

    def before(stage: str, index: int) -> None:
        nonlocal num_fitted
        if stage == "fit":
            num_fitted += 1
            if num_fitted == 5:
                are_fitted.set()
        if stage == "infer" and index == 0:
            assert are_fitted.wait(TIMEOUT_S)

    model = batch_model(before)
    with Pipeline(fake_source(5), model, max_batch=4) as pipeline:
        assert len(list(pipeline.results())) == 5
    assert model.runs[0] == [0]
    assert model.runs[1] == [1, 2, 3, 4]


def test_one_frame_of_each_source_by_default(fake_source: Fake, batch_model: Fake) -> None:
    model = batch_model()
    sources = [fake_source(10) for _ in range(3)]
    with Pipeline(sources, model, budget_ms=3.6e6) as pipeline:  # which asks for company
        results = list(pipeline.results())
    assert {len(run) for run in model.runs} == {3}
    for source in ("fake (1)", "fake (2)", "fake (3)"):
        of_source = [result.frame.index for result in results if result.source == source]
        assert of_source == list(range(10))
    assert own_results(results)


@pytest.mark.parametrize("prefers", [False, True])
def test_unasked_frames_share_a_batch_where_that_is_faster(
    fake_source: Fake,
    batch_model: Fake,
    prefers: bool,  # noqa: FBT001
) -> None:
    num_fitted = 0
    are_fitted = threading.Event()

    def before(stage: str, _index: int) -> None:
        nonlocal num_fitted
        if stage == "fit":
            num_fitted += 1
            if num_fitted == (3 if prefers else 2):  # all that can be while the network is busy
                are_fitted.set()
        if stage == "infer":
            assert are_fitted.wait(TIMEOUT_S)

    model = batch_model(before)
    model.prefers_batches = prefers
    sources = [fake_source(8) for _ in range(2)]
    with Pipeline(sources, model) as pipeline:
        assert len(list(pipeline.results())) == 16
    assert max(len(run) for run in model.runs) == (2 if prefers else 1)


def test_a_model_that_takes_one_gets_one(fake_source: Fake, batch_model: Fake) -> None:
    model = batch_model()
    model.max_batch = 1
    with Pipeline([fake_source(5), fake_source(5)], model, max_batch=8) as pipeline:
        assert len(list(pipeline.results())) == 10
    assert {len(run) for run in model.runs} == {1}


def test_a_failure_comes_behind_the_frames_of_its_batch(
    fake_source: Fake, batch_model: Fake
) -> None:
    def before(stage: str, index: int) -> None:
        if (stage, index) == ("fit", 6):
            raise ZeroDivisionError("fit broke")

    received: list[StreamResult] = []
    with (
        Pipeline(fake_source(20), batch_model(before), max_batch=4, budget_ms=3.6e6) as pipeline,
        pytest.raises(ZeroDivisionError, match="fit broke"),
    ):
        received.extend(pipeline.results())
    assert [result.frame.index for result in received] == list(range(6))
    (account,) = pipeline.accounts.values()
    failed = [drop for drop in account.recent_drops() if drop.reason.value == "failed"]
    assert [(drop.index, drop.stage) for drop in failed] == [(6, "fit")]


def test_outputs_that_are_not_kept_apart_are_refused(fake_source: Fake, batch_model: Fake) -> None:
    class Mixed(batch_model):  # type: ignore[misc]
        def infer(self, _batch: Any) -> Mapping[str, Any]:
            return {"boxes": np.zeros((1, 7, 4), np.float32)}

    pipeline = Pipeline(fake_source(8), Mixed(), max_batch=4, budget_ms=3.6e6)
    with (
        pipeline,
        pytest.raises(InputError, match=r"`boxes` is \(1, 7, 4\) for 4 images.*--batch 1"),
    ):
        list(pipeline.results())


def test_the_ledger_holds_the_batch_and_the_backend(fake_source: Fake, batch_model: Fake) -> None:
    with Pipeline(fake_source(4), batch_model(), max_batch=4, budget_ms=3.6e6) as pipeline:
        results = list(pipeline.results())
    spans = {entry for result in results for entry in result.ledger.entries if entry[0] == "infer"}
    assert len(spans) == 1
    assert {result.ledger.backend for result in results} == {"fake cpu"}
    moments = results[0].ledger.moments_s
    assert list(moments) == [
        *("captured", "decoded", "queued", "fitted", "inferred", "postprocessed", "delivered")
    ]
    assert list(moments.values()) == sorted(moments.values())


class Device:
    """What a fake device holds of a frame."""

    def __init__(self, value: int) -> None:
        self.value = value


@pytest.fixture
def staging_model(fake_model: Fake) -> Callable[..., Any]:
    """A fake model whose session fits `bgr24` on a device and answers later."""

    class StagingModel(fake_model):  # type: ignore[misc]
        max_batch, answers_later = 16, True

        def __init__(self) -> None:
            super().__init__()
            self.runs: list[Any] = []

        def stages(self, format: FrameFormat) -> bool:  # noqa: A002
            return format == "bgr24"

        def fit(self, frame: Any, *, format: FrameFormat, out: Any = None, **_: Any) -> Any:  # noqa: A002
            if not self.stages(format):
                return super().fit(frame, format=format, out=out)
            assert out is None
            placement = Placement.of(frame.shape[:2], (8, 8), "letterbox")
            return Device(int(frame[0, 0, 0])), placement

        def infer(self, batch: Any) -> Mapping[str, Any]:
            self.runs.append(batch)
            if isinstance(batch, np.ndarray):
                return {"output0": batch.copy()}
            frames = batch if isinstance(batch, list) else [batch]
            values = [np.full((3, 8, 8), frame.value, np.float32) for frame in frames]
            return {"output0": np.stack(values)}

    return StagingModel


def test_frames_that_a_device_fits(fake_source: Fake, staging_model: Fake) -> None:
    model = staging_model()
    with Pipeline(fake_source(5), model, max_batch=4, budget_ms=3.6e6) as pipeline:
        results = list(pipeline.results())
    assert own_results(results)
    assert [frame.value for frame in model.runs[0]] == [0, 1, 2, 3]
    assert isinstance(model.runs[1], Device)  # one alone is no list
    names = [entry[0] for entry in results[0].ledger.entries]
    assert names == ["decode", "fit", "infer", "fetch", "postprocess", "deliver"]


def test_as_many_requests_are_under_way_as_the_session_takes(
    fake_source: Fake, fake_model: Fake
) -> None:
    """Each waits for eight others, and reads its input only then."""

    class Parallel(fake_model):  # type: ignore[misc]  # a fixture's class is Any
        answers_later, num_requests = True, 9

        def __init__(self) -> None:
            super().__init__()
            self.runs, self.together = SideBySide(9), threading.Barrier(9)

        def infer(self, batch: Any) -> Mapping[str, Any]:
            def run() -> Any:
                self.together.wait(20)
                return {"output0": batch.copy()}

            return self.runs.start(["output0"], run)

    model = Parallel()
    with Pipeline(fake_source(27), model) as pipeline:
        results = list(pipeline.results())
    model.runs.close()
    assert [result.frame.index for result in results] == list(range(27))
    assert own_results(results)


def test_formats_of_two_kinds_share_no_batch(fake_source: Fake, staging_model: Fake) -> None:
    class Mixed(fake_source):  # type: ignore[misc]
        def __iter__(self) -> Any:
            for frame in super().__iter__():
                object.__setattr__(frame, "format", "rgb24" if frame.index in (2, 3) else "bgr24")
                yield frame

    model = staging_model()
    with Pipeline(Mixed(6), model, max_batch=4, budget_ms=3.6e6) as pipeline:
        results = list(pipeline.results())
    assert [result.frame.index for result in results] == list(range(6))
    assert own_results(results)
    kinds = ["array" if isinstance(run, np.ndarray) else len(run) for run in model.runs]
    assert kinds == [2, "array", 2]


def test_a_session_may_change_between_two_frames(fake_source: Fake, staging_model: Fake) -> None:
    """It says that it stages frames, and a moment later returns arrays: then the batch changes."""

    class Changing(staging_model):  # type: ignore[misc]
        is_over = False

        def stages(self, format: FrameFormat) -> bool:  # noqa: A002
            return format == "bgr24" and not self.is_over

        def fit(self, frame: Any, *, format: FrameFormat, out: Any = None, **options: Any) -> Any:  # noqa: A002
            if int(frame[0, 0, 0]) == 3:
                self.is_over = True
            if self.is_over:
                return super().fit(frame, format="rgb24", out=out)
            return super().fit(frame, format=format, out=out, **options)

    with Pipeline(fake_source(8), Changing(), max_batch=4, budget_ms=50) as pipeline:
        results = list(pipeline.results())
    assert [result.frame.index for result in results] == list(range(8))
    assert own_results(results)


def test_another_model_from_the_next_frame_on(fake_source: Fake, fake_model: Fake) -> None:
    class Other(fake_model):  # type: ignore[misc]
        backend = "other"

    with Pipeline(fake_source(None), fake_model()) as pipeline:
        for result in pipeline.results():
            if result.frame.index == 3:
                pipeline.use(Other())
            if result.ledger.backend == "other":
                break
    assert result.frame.index < 3 + 20


@pytest.mark.parametrize("turn", range(3))
def test_a_source_that_ends_while_a_batch_is_open_loses_nothing(
    fake_source: Fake, batch_model: Fake, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    """It looks as if more could come, until the very moment at which the next frame is taken."""
    monkeypatch.setattr(Intake, "is_dry", lambda *_: False)
    monkeypatch.setattr(Batcher, "_leaves", lambda _, batch: _leaves(batch))
    num_asked = 0

    def _leaves(batch: Batch) -> bool:
        nonlocal num_asked
        num_asked += 1
        return len(batch.jobs) == batch.size or num_asked > 50

    with Pipeline(fake_source(4 + turn), batch_model(), max_batch=3, budget_ms=3.6e6) as pipeline:
        results = list(pipeline.results())
    assert [result.frame.index for result in results] == list(range(4 + turn))


def test_a_frame_without_proposals_fails_behind_those_that_have_some(
    fake_source: Fake, staging_model: Fake
) -> None:
    class Proposing(staging_model):  # type: ignore[misc]
        spec = replace(staging_model.spec, proposals=ProposalsSpec("rois", 2))

        def propose(self, frame: Any, *_: Any, **__: Any) -> Any:
            if int(frame[0, 0, 0]) == 2:
                raise InputError("no regions")
            return np.full((1, 2, 4), int(frame[0, 0, 0]), np.float32)

        def infer(self, batch: Any, proposals: Any) -> Mapping[str, Any]:
            assert proposals[:, 0, 0].tolist() == [frame.value for frame in batch] == [0, 1]
            outputs: Mapping[str, Any] = super().infer(batch)
            return outputs

    received: list[StreamResult] = []
    pipeline = Pipeline(fake_source(9), Proposing(), max_batch=4, budget_ms=3.6e6)
    with pipeline, pytest.raises(InputError, match="no regions"):
        received.extend(pipeline.results())
    assert [result.frame.index for result in received] == [0, 1]
    assert "propose" in received[0].ledger.stages


def test_buffers_come_again() -> None:
    buffers, wanted = Buffers(), InputSpec("images", (8, 16))
    first = buffers.take(wanted, 2)
    assert (first.shape, first.dtype) == ((2, 3, 8, 16), np.float32)
    buffers.give(first)
    assert buffers.take(wanted, 2) is first
    assert buffers.take(wanted, 2) is not first
    buffers.give(first)
    assert buffers.take(wanted, 3).shape == (3, 3, 8, 16)
    for _ in range(10):
        buffers.give(np.empty((2, 3, 8, 16), np.float32))
    assert len(buffers._free) == 4
