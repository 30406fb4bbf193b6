"""The pool of threads: its size, and that no way of calling the operators upsets it."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import (
    _native,
    decode_yolo,
    letterbox,
    nms,
    num_threads,
    set_num_threads,
)

Operator = Callable[[], NDArray[np.generic]]

RNG = np.random.default_rng(0)
# Large enough for an operator that shares its work to share it.
FRAME = RNG.integers(0, 256, (2160, 3840, 3), np.uint8)
HEAD = RNG.random((84, 8400), np.float32)
BOXES = RNG.random((1000, 4), np.float32)
BOXES[:, 2:] += BOXES[:, :2]
SCORES = RNG.random(1000, np.float32)

OPERATORS: dict[str, Operator] = {
    "decode_yolo": lambda: (
        decode_yolo(HEAD, score_threshold=0.99, iou_threshold=0.5, max_detections=300).boxes_xyxy
    ),
    "letterbox": lambda: letterbox(FRAME, (384, 640))[0],
    "nms": lambda: nms(BOXES, SCORES, iou_threshold=0.5),
}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = num_threads()
    yield
    set_num_threads(before)


def serial(operator: Operator) -> NDArray[np.generic]:
    set_num_threads(1)
    return operator()


def run_alone(code: str, folder: Path) -> None:
    """Run `code` with this file's names in a process of its own, which must end by itself."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])
    }
    done = subprocess.run(
        [sys.executable, "-c", f"from test_threads import *\n{code}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_initially_the_processors_of_this_process_but_at_most_four(tmp_path: Path) -> None:
    run_alone("assert num_threads() == min(4, len(os.sched_getaffinity(0)))", tmp_path)


def test_initially_one_on_one_processor(tmp_path: Path) -> None:
    run_alone(
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "again = 'from edgecv.kernels import num_threads; assert num_threads() == 1'\n"
        "os.execv(sys.executable, [sys.executable, '-c', again])",
        tmp_path,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 256])
def test_size_is_what_was_set(count: int) -> None:
    set_num_threads(count)
    assert num_threads() == count


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_result_does_not_depend_on_the_number_of_threads(name: str, count: int) -> None:
    expected = serial(OPERATORS[name])
    set_num_threads(count)
    np.testing.assert_array_equal(OPERATORS[name](), expected)


def test_many_threads_at_once_while_the_size_changes() -> None:
    expected = {name: serial(operator) for name, operator in OPERATORS.items()}
    start = threading.Barrier(9)

    def call(name: str) -> None:
        start.wait()
        for _ in range(10):
            np.testing.assert_array_equal(OPERATORS[name](), expected[name])

    with ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(call, name) for name in [*OPERATORS] * 2 + ["letterbox"] * 2]
        start.wait()
        for size in [4, 1, 3, 2] * 20:
            set_num_threads(size)
        for done in calls:
            done.result(timeout=60)


def test_child_of_a_fork_has_threads_of_its_own(tmp_path: Path) -> None:
    # Forks while other threads are inside the operators: the child's copy of the pool is in any
    # state. As the workers of PyTorch's data loader do.
    run_alone(
        """
import warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of a fork with threads, which is the point
expected = {name: serial(operator) for name, operator in OPERATORS.items()}
set_num_threads(3)
leave = threading.Event()
def call():
    while not leave.is_set():
        OPERATORS["letterbox"]()
callers = [threading.Thread(target=call) for _ in range(2)]
for caller in callers:
    caller.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(OPERATORS[name](), expected[name]) for name in OPERATORS)
        os._exit(0 if same and num_threads() == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
leave.set()
for caller in callers:
    caller.join()
""",
        tmp_path,
    )


def test_process_ends_while_threads_are_inside_operators(tmp_path: Path) -> None:
    run_alone(
        """
set_num_threads(3)
def call(name):
    while True:
        OPERATORS[name]()
for name in [*OPERATORS] * 2:
    threading.Thread(target=call, args=(name,), daemon=True).start()
threading.Event().wait(0.1)
""",
        tmp_path,
    )


@pytest.mark.parametrize("count", [0, -1, 257, 2**70])
def test_refuses_values(count: int) -> None:
    before = num_threads()
    with pytest.raises(
        ValueError, match=rf"^set_num_threads: `count` must be in \[1, 256\], got {count}\.$"
    ):
        set_num_threads(count)
    assert num_threads() == before


@pytest.mark.parametrize("count", [0, 257])
def test_native_module_refuses_the_same_values(count: int) -> None:
    with pytest.raises(ValueError, match=r"^set_num_threads: `count` must be in \[1, 256\]\.$"):
        _native.set_num_threads(count)


@pytest.mark.parametrize("count", [1.0, "2", None, True])
def test_refuses_types(count: object) -> None:
    with pytest.raises(TypeError, match=r"^set_num_threads: `count` must be a whole number, got"):
        set_num_threads(count)  # type: ignore[arg-type]
