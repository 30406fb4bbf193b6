"""The switch of a session's backend: between two runs, none lost, none in the wrong one."""

# ruff: noqa: ARG002  # the sessions take what real ones take

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.output_spec import YoloxOutput
from edgecv.placement import Placement
from edgecv.runtime.model import Model
from edgecv.runtime.session import DeferringSession, FrameSession
from edgecv.runtime.switching import BackendOutputs, SwitchingSession
from edgecv.spec import InputSpec, ModelSpec

SPEC = ModelSpec("detect", ("cat",), InputSpec("images", (4, 4)), YoloxOutput())
PIXELS = np.zeros((4, 4, 3), np.uint8)
COLOURS: dict[str, Any] = {"format": "bgr24", "matrix": "bt601", "range": "limited"}


class Doubling:
    """A session whose network doubles; `gate` holds its runs up."""

    spec = SPEC

    def __init__(self, backend: str, max_batch: int | None = None) -> None:
        self.backend = backend
        self.sizes: list[int] = []
        self.proposals: list[Any] = []
        self.inside = self.num_closed = self.num_warm = 0
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        if max_batch is not None:
            self.max_batch = max_batch

    def run(self, batch: Any, scalars: Any = None, proposals: Any = None) -> Any:
        with self.lock:
            assert not self.num_closed
            self.inside += 1
            self.sizes.append(len(batch))
            self.proposals.append(proposals)
        self.entered.release()
        assert self.gate.wait(30)
        with self.lock:
            self.inside -= 1
        return {"out": 2 * batch}

    def warm_up(self) -> None:
        self.num_warm += 1

    def close(self) -> None:
        with self.lock:
            assert self.inside == 0
            self.num_closed += 1


class Staged:
    """A number that a session holds for itself."""

    def __init__(self, owner: Any, value: float) -> None:
        self.owner, self.value = owner, value


class Pending(Mapping[str, NDArray[Any]]):
    """Outputs that somebody waits for by looking at them."""

    def __init__(self, value: NDArray[Any]) -> None:
        self.value, self.num_looks = value, 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.num_looks += 1
        return {"out": self.value}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("out",))

    def __len__(self) -> int:
        return 1


class StagingDoubling(Doubling):
    """One that takes frames, and answers later."""

    frame_formats = ("bgr24",)

    def stage(self, frame: Any, **_: Any) -> Any:
        return Staged(self, float(frame.flat[0])), Placement.of((4, 4), (4, 4), "letterbox")

    def run(self, batch: Any, scalars: Any = None, proposals: Any = None) -> Any:
        staged = [batch] if isinstance(batch, Staged) else batch
        if isinstance(staged, list):
            assert all(one.owner is self for one in staged)
            batch = np.array([one.value for one in staged])
        return Pending(super().run(batch, scalars, proposals)["out"])


def values(*numbers: float) -> NDArray[np.float64]:
    return np.array(numbers)


def test_what_it_is_before_and_after() -> None:
    first, second = Doubling("first"), StagingDoubling("second", max_batch=4)
    session = SwitchingSession(first)
    assert isinstance(session, FrameSession)
    assert not isinstance(session, DeferringSession)
    assert (session.backend, session.frame_formats, session.spec) == ("first", (), SPEC)
    assert session.max_batch == 1
    session.warm_up()
    assert session.switch(second)
    assert (session.backend, session.frame_formats) == ("second", ("bgr24",))
    assert session.max_batch == 4
    assert (first.num_closed, second.num_closed) == (1, 0)
    session.warm_up()
    assert (first.num_warm, second.num_warm) == (1, 1)
    session.close()
    session.close()
    assert (first.num_closed, second.num_closed) == (1, 1)
    with pytest.raises(ValueError, match="the session is closed"):
        session.run(values(1))
    third = Doubling("third")
    assert not session.switch(third)
    assert third.num_closed == 0


def test_a_model_fits_frames_until_the_switch_and_stages_them_from_then_on() -> None:
    session = SwitchingSession(Doubling("first"))
    model = Model(session)
    assert model.answers_later
    tensor, _ = model.fit(PIXELS)
    assert isinstance(tensor, np.ndarray)
    assert model.backend_of(model.infer(tensor)) == "first"
    second = StagingDoubling("second")
    session.switch(second)
    staged, _ = model.fit(PIXELS)
    assert isinstance(staged, Staged)
    for batch in (staged, tensor):  # the array was fitted before, and runs all the same
        assert model.backend_of(model.infer(batch)) == "second"
    late, _ = model.fit(PIXELS, format="rgb24")
    assert isinstance(late, np.ndarray)
    assert model.backend_of({}) == "second"
    model.close()


def test_frames_are_refused_before_the_switch() -> None:
    with pytest.raises(TypeError, match=r"empty while first runs, got 'bgr24'\. Fit the frame"):
        SwitchingSession(Doubling("first")).stage(PIXELS, **COLOURS)


