"""Runs of one network side by side, each in a thread of its own: more images a second on a CPU.

Threads that share one inference wait for one another at the end of every layer, and for whoever
else needs a core. As many inferences of one thread each do not: each takes longer, and together
they finish more.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from edgecv.runtime.session import Outputs


class SideBySide:
    """Threads that run a network.

    Args:
        count: runs at the same time.

    """

    def __init__(self, count: int) -> None:
        """Start no thread before the first run."""
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="edgecv-run")
        self._idle = threading.Semaphore(count)

    def start(self, names: Sequence[str], run: Callable[[], Outputs]) -> Outputs:
        """Start a run, as soon as a thread is idle.

        Args:
            names: of its outputs.
            run: returns them.

        Returns:
            Outputs that are under way; who looks at one waits for all of them.

        """
        self._idle.acquire()
        try:
            future = self._threads.submit(run)
        except BaseException:
            self._idle.release()
            raise
        future.add_done_callback(lambda _: self._idle.release())
        return _Answer(names, future)

    def close(self) -> None:
        """Wait for the runs that are under way, and end the threads."""
        self._threads.shutdown()


class _Answer(Mapping[str, NDArray[Any]]):
    """Outputs that are under way, or why there are none."""

    def __init__(self, names: Sequence[str], future: "Future[Outputs]") -> None:
        self._names, self._future = names, future

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._future.result()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
