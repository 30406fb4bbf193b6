"""The no-stall start: frames are served while an engine is built, and none is lost at the switch.

The builder is a real second process; its engine is the ONNX file, which onnxruntime runs. So every
result can be compared with that of the file itself, whichever backend it came from.
"""

import io
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")

from rich.console import Console

from edgecv.bundle.lock import take_lock
from edgecv.bundle.machine import Gpu
from edgecv.cli.console import await_engine
from edgecv.errors import DeviceError, InputError, MissingDependencyError
from edgecv.runtime import building
from edgecv.runtime.building import (
    BuildingSession,
    Workshop,
    build_command,
    open_wanted,
    open_while_building,
    wait_for_engine,
)
from edgecv.runtime.engine_record import record_path
from edgecv.runtime.model import Model
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.session import FrameSession, GraphSession, RunOptions
from edgecv.runtime.switching import TellingSession
from edgecv.stream.run import run_stream
from edgecv.stream.sources import Frame, Source

from .engines import HOST, LIMIT_S, StandInEngine, StandInWorkshop, is_running, until

Shop = Callable[..., StandInWorkshop]
OPTIONS = RunOptions(backend="tensorrt", threads=1)  # type: ignore[arg-type]


@pytest.fixture
def shop(
    tmp_path: Path, segmenter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """Make a workshop whose program behaves as named; nothing of it may run at the end."""
    monkeypatch.setenv("EDGECV_BACKEND", "onnxruntime")
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    made: list[StandInWorkshop] = []

    def make(*behaviour: str) -> StandInWorkshop:
        made.append(StandInWorkshop(tmp_path / f"shop-{len(made)}", segmenter(), behaviour))
        return made[-1]

    yield make
    for one in made:
        assert not [pid for pid in one.builders() if is_running(pid)]
        assert not list(one.folder.rglob("*.lock"))
        assert all(engine.num_closed == 1 for engine in one.opened)
    assert "edgecv-engine" not in [thread.name for thread in threading.enumerate()]


def opened(shop: StandInWorkshop) -> BuildingSession:
    session = open_wanted(shop.wanted, OPTIONS, shop.workshop)
    assert isinstance(session, BuildingSession)
    return session


def picture(index: int) -> Any:
    return np.random.default_rng(index).integers(0, 256, (40, 56, 3), np.uint8)


class Expected:
    """What the file itself makes of pictures."""

    def __init__(self, model: Path) -> None:
        self.model = Model(OnnxruntimeSession(model, "cpu", threads=1))

    def __getitem__(self, index: int) -> Any:
        batch, _ = self.model.fit(picture(index))
        return self.model.infer(batch)["out"]


def served(model: Model, index: int) -> tuple[str, Any]:
    """Run one picture; return the backend and what came out."""
    batch, _ = model.fit(picture(index))
    outputs = model.infer(batch)
    return model.backend_of(outputs), outputs["out"]


def test_it_serves_builds_and_switches(shop: Shop) -> None:
    here = shop("wait", "progress", "build")
    expected = Expected(here.model)
    session = opened(here)
    assert isinstance(session, GraphSession | FrameSession)
    assert isinstance(session, TellingSession)
    assert session.reason == f"recipe orin, for a test; kept as {here.wanted.path}"
    told: list[str] = []
    session.listen(told.append)
    with Model(session) as model:
        until(lambda: session.backend == "onnxruntime cpu, while TensorRT builds (25%)")
        session.warm_up()
        backend, out = served(model, 0)
        assert backend == "onnxruntime cpu"
        assert np.array_equal(out, expected[0])
        assert not session.wait(0)
        assert told == []
        here.go()
        assert session.wait(LIMIT_S)
        assert session.backend == "tensorrt Orin"
        backend, out = served(model, 0)
        assert backend == "tensorrt Orin"
        assert np.array_equal(out, expected[0])
    (line,) = told
    assert line.startswith("tensorrt Orin took over from onnxruntime cpu: its engine was built in ")
    late: list[str] = []
    session.listen(late.append)
    assert late == told
    assert session.backend == "tensorrt Orin"


def test_the_next_start_opens_what_was_built(shop: Shop) -> None:
    here = shop("build")
    session = opened(here)
    wait_for_engine(session)
    session.close()
    again = open_wanted(here.wanted, OPTIONS, here.workshop)
    assert isinstance(again, StandInEngine)
    wait_for_engine(again)
    again.close()
    assert here.num_commands == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda engine: engine.write_bytes(b"cut short"),
        lambda engine: record_path(engine).unlink(),
        lambda engine: record_path(engine).write_text(
            record_path(engine).read_text().replace('"tensorrt": "10.3.0"', '"tensorrt": "10.2"')
        ),
    ],
    ids=["damaged", "no record", "another version"],
)
def test_what_does_not_fit_is_built_anew(shop: Shop, spoil: Callable[[Path], Any]) -> None:
    here = shop("build")
    here.keep()
    spoil(here.wanted.path)
    session = opened(here)
    assert session.wait(LIMIT_S)
    session.close()
    assert here.wanted.record() == here.record()


