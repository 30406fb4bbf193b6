"""CUDA's driver, as far as timing layers goes, on a machine without one."""

from collections.abc import Iterator
from contextlib import contextmanager


class FakeDriver:
    """Hands out made-up addresses and notes what comes back."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.freed: list[str] = []

    @contextmanager
    def memory(self, num_bytes: int) -> Iterator[int]:
        self.taken.append(f"{num_bytes} bytes")
        yield 4096
        self.freed.insert(0, f"{num_bytes} bytes")

    @contextmanager
    def stream(self) -> Iterator[int]:
        self.taken.append("stream")
        yield 7
        self.freed.insert(0, "stream")

    def wait(self, stream: int) -> None:
        assert stream == 7
