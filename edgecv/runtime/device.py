"""Memory, streams and graphs of where a network runs, behind one small protocol.

What moves frames in and results out (`edgecv.runtime.transfers`) and what runs a network between
them speak to a `Device`. `HostDevice` is the processor: everything happens at once, so that a
stream has nothing to order and an event nothing to wait for.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecv.errors import DeviceError
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

    def host_buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        """Return (num_bytes,) of the host's memory that the device copies without help of a CPU.

        Raises:
            DeviceError: if there is not as much; the message says how much was asked for what.

        """

    def buffer(self, num_bytes: int, purpose: str) -> AnyDeviceArray:
        """Return (num_bytes,) uint8 of the device's memory, uninitialised, aligned to 256 bytes.

        Args:
            num_bytes: at least 1.
            purpose: what it is for, such as `frames on their way up`.

        Raises:
            DeviceError: if there is not as much; the message says how much was asked for what.

        """

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

    def address(self, array: AnyDeviceArray) -> int:
        """Return where an array of the device begins, for libraries that take numbers."""

    def stream(self) -> Stream:
        """Return a new stream."""

    def handle(self, stream: Any) -> int:  # noqa: ANN401  # the device's own
        """Return the number that libraries know a stream by."""

    def event(self) -> Event:
        """Return a new event."""

    def copy(self, target: AnyDeviceArray, source: AnyDeviceArray, stream: Any) -> None:  # noqa: ANN401
        """Copy on a stream, converting the elements if their types differ.

        Args:
            target: of the device, or part of a `host_buffer`.
            source: likewise, of the same shape.
            stream: the device's.

        """

    def fill(self, target: AnyDeviceArray, value: float, stream: Any) -> None:  # noqa: ANN401
        """Set all elements of an array without waiting; the value travels in the launch.

        Args:
            target: of the device, elements of 1, 2 or 4 bytes.
            value: as the array's type has it.
            stream: that does it.

        """

    def launch(self, work: Work, stream: Any) -> None:  # noqa: ANN401
        """Call `work` so that what it starts on the device belongs to `stream`."""

    def captured(self, work: Work, stream: Any) -> Work:  # noqa: ANN401
        """Return a call that does on `stream` what `work` does, at the cost of one launch.

        `work` is called a few times first. What it reads and writes stays where it is: later calls
        find new values there.

        Raises:
            CaptureError: if the work can be done, and not captured.

        """

    def synchronize(self) -> None:
        """Wait until everything that was handed over is done."""


class CaptureError(DeviceError):
    """Work cannot be captured into a graph, such as work that waits for the device."""


def no_room(num_bytes: int, purpose: str, free: str) -> DeviceError:
    """Return the error for memory that a device does not have.

    Args:
        num_bytes: that were asked for.
        purpose: what they were for.
        free: how much there is, in words.

    """
    return DeviceError(
        f"there is no room for {num_bytes} bytes of {purpose}: {free}. Close what else uses the "
        "device, or take a smaller batch or model."
    )


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

    def host_buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        """Return memory."""
        return self.buffer(num_bytes, purpose)

    def buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        """Return memory."""
        try:
            return np.empty(num_bytes, np.uint8)
        except MemoryError as error:
            raise no_room(num_bytes, purpose, "the system refuses so much") from error

    def view(
        self, buffer: NDArray[np.uint8], offset: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """Return a part of a buffer."""
        return np.ndarray(shape, dtype, buffer=buffer, offset=offset)

    def address(self, array: NDArray[Any]) -> int:
        """Return where an array begins."""
        return int(array.ctypes.data)

    def stream(self) -> Stream:
        """Return a stream that is always done."""
        return _Nothing()

    def handle(self, stream: object) -> int:
        """Return the default stream's number: there is no other."""
        del stream
        return 0

    def event(self) -> Event:
        """Return an event that has always happened."""
        return _Nothing()

    def copy(self, target: NDArray[Any], source: NDArray[Any], stream: object) -> None:
        """Copy."""
        del stream
        np.copyto(target, source, casting="same_kind")

    def fill(self, target: NDArray[Any], value: float, stream: object) -> None:
        """Set all elements."""
        del stream
        target[...] = value

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
