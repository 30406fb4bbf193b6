"""The emulated GPU itself: it computes what CUDA documents, and shows what CUDA forbids."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .emulation import emulated_program

INVALID_CONFIGURATION = 9  # of cudaError_t

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a case of emulated_cases.cu, with a seed."""
    folder = tmp_path_factory.mktemp("emulated")
    program = emulated_program(Path(__file__).with_name("emulated_cases.cu"), folder)

    def run_case(name: str, seed: int = 0) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, name],
            env={"EDGECV_EMULATED_SEED": str(seed)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run_case


def output(run: Run, name: str, seed: int = 0) -> list[int]:
    done = run(name, seed)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("reverse", list(range(255, -1, -1))),
        ("reverse-warp", list(range(31, -1, -1))),
        ("rounds", [8] * 256),
    ],
)
def test_a_barrier_that_is_missing_is_seen(
    run: Run, name: str, right: list[int], seed: int
) -> None:
    assert output(run, name, seed) == right
    assert output(run, f"{name}-unsynchronised", seed) != right


def test_the_order_of_threads_is_that_of_the_seed(run: Run) -> None:
    runs = [output(run, "reverse-unsynchronised", seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        (
            "skip-barrier",
            ["threads wait for others that never come in block (0, 0, 0) of 64 threads",
             "thread 0 waits at __syncthreads", "24 threads have ended"],
        ),
        ("skip-lane", ["threads wait for others that never come", "waits at __syncwarp"]),
        ("name-others", ["a lane that its own mask does not name called a warp function"]),
    ],
)  # fmt: skip
def test_threads_that_never_meet_end_the_program(run: Run, name: str, messages: list[str]) -> None:
    done = run(name)
    assert done.returncode == -signal.SIGABRT
    assert done.stdout == ""
    for message in messages:
        assert message in done.stderr


def test_votes_are_of_the_lanes_that_are_there(run: Run) -> None:
    expected = []
    for thread in range(40):
        lanes = range(32 if thread < 32 else 8)
        votes = sum(1 << lane for lane in lanes if lane % 3 == 0)
        halves = [lane for lane in lanes if lane % 2 == thread % 2]
        apart = sum(1 << k for k in halves if (k < 4) == (thread % 2 == 0))
        expected.append((votes ^ apart << 16) & 0xFFFFFFFF)
    assert output(run, "vote") == expected


@pytest.mark.parametrize("width", [4, 8, 32])
def test_shuffles_stay_within_their_width(run: Run, width: int) -> None:
    # CUDA C++ Programming Guide, "Warp Shuffle Functions".
    lanes = range(32)
    expected = [100 + lane // width * width + 5 % width for lane in lanes]
    expected += [100 + (lane - 3 if lane % width >= 3 else lane) for lane in lanes]
    expected += [100 + (lane + 3 if lane % width + 3 < width else lane) for lane in lanes]
    # A lane reads from groups before its own, but not from those after it.
    expected += [
        100 + (lane ^ 6 if (lane ^ 6) // width <= lane // width else lane) for lane in lanes
    ]
    assert output(run, f"shuffles-{width}") == expected


def test_barriers_that_count(run: Run) -> None:
    assert output(run, "count") == [34 | 1 << 16 | 1 << 18] * 100


def test_shared_memory_holds_rubbish(run: Run) -> None:
    assert output(run, "rubbish") == [0xA5A5A5A5] * 6


def test_atomics_lose_nothing(run: Run) -> None:
    assert output(run, "sum") == [499_500]


def test_bytes_are_permuted(run: Run) -> None:
    assert output(run, "permute") == [0x33221100, 0x77665544, 0x00112233, 0x44007711]


@pytest.mark.parametrize("name", ["too-many-threads", "no-block"])
def test_a_launch_that_no_gpu_takes_is_refused(run: Run, name: str) -> None:
    assert run(name).returncode == INVALID_CONFIGURATION