class Frames(Source):
    """Pictures; `before` is called before each."""

    num_frames, is_live, size_hw = 30, False, (40, 56)

    def __init__(self, before: Callable[[int], Any]) -> None:
        self.before = before

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.num_frames):
            self.before(index)
            yield Frame(index, picture(index), "bgr24", pts_s=index / 25)

    def close(self) -> None: ...


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.integers(0, 30), is_awaited=st.booleans())
def test_a_stream_loses_no_frame(shop: Shop, moment: int, *, is_awaited: bool) -> None:
    """Wherever in the stream the engine comes, each frame is delivered once, in order and equal."""
    here = shop("wait", "build")
    expected = Expected(here.model)
    session = opened(here)

    def before(index: int) -> None:
        if index == moment:
            here.go()
            if is_awaited:
                session.wait(LIMIT_S)

    delivered: list[int] = []
    backends: list[str] = []

    def compare(result: Any) -> None:
        delivered.append(result.frame.index)
        backends.append(result.ledger.backend)
        wanted = expected.model(picture(result.frame.index))
        assert np.array_equal(result.result.labels, wanted.labels)

    with Model(session) as model:
        summary = run_stream(Frames(before), model, on_result=compare)
        here.go()
        session.wait(LIMIT_S)
    assert delivered == list(range(30))
    assert backends == sorted(backends)  # onnxruntime before tensorrt, and never back
    if moment == 30:
        assert set(backends) == {"onnxruntime cpu"}
    if is_awaited and moment < 24:  # what was decoded before has gone through by then
        assert backends[-1] == "tensorrt Orin"
    counts = {name: backends.count(name) for name in sorted(set(backends))}
    assert summary.num_by_backend == counts
    assert summary.to_plain()["frames_by_backend"] == counts
    assert "fetch" in summary.stages


def test_many_threads_lose_nothing(shop: Shop) -> None:
    here = shop("wait", "build")
    expected = Expected(here.model)
    wanted = [expected[index] for index in range(4)]
    session = opened(here)
    is_over = threading.Event()

    def serve(model: Model, thread: int) -> list[str]:
        names = []
        is_last = False
        while not is_last:
            is_last = is_over.is_set()
            name, out = served(model, thread)
            names.append(name)
            assert np.array_equal(out, wanted[thread])
        return names

    with Model(session) as model, ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(serve, model, thread) for thread in range(4)]
        here.go()
        try:
            assert session.wait(LIMIT_S)
        finally:
            is_over.set()
        for run in runs:
            names = run.result(LIMIT_S)
            assert names == sorted(names)
            assert names[-1] == "tensorrt Orin"


def test_a_batch_that_was_collected_before_fits_the_engine_after(shop: Shop) -> None:
    here = shop("wait", "build")
    here.max_batch = 2
    expected = Expected(here.model)
    with Model(opened(here)) as model:
        batch = np.concatenate([model.fit(picture(index))[0] for index in range(5)])
        here.go()
        wait_for_engine(model.session)
        out = model.infer(batch)["out"]
        assert np.array_equal(out, np.concatenate([expected[index] for index in range(5)]))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (("progress", "fail"), "nothing can be built. Do something else."),
        (("silent-failure",), "the build ended with code 3 and did not say why."),
        (("die",), "the build was ended by SIGKILL, as the system does when memory runs out."),
        (("progress",), "there is no such file"),
    ],
)
def test_a_failed_build_is_said_once_and_the_other_goes_on(
    shop: Shop, behaviour: tuple[str, ...], said: str
) -> None:
    here = shop(*behaviour)
    here.opening_fails = [InputError("there is no such file")] * ("fail" not in behaviour)
    session = opened(here)
    with pytest.raises(DeviceError, match=said):
        session.wait(LIMIT_S)
    told: list[str] = []
    session.listen(told.append)
    (line,) = told
    assert line.startswith(f"`{here.model}` does not run in TensorRT: ")
    assert said in line
    assert line.endswith("onnxruntime cpu goes on.")
    assert session.backend == "onnxruntime cpu"
    with Model(session) as model:
        assert served(model, 0)[0] == "onnxruntime cpu"


def test_an_engine_that_falls_asleep_is_not_switched_to(shop: Shop) -> None:
    here = shop("build")
    here.warm_up_fails = True
    session = opened(here)
    with pytest.raises(DeviceError, match="the GPU fell asleep"):
        session.wait(LIMIT_S)
    assert [engine.num_closed for engine in here.opened] == [1]
    assert session.backend == "onnxruntime cpu"
    session.close()


