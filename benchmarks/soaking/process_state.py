"""What this process holds at a moment: memory, descriptors, threads, children; Linux alone."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ProcessState:
    """What a process holds.

    Args:
        rss_bytes: resident memory.
        num_descriptors: open files, sockets and pipes.
        num_threads: of the kernel, native ones too.
        python_threads: names of Python's threads.
        children: ids of processes that this one began and that are still there.

    """

    rss_bytes: int
    num_descriptors: int
    num_threads: int
    python_threads: tuple[str, ...]
    children: tuple[int, ...]

    @classmethod
    def now(cls) -> "ProcessState":
        """Look at this process."""
        tasks = list(Path("/proc/self/task").iterdir())
        return cls(
            rss_bytes=rss_bytes(),
            num_descriptors=len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208  # itself is one
            num_threads=len(tasks),
            python_threads=tuple(sorted(thread.name for thread in threading.enumerate())),
            children=tuple(sorted(child for task in tasks for child in _children(task))),
        )


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def settled(
    is_settled: Callable[[ProcessState], bool], *, turns: int = 200, turn_s: float = 0.1
) -> ProcessState:
    """Return the state as soon as `is_settled`, or the last after so many turns.

    A thread that FFmpeg holds ends with FFmpeg's own timeout, some seconds later.
    """
    pause = threading.Event()
    state = ProcessState.now()
    for _ in range(turns):
        if is_settled(state):
            break
        pause.wait(turn_s)
        state = ProcessState.now()
    return state


def _children(task: Path) -> list[int]:
    try:
        return [int(word) for word in (task / "children").read_text().split()]
    except OSError:  # the thread has ended meanwhile
        return []
