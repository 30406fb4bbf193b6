"""A build in another process: what it reports, how it fails, how it is called off, who it outlives.

The process is a real one, of a program that behaves as `edgecv build`.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecv.errors import DeviceError
from edgecv.runtime.build_process import NICENESS, BuildProcess

from .engines import LIMIT_S, PROGRAM, is_running, until

Start = Callable[..., BuildProcess]


def command(folder: Path, *behaviour: str) -> list[str]:
    return [sys.executable, "-I", *map(str, (PROGRAM, folder, folder / "e", *behaviour))]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def started(*behaviour: str, held: tuple[int, ...] = ()) -> BuildProcess:
        return BuildProcess(command(tmp_path, *behaviour), held)

    return started


def pid_in(folder: Path) -> int:
    (path,) = until(lambda: list(folder.glob("started-*")))
    return int(path.name.partition("-")[2])


def test_it_reports_how_far_it_is(start: Start) -> None:
    seen: list[float] = []
    start("progress").follow(seen.append)
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_what_libraries_print_is_no_report(start: Start) -> None:
    seen: list[float] = []
    start("noise", "progress").follow(seen.append)
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (("progress", "fail"), r"^nothing can be built\. Do something else\.$"),
        (("silent-failure",), r"^the build ended with code 3 and did not say why\.$"),
        (("die",), r"^the build was ended by SIGKILL, as the system does when memory runs out\.$"),
        (("noise", "silent-failure"), "^x+$"),
    ],
)
def test_a_failure_says_why(start: Start, behaviour: tuple[str, ...], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        start(*behaviour).follow(lambda _: None)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"`.*none` cannot be started: No such file"):
        BuildProcess([str(tmp_path / "none")])


def test_frames_go_first(start: Start, tmp_path: Path) -> None:
    process = start("wait")
    pid = pid_in(tmp_path)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, own + NICENESS)
    (tmp_path / "go").touch()
    process.follow(lambda _: None)


def called_off(process: BuildProcess, grace_s: float) -> str:
    """Call a build off while another thread follows it, and return what that thread was told."""
    told: list[str] = []

    def follow() -> None:
        with pytest.raises(DeviceError) as caught:
            process.follow(lambda _: None)
        told.append(str(caught.value))

    thread = threading.Thread(target=follow)
    thread.start()
    process.call_off(grace_s)
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    return told[0]


def test_a_build_that_is_called_off_keeps_what_it_timed(start: Start, tmp_path: Path) -> None:
    process = start("wait")
    pid = pid_in(tmp_path)
    called_off(process, LIMIT_S)
    assert (tmp_path / "timings").read_text() == str(pid)
    assert not is_running(pid)


def test_one_that_does_not_hear_is_ended_by_force(start: Start, tmp_path: Path) -> None:
    process = start("deaf", "wait")
    pid = pid_in(tmp_path)
    until((tmp_path / "deaf").exists)
    assert "SIGKILL" in called_off(process, 0.05)
    assert not is_running(pid)
    assert not (tmp_path / "timings").exists()


def test_one_that_has_ended_is_left_alone(start: Start) -> None:
    process = start("progress")
    process.follow(lambda _: None)
    process.call_off(0)


def test_ctrl_c_at_the_terminal_is_not_the_builders(start: Start, tmp_path: Path) -> None:
    process = start("wait")
    pid = pid_in(tmp_path)
    assert os.getpgid(pid) != os.getpgid(0)
    assert os.getsid(pid) == pid
    (tmp_path / "go").touch()
    process.follow(lambda _: None)


def test_it_holds_what_it_is_given(start: Start, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = start("wait", held=(writer,))
    pid_in(tmp_path)
    os.close(writer)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)  # somebody could still write
    (tmp_path / "go").touch()
    process.follow(lambda _: None)
    assert os.read(reader, 1) == b""
    os.close(reader)


PARENT = """
import sys
from pathlib import Path
from edgecv.runtime.build_process import BuildProcess
process = BuildProcess(sys.argv[1:])
process.follow(lambda _: print("followed", flush=True))
"""


@pytest.mark.parametrize("hears", [True, False], ids=["plain", "deaf"])
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path, *, hears: bool) -> None:
    words = command(tmp_path, *(() if hears else ("deaf",)), "wait")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *words], stdout=subprocess.PIPE, cwd=tmp_path
    )
    with parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"followed\n"
            pid = pid_in(tmp_path)
            assert is_running(pid)
        finally:
            parent.send_signal(signal.SIGKILL)
    assert parent.returncode == -signal.SIGKILL
    until(lambda: not is_running(pid))
    assert (tmp_path / "abandoned").exists()
