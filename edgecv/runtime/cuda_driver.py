"""CUDA's driver as far as a session goes: one small interface, whichever library it is reached by.

`edgecv.runtime.driver_device` makes a `Device` of it. Three libraries have it: cuda-python and
PyCUDA, which other parts of a program may use too, and the driver itself through ctypes, which
needs nothing installed. All join the primary context of the first GPU of `CUDA_VISIBLE_DEVICES`,
which TensorRT, our kernels and PyTorch use as well, so that memory and streams can be shared.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from numpy.typing import NDArray

from edgecv.errors import DeviceError

Place: TypeAlias = int | NDArray[Any]  # an address on the device, or a page-locked array

# Of cuda.h; every library hands them through as numbers.
NON_BLOCKING: Final = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
ASLEEP: Final = 1 | 2  # CU_EVENT_BLOCKING_SYNC, CU_EVENT_DISABLE_TIMING
THREAD_LOCAL: Final = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile
SUCCESS: Final = 0
OUT_OF_MEMORY: Final = 2


class OutOfMemoryError(DeviceError):
    """The device, or what the host can lock, has less memory left than was asked for."""


@dataclass(eq=False)
class Resource:
    """Something that the driver made and somebody has to give back.

    Args:
        number: the address of memory, or what CUDA knows a stream by.
        owner: the library's own object, None where it has numbers only.

    """

    number: int
    owner: Any = None


class Driver(Protocol):
    """What is asked of CUDA. All but `active` and `leave` are called inside of `active`.

    Every method raises `DeviceError` if CUDA refuses.
    """

    name: str
    """The library, for people."""

    gpu: str
    """The name of the GPU."""

    def active(self) -> AbstractContextManager[None]:
        """Make the primary context that of this thread, for as long as the `with` lasts."""

    def leave(self) -> None:
        """Give the primary context back, after everything that was made in it."""

    def allocate(self, num_bytes: int) -> Resource:
        """Return memory of the device.

        Raises:
            OutOfMemoryError: if it has not as much left.

        """

    def free(self, memory: Resource) -> None:
        """Give memory of the device back; waits for whatever uses it."""

    def allocate_host(self, num_bytes: int) -> Resource:
        """Return page-locked memory of the host.

        Raises:
            OutOfMemoryError: if so much cannot be locked.

        """

    def free_host(self, memory: Resource) -> None:
        """Give page-locked memory back."""

    def free_bytes(self) -> int:
        """Return how much memory of the device nobody uses."""

    def create_stream(self) -> Resource:
        """Return a stream that does not wait for the default one."""

    def destroy_stream(self, stream: Resource) -> None:
        """Give a stream back; what it was handed is still done."""

    def wait_for_stream(self, stream: Resource) -> None:
        """Wait until everything that a stream was handed is done."""

    def create_event(self) -> Resource:
        """Return an event for which a thread waits asleep: its core decodes meanwhile."""

    def destroy_event(self, event: Resource) -> None:
        """Give an event back."""

    def record(self, event: Resource, stream: Resource) -> None:
        """Move an event to the end of a stream."""

    def wait_for_event(self, event: Resource) -> None:
        """Wait until an event has happened."""

    def let_wait(self, stream: Resource, event: Resource) -> None:
        """Let later work of a stream wait for an event."""

    def copy(self, target: Place, source: Place, num_bytes: int, stream: Resource) -> None:
        """Copy without waiting, at least one of the two on the device."""

    def fill(self, address: int, bits: int, size: int, count: int, stream: Resource) -> None:
        """Write `count` times the same 1, 2 or 4 bytes, without waiting."""

    def begin_capture(self, stream: Resource) -> None:
        """Let a stream take down what it is handed by this thread instead of doing it."""

    def end_capture(self, stream: Resource) -> Resource:
        """Return what was taken down, ready to be launched; the stream works again in any case."""

    def launch(self, graph: Resource, stream: Resource) -> None:
        """Do on a stream what was taken down."""

    def destroy_graph(self, graph: Resource) -> None:
        """Give a graph back."""

    def synchronize(self) -> None:
        """Wait for all streams of the context."""


def refuse(library: str, function: str, code: int, name: str) -> DeviceError:
    """Return the error for what CUDA did not do.

    Args:
        library: that was asked.
        function: of the driver.
        code: what it returned.
        name: of the code.

    """
    if code == OUT_OF_MEMORY:
        return OutOfMemoryError(f"CUDA's {function} found no memory left. Close other programs.")
    return DeviceError(
        f"CUDA's {function} failed with {name} ({code}), called through {library}. "
        "`edgecv doctor` tells whether driver and GPU work."
    )