def test_who_measures_goes_no_further_without_the_engine(shop: Shop) -> None:
    session = opened(shop("fail"))
    with pytest.raises(DeviceError, match=r"nothing can be built\. Do something else\."):
        wait_for_engine(session)
    with pytest.raises(ValueError, match="is closed"):
        session.warm_up()


def test_commands_show_how_far_it_is(shop: Shop) -> None:
    here = shop("wait", "build")
    session = opened(here)
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=True, width=120)
    timer = threading.Timer(0.2, here.go)
    timer.start()
    await_engine(screen, session)
    timer.join()
    assert "onnxruntime cpu, while TensorRT builds" in shown.getvalue()
    assert session.backend == "tensorrt Orin"
    await_engine(screen, session)
    session.close()


def test_an_engine_of_another_description_is_not_switched_to(
    shop: Shop, segmenter: Callable[..., Path]
) -> None:
    here = shop("build")
    (here.folder / "plan").write_bytes(segmenter("class-map").read_bytes())
    (here.folder / "record").write_text(here.record().to_json())
    session = opened(here)
    with Model(session) as model:
        with pytest.raises(DeviceError, match=r"describes another model than the file.*Remove"):
            session.wait(LIMIT_S)
        assert served(model, 0)[0] == "onnxruntime cpu"


def test_an_engine_that_fits_and_does_not_open_is_built_anew(shop: Shop) -> None:
    here = shop("wait", "build")
    here.keep()
    here.opening_fails = [DeviceError("it does not deserialise.")]
    session = opened(here)
    told: list[str] = []
    session.listen(told.append)
    why = "is built anew, as it does not open: it does not deserialise."
    assert told == [f"`{here.wanted.path}` {why}"]
    here.go()
    assert session.wait(LIMIT_S)
    assert here.num_commands == 1
    session.close()


def test_the_engine_of_another_process_is_awaited_and_not_built_twice(shop: Shop) -> None:
    here = shop("build")
    lock = take_lock(here.wanted.path)
    assert lock is not None
    session = opened(here)
    until(lambda: "another process builds its engine of TensorRT" in session.backend)
    here.keep()
    lock.release()
    told: list[str] = []
    session.listen(told.append)
    assert session.wait(LIMIT_S)
    session.close()
    assert here.num_commands == 0
    assert told == ["tensorrt Orin took over from onnxruntime cpu: its engine was built elsewhere."]


def test_two_at_once_build_one(shop: Shop) -> None:
    here = shop("wait", "build")
    sessions = [opened(here) for _ in range(3)]
    here.go()
    assert all(session.wait(LIMIT_S) for session in sessions)
    assert here.num_commands == 1
    for session in sessions:
        session.close()


def test_where_the_first_fails_the_second_builds(shop: Shop) -> None:
    here = shop("wait", "build")
    first = opened(here)
    until(here.builders)
    second = opened(here)
    until(lambda: "another process" in second.backend)
    first.close()
    here.go()
    assert second.wait(LIMIT_S)
    second.close()
    assert here.num_commands == 2


def test_closing_calls_the_build_off(shop: Shop) -> None:
    here = shop("wait", "build")
    session = opened(here)
    told: list[str] = []
    session.listen(told.append)
    (pid,) = until(here.builders)
    until(lambda: "25%" in session.backend)
    session.close()
    assert not is_running(pid)
    assert (here.folder / "timings").exists()
    session.close()
    assert told == []
    assert session.backend == "onnxruntime cpu"
    assert not session.wait()
    lock = take_lock(here.wanted.path)
    assert lock is not None
    lock.release()
    assert not here.wanted.path.exists()


def test_closing_ends_a_builder_that_does_not_hear(shop: Shop) -> None:
    here = shop("deaf", "wait")
    shop_of_little_patience = Workshop(here.command, here.open_engine, grace_s=0.05)
    session = open_wanted(here.wanted, OPTIONS, shop_of_little_patience)
    until((here.folder / "deaf").exists)
    session.close()


def test_closing_while_another_builds(shop: Shop) -> None:
    here = shop("build")
    lock = take_lock(here.wanted.path)
    assert lock is not None
    session = opened(here)
    until(lambda: "another process" in session.backend)
    session.close()
    lock.release()
    assert here.num_commands == 0


def test_an_engine_that_comes_too_late_is_closed(shop: Shop) -> None:
    here = shop("build")
    is_opening, may_open = threading.Event(), threading.Event()

    def open_slowly(engine: Path, options: RunOptions) -> Any:
        is_opening.set()
        assert may_open.wait(LIMIT_S)
        return here.open_engine(engine, options)

    session = open_wanted(here.wanted, OPTIONS, Workshop(here.command, open_slowly))
    assert is_opening.wait(LIMIT_S)
    assert session.backend == "onnxruntime cpu, while TensorRT starts"
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(session.close)
        until(lambda: _is_closed(session))
        may_open.set()
        closing.result(LIMIT_S)
    (engine,) = here.opened
    assert engine.num_closed == 1


