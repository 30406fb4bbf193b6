"""Memory, streams and graphs of where a network runs, behind one small protocol.

What moves frames in and results out (`edgecv.runtime.transfers`) and what runs a network between
them speak to a `Device`. `HostDevice` is the processor: everything happens at once, so that a
stream has nothing to order and an event nothing to wait for.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecv.kernels.cuda.arrays import AnyDeviceArray

Work: TypeAlias = Callable[[], None]


class Stream(Protocol):
    """Work on a device that is done in the order in which it was handed over."""

    def wait_event(self, event: Any) -> None:  # noqa: ANN401  # the device's own
        """Let later work wait for an event of the same device; who calls does not."""


class Event(Protocol):
    """A place in a stream. One that was never recorded has always happened."""

    def record(self, stream: Any) -> None:  # noqa: ANN401  # the device's own
        """Move to the end of what the stream has been handed so far."""

    def synchronize(self) -> None:
        """Wait until everything before it is done."""


class Device(Protocol):
    """Where a network runs. Its methods may be called from any thread."""

    @property
    def name(self) -> str:
        """For people, such as `cpu` or `cuda (NVIDIA H100)`."""

    def host_buffer(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return (num_bytes,) of the host's memory that the device copies without help of a CPU."""

    def buffer(self, num_bytes: int) -> AnyDeviceArray:
        """Return (num_bytes,) uint8 of the device's memory, uninitialised."""

    def view(
        self, buffer: AnyDeviceArray, offset: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> AnyDeviceArray:
        """Return a part of a buffer as an array in C order, without a copy.

        Args:
            buffer: what `buffer` returned.
            offset: of the first element in bytes, a multiple of its size.
            shape: of the part.
            dtype: of its elements.

        """

    def stream(self) -> Stream:
        """Return a new stream."""

    def event(self) -> Event:
        """Return a new event."""

    def copy(self, target: AnyDeviceArray, source: AnyDeviceArray, stream: Any) -> None:  # noqa: ANN401
        """Copy on a stream, converting the elements if their types differ.

        Args:
            target: of the device, or part of a `host_buffer`.
            source: likewise, of the same shape.
            stream: the device's.

        """

    def launch(self, work: Work, stream: Any) -> None:  # noqa: ANN401
        """Call `work` so that what it starts on the device belongs to `stream`."""

    def captured(self, work: Work, stream: Any) -> Work:  # noqa: ANN401
        """Return a call that does on `stream` what `work` does, at the cost of one launch.

        `work` is called a few times first. What it reads and writes stays where it is: later calls
        find new values there.

        Raises:
            DeviceError: if the work cannot be captured, such as work that waits for the device.

        """

    def synchronize(self) -> None:
        """Wait until everything that was handed over is done."""


class _Nothing:
    """A stream that is always done, and an event that has always happened."""

    def wait_event(self, event: object) -> None:
        """Do nothing."""

    def record(self, stream: object) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""


class HostDevice:
    """The processor, with NumPy's arrays, see `Device`."""

    name = "cpu"

    def host_buffer(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return memory."""
        return np.empty(num_bytes, np.uint8)

    def buffer(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return memory."""
        return np.empty(num_bytes, np.uint8)

    def view(
        self, buffer: NDArray[np.uint8], offset: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """Return a part of a buffer."""
        return np.ndarray(shape, dtype, buffer=buffer, offset=offset)

    def stream(self) -> Stream:
        """Return a stream that is always done."""
        return _Nothing()

    def event(self) -> Event:
        """Return an event that has always happened."""
        return _Nothing()

    def copy(self, target: NDArray[Any], source: NDArray[Any], stream: object) -> None:
        """Copy."""
        del stream
        np.copyto(target, source, casting="same_kind")

    def launch(self, work: Work, stream: object) -> None:
        """Call it."""
        del stream
        work()

    def captured(self, work: Work, stream: object) -> Work:
        """Return the work itself."""
        del stream
        return work

    def synchronize(self) -> None:
        """Do nothing."""
