"""A device whose streams run late and in any order that its events allow, on this processor."""

import random
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecv.runtime.device import CaptureError, HostDevice, Work, no_room

_RUBBISH = 0xA5
_ALIGNMENT = 256
_FIRST_HANDLE = 0x5700  # of a stream: no address, and not the default one


def aligned(num_bytes: int) -> NDArray[np.uint8]:
    """Return rubbish that begins where a GPU's memory could."""
    room = np.full(num_bytes + _ALIGNMENT, _RUBBISH, np.uint8)
    begin = -room.ctypes.data % _ALIGNMENT
    return room[begin : begin + num_bytes]


class SimulatedEvent:
    def __init__(self, device: "SimulatedDevice") -> None:
        self._device = device
        self.num_recorded = 0
        self.num_happened = 0

    def record(self, stream: "SimulatedStream") -> None:
        with self._device.lock:
            self.num_recorded += 1
            number = self.num_recorded

            def happen() -> None:
                self.num_happened = max(self.num_happened, number)

            stream.enqueue(happen)

    def synchronize(self) -> None:
        with self._device.lock:
            wanted = self.num_recorded
            self._device.run_until(lambda: self.num_happened >= wanted)


class SimulatedStream:
    def __init__(self, device: "SimulatedDevice") -> None:
        self._device = device
        self.queue: deque[tuple[Callable[[], bool], Work]] = deque()

    def enqueue(self, work: Work, is_ready: Callable[[], bool] = lambda: True) -> None:
        with self._device.lock:
            self.queue.append((is_ready, work))
            self._device.run_some()

    def wait_event(self, event: SimulatedEvent) -> None:
        with self._device.lock:
            wanted = event.num_recorded
            self.enqueue(lambda: None, lambda: event.num_happened >= wanted)


class SimulatedDevice:
    """Work is done when somebody waits for it, or now and then, as `seed` has it.

    New memory holds rubbish; `log` says when it is given back. `captures` says whether work can be
    captured.
    """

    name = "simulated"

    def __init__(self, seed: int, *, captures: bool = True) -> None:
        self.lock = threading.RLock()
        self._random = random.Random(seed)  # noqa: S311
        self.streams: list[SimulatedStream] = []
        self._host = HostDevice()
        self._captures = captures
        self.num_bytes_left: int | None = None
        self.num_bytes_taken: list[int] = []
        self.log: list[str] = []
        self._captured: list[Work] | None = None
        self._running: SimulatedStream | None = None
        self.num_copied = {"up": 0, "down": 0, "within": 0}
        self._host_buffers: list[NDArray[np.uint8]] = []

    def host_buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        assert purpose
        self._host_buffers.append(np.full(num_bytes, _RUBBISH, np.uint8))
        return self._host_buffers[-1]

    def buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        assert purpose
        if self.num_bytes_left is not None:
            if num_bytes > self.num_bytes_left:
                raise no_room(num_bytes, purpose, f"it has {self.num_bytes_left} left")
            self.num_bytes_left -= num_bytes
        self.num_bytes_taken.append(num_bytes)
        memory = aligned(num_bytes)
        weakref.finalize(memory.base, self.log.append, "~memory").atexit = False
        return memory

    def view(
        self, buffer: NDArray[np.uint8], offset: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        return self._host.view(buffer, offset, shape, dtype)

    def address(self, array: NDArray[Any]) -> int:
        return int(array.ctypes.data)

    def stream(self) -> SimulatedStream:
        self.streams.append(SimulatedStream(self))
        return self.streams[-1]

    def handle(self, stream: SimulatedStream) -> int:
        return _FIRST_HANDLE + self.streams.index(stream)

    def stream_of(self, handle: int) -> SimulatedStream:
        return self.streams[handle - _FIRST_HANDLE]

    def event(self) -> SimulatedEvent:
        return SimulatedEvent(self)

    def copy(self, target: NDArray[Any], source: NDArray[Any], stream: SimulatedStream) -> None:
        is_host = [
            any(np.shares_memory(array, buffer) for buffer in self._host_buffers)
            for array in (target, source)
        ]
        kind = "down" if is_host[0] else "up" if is_host[1] else "within"
        self.num_copied[kind] += source.nbytes
        stream.enqueue(lambda: self._host.copy(target, source, None))

    def fill(self, target: NDArray[Any], value: float, stream: SimulatedStream) -> None:
        stream.enqueue(lambda: self._host.fill(target, value, None))

    def launch(self, work: Work, stream: SimulatedStream) -> None:
        stream.enqueue(work)

    def captured(self, work: Work, stream: SimulatedStream) -> Work:
        self.synchronize()
        work()
        if not self._captures:
            raise CaptureError("the network waits for the device.")
        with self.lock:
            taken_down = self._captured = []
            work()
            self._captured = None

        def replay() -> None:
            for piece in taken_down or [work]:
                stream.enqueue(piece)

        return replay

    def submit(self, handle: int, work: Work) -> None:
        """Do what a library asks of a stream by its number: when its turn comes, or taken down."""
        with self.lock:
            if self._captured is not None:
                self._captured.append(work)
            elif self._running is self.stream_of(handle):
                work()  # its turn is now
            else:
                self.stream_of(handle).enqueue(work)

    def synchronize(self) -> None:
        with self.lock:
            self.run_until(lambda: not any(stream.queue for stream in self.streams))

    def run_some(self) -> None:
        for _ in range(self._random.choice((0, 0, 0, 1, 3))):
            self._step()

    def run_until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            assert self._step(), "the streams wait for each other"

    def _step(self) -> bool:
        """Do one piece of work that may be done now, whichever; False where there is none."""
        ready = [stream for stream in self.streams if stream.queue and stream.queue[0][0]()]
        if not ready:
            return False
        stream = self._random.choice(ready)
        _, work = stream.queue.popleft()
        before, self._running = self._running, stream
        work()
        self._running = before
        return True