def _is_closed(session: Any) -> bool:
    try:
        session.warm_up()
    except ValueError:
        return True
    return False


def test_a_listener_may_close_it(shop: Shop) -> None:
    here = shop("build")
    session = opened(here)
    is_closed = threading.Event()

    def close(_: str) -> None:
        session.close()
        is_closed.set()

    session.listen(close)
    assert is_closed.wait(LIMIT_S)
    session.close()


def test_nothing_is_left_open(shop: Shop) -> None:
    def once() -> None:
        here = shop("wait", "build")
        session = opened(here)
        until(here.builders)
        session.close()

    once()
    before = num_descriptors()
    for _ in range(3):
        once()
    assert num_descriptors() == before


def num_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


PARENT = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from engines import StandInWorkshop
from edgecv.runtime.building import open_wanted
from edgecv.runtime.session import RunOptions
here = StandInWorkshop(Path(sys.argv[2]), Path(sys.argv[3]), ("wait", "build"))
session = open_wanted(here.wanted, RunOptions(threads=1), here.workshop)
print(session.backend, flush=True)
threading.Event().wait()
"""


def test_a_killed_process_leaves_no_builder_and_no_lock(shop: Shop, tmp_path: Path) -> None:
    """Who wants the engine meanwhile waits for the orphan, and builds when it has ended."""
    here = shop("wait", "build")
    words = [sys.executable, "-c", PARENT, Path(__file__).parent, here.folder, here.model]
    parent = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, cwd=tmp_path)
    with parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline().startswith(b"onnxruntime cpu, while TensorRT builds")
            (orphan,) = until(here.builders)
            session = opened(here)
            until(lambda: "another process" in session.backend)
        finally:
            parent.send_signal(signal.SIGKILL)
    until(lambda: not is_running(orphan))
    until(lambda: len(here.builders()) == 2)
    here.go()
    assert session.wait(LIMIT_S)
    session.close()


def test_without_another_backend_it_says_how_to_build_first(
    shop: Shop, make_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_BACKEND", "tensorrt")  # it cannot serve until it is built
    here = shop("build")
    path = make_onnx(operator=("edgecv", "EdgeNMS"))
    wanted = StandInWorkshop(here.folder, path, ()).wanted
    with pytest.raises(InputError) as caught:
        open_wanted(wanted, OPTIONS, here.workshop)
    text = str(caught.value)
    assert text.startswith("no other backend serves while the engine is built: ")
    assert text.endswith(f"it is found where it lies then: `{wanted.command}`.")


def test_the_builder_must_be_installed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shop("build")
    monkeypatch.setattr(building, "find_spec", lambda name: None if name == "onnx_ir" else name)
    with pytest.raises(MissingDependencyError, match=r"needs onnx_ir.*'edgecv\[export\]'"):
        open_wanted(here.wanted, OPTIONS, here.workshop)
    here.keep()
    open_wanted(here.wanted, OPTIONS, here.workshop).close()


class TensorRT:
    __version__ = HOST.tensorrt


def test_what_this_machine_lacks_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shop("build")
    with pytest.raises(InputError, match=r"must be auto or cuda, got 'cpu'\. Leave it out"):
        open_while_building(here.model, RunOptions("cpu"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match="TensorRT is not installed"):
        open_while_building(here.model, OPTIONS)
    monkeypatch.setitem(sys.modules, "tensorrt", TensorRT)
    monkeypatch.setattr(building, "find_gpu", lambda: None)
    with pytest.raises(DeviceError, match="CUDA finds none here"):
        open_while_building(here.model, OPTIONS)


def test_the_machines_own_facts_decide(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = shop("build")
    seen: list[Any] = []
    monkeypatch.setitem(sys.modules, "tensorrt", TensorRT)
    monkeypatch.setattr(building, "find_gpu", lambda: Gpu("Orin", "8.7", "10.3.0", 16))
    monkeypatch.setattr(building, "installed_plugins", lambda: here.model)
    monkeypatch.setattr(building, "open_wanted", lambda *given: seen.append(given))
    options = RunOptions(precision="fp16", cache=tmp_path)
    open_while_building(here.model, options)
    ((wanted, given_options, workshop),) = seen
    assert (wanted.model, wanted.recipe.name) == (here.model, "workstation-fp16")
    assert (wanted.path.parent, given_options) == (tmp_path, options)
    assert (wanted.host.gpu.multiprocessors, wanted.host.plugins) == (16, here.model)
    command = build_command(wanted)
    assert command[:4] == [sys.executable, "-m", "edgecv", "build"]
    assert command[-4:] == ["--plugins", str(here.model), "--progress", "json"]
    assert workshop == Workshop()