def test_outputs_on_their_way_are_there_before_their_session_is_closed() -> None:
    class Later(Doubling):
        def run(self, batch: Any, scalars: Any = None, proposals: Any = None) -> Any:
            self.pending = Pending(super().run(batch)["out"])
            return self.pending

    first = Later("first")
    session = SwitchingSession(first)
    early = session.run(values(1))
    assert first.pending.num_looks == 1
    second = StagingDoubling("second")
    session.switch(second)
    late = session.run(values(3))
    looked_at = late._outputs
    assert isinstance(looked_at, Pending)
    assert (list(late), len(late), looked_at.num_looks) == (["out"], 1, 0)
    assert (early["out"], late["out"], looked_at.num_looks) == (2, 6, 1)


def test_a_run_ends_where_it_began_and_the_first_is_closed_behind_it() -> None:
    first, second = Doubling("first"), StagingDoubling("second")
    first.gate.clear()
    session = SwitchingSession(first)
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(session.run, values(index)) for index in range(3)]
        for _ in range(3):
            assert first.entered.acquire(timeout=30)
        assert session.switch(second)
        assert first.num_closed == 0
        late = session.run(values(7))
        assert (late.backend, float(late["out"][0])) == ("second", 14)
        first.gate.set()
        for index, run in enumerate(early):
            found = run.result(30)
            assert (found.backend, float(found["out"][0])) == ("first", 2 * index)
    assert first.num_closed == 1
    session.close()
    assert second.num_closed == 1


def test_it_is_closed_behind_the_last_run() -> None:
    first = Doubling("first")
    first.gate.clear()
    session = SwitchingSession(first)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(session.run, values(1))
        assert first.entered.acquire(timeout=30)
        session.close()
        assert first.num_closed == 0
        first.gate.set()
        assert run.result(30)["out"] == 2
    assert first.num_closed == 1


@given(
    num_threads=st.integers(1, 4),
    num_frames=st.integers(1, 30),
    moment=st.integers(0, 40),
    max_batch=st.integers(1, 3),
)
def test_no_frame_is_lost_whenever_it_switches(
    num_threads: int, num_frames: int, moment: int, max_batch: int
) -> None:
    """Every thread sees each of its frames once, in order, first on one and then on the other."""
    first, second = Doubling("first"), StagingDoubling("second", max_batch)
    session = SwitchingSession(first)
    count = threading.Semaphore(0)

    def serve(thread: int) -> list[tuple[str, int, float]]:
        found = []
        for index in range(num_frames):
            value = float(100 * thread + index)
            batch: Any = values(value, value)
            if session.frame_formats:
                batch, _ = session.stage(np.full((4, 4, 3), value % 256), **COLOURS)
                value %= 256
            outputs = session.run(batch)
            found += [(outputs.backend, index, float(one) / 2 - value) for one in outputs["out"]]
            count.release()
        return found

    with ThreadPoolExecutor(num_threads) as pool:
        served = [pool.submit(serve, thread) for thread in range(num_threads)]
        for _ in range(min(moment, num_threads * num_frames)):
            assert count.acquire(timeout=30)
        assert session.switch(second)
        results = [one.result(30) for one in served]
    for result in results:
        assert sorted({index for _, index, _ in result}) == list(range(num_frames))
        assert [index for _, index, _ in result] == sorted(index for _, index, _ in result)
        assert all(error == 0 for _, _, error in result)
        assert [name for name, _, _ in result] == sorted(name for name, _, _ in result)
    num_second = sum(name == "second" for result in results for name, _, _ in result)
    assert num_second == sum(second.sizes)
    assert all(size <= max_batch for size in second.sizes)
    session.close()
    assert (first.num_closed, second.num_closed) == (1, 1)


@given(
    kinds=st.lists(st.sampled_from(["array", "pair", "staged"]), min_size=1, max_size=6),
    max_batch=st.integers(1, 5),
)
def test_a_list_may_mix_what_was_fitted_and_what_was_staged(
    kinds: list[str], max_batch: int
) -> None:
    session = SwitchingSession(Doubling("first"))
    second = StagingDoubling("second", max_batch)
    session.switch(second)
    batch: list[Any] = []
    wanted: list[float] = []
    for index, kind in enumerate(kinds):
        if kind == "staged":
            batch.append(Staged(second, index))
            wanted.append(index)
        else:
            batch.append(values(index) if kind == "array" else values(index, index + 0.5))
            wanted += batch[-1].tolist()
    regions = np.arange(len(wanted))
    outputs = session.run(batch, None, regions)
    assert isinstance(outputs, BackendOutputs)
    assert (outputs["out"] / 2).tolist() == wanted
    assert np.concatenate(second.proposals).tolist() == regions.tolist()
    assert max(second.sizes) <= max_batch


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold at least 1 image, got 0"):
        SwitchingSession(Doubling("first")).run([])
