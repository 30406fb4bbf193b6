"""CUDA's driver through ctypes: needs nothing but what NVIDIA's driver installs.

Source: CUDA Driver API, docs.nvidia.com/cuda/cuda-driver-api, and cuda.h for the versions of
functions, which are those that a program built with CUDA 12 calls.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_ushort, c_void_p
from typing import Final

import numpy as np

from edgecv.errors import DeviceError
from edgecv.runtime.cuda_driver import (
    ASLEEP,
    NON_BLOCKING,
    SUCCESS,
    THREAD_LOCAL,
    Place,
    Resource,
    refuse,
)

_LIBRARY = "libcuda.so.1"
_LONGEST_NAME = 256
_PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE: page-locked for every context
_FILLS: Final = {1: ("cuMemsetD8Async", c_ubyte), 2: ("cuMemsetD16Async", c_ushort)}
_FILL_OF_FOUR: Final = ("cuMemsetD32Async", c_uint)


class LibcudaDriver:
    """The driver itself, see `edgecv.runtime.cuda_driver.Driver`."""

    name = "CUDA's driver"

    def __init__(self) -> None:
        """Join the primary context of the first GPU.

        Raises:
            DeviceError: if there is no driver or no GPU.

        """
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise DeviceError(
                f"there is no NVIDIA driver here ({_LIBRARY}). Install one, or start the container "
                "with `--gpus all` (on a Jetson `--runtime nvidia`)."
            ) from error
        self._device, self._context = c_int(), c_void_p()
        self._call("cuInit", c_uint(0))
        self._call("cuDeviceGet", byref(self._device), c_int(0))
        name = ctypes.create_string_buffer(_LONGEST_NAME)
        self._call("cuDeviceGetName", name, c_int(_LONGEST_NAME), self._device)
        self.gpu = name.value.decode("utf-8", errors="replace")
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the primary context that of this thread."""
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self.pop()

    def pop(self) -> None:
        """Let the context that was current before this one be so again."""
        self._call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def leave(self) -> None:
        """Give the primary context back."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def allocate(self, num_bytes: int) -> Resource:
        """Return memory of the device."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(num_bytes))
        return Resource(address.value)

    def free(self, memory: Resource) -> None:
        """Give memory of the device back."""
        self._call("cuMemFree_v2", c_uint64(memory.number))

    def allocate_host(self, num_bytes: int) -> Resource:
        """Return page-locked memory of the host."""
        address = c_void_p()
        self._call("cuMemHostAlloc", byref(address), c_size_t(num_bytes), c_uint(_PORTABLE))
        return Resource(address.value or 0)

    def free_host(self, memory: Resource) -> None:
        """Give page-locked memory back."""
        self._call("cuMemFreeHost", c_void_p(memory.number))

    def free_bytes(self) -> int:
        """Return how much memory of the device nobody uses."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def create_stream(self) -> Resource:
        """Return a stream that does not wait for the default one."""
        return self._created("cuStreamCreate", NON_BLOCKING)

    def destroy_stream(self, stream: Resource) -> None:
        """Give a stream back."""
        self._call("cuStreamDestroy_v2", c_void_p(stream.number))

    def wait_for_stream(self, stream: Resource) -> None:
        """Wait until everything that a stream was handed is done."""
        self._call("cuStreamSynchronize", c_void_p(stream.number))

    def create_event(self) -> Resource:
        """Return an event for which a thread waits asleep."""
        return self._created("cuEventCreate", ASLEEP)

    def destroy_event(self, event: Resource) -> None:
        """Give an event back."""
        self._call("cuEventDestroy_v2", c_void_p(event.number))

    def record(self, event: Resource, stream: Resource) -> None:
        """Move an event to the end of a stream."""
        self._call("cuEventRecord", c_void_p(event.number), c_void_p(stream.number))

    def wait_for_event(self, event: Resource) -> None:
        """Wait until an event has happened."""
        self._call("cuEventSynchronize", c_void_p(event.number))

    def let_wait(self, stream: Resource, event: Resource) -> None:
        """Let later work of a stream wait for an event."""
        self._call("cuStreamWaitEvent", c_void_p(stream.number), c_void_p(event.number), c_uint(0))

    def copy(self, target: Place, source: Place, num_bytes: int, stream: Resource) -> None:
        """Copy without waiting."""
        places = [c_uint64(address_of(place)) for place in (target, source)]
        self._call("cuMemcpyAsync", *places, c_size_t(num_bytes), c_void_p(stream.number))

    def fill(self, address: int, bits: int, size: int, count: int, stream: Resource) -> None:
        """Write the same bytes many times."""
        function, kind = _FILLS.get(size, _FILL_OF_FOUR)
        self._call(
            function, c_uint64(address), kind(bits), c_size_t(count), c_void_p(stream.number)
        )

    def begin_capture(self, stream: Resource) -> None:
        """Let a stream take down what it is handed by this thread."""
        self._call("cuStreamBeginCapture_v2", c_void_p(stream.number), c_int(THREAD_LOCAL))

    def end_capture(self, stream: Resource) -> Resource:
        """Return what was taken down, ready to be launched."""
        graph, ready = c_void_p(), c_void_p()
        self._call("cuStreamEndCapture", c_void_p(stream.number), byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", byref(ready), graph, c_uint64(0))
        finally:
            self._call("cuGraphDestroy", graph)
        return Resource(ready.value or 0)

    def launch(self, graph: Resource, stream: Resource) -> None:
        """Do on a stream what was taken down."""
        self._call("cuGraphLaunch", c_void_p(graph.number), c_void_p(stream.number))

    def destroy_graph(self, graph: Resource) -> None:
        """Give a graph back."""
        self._call("cuGraphExecDestroy", c_void_p(graph.number))

    def synchronize(self) -> None:
        """Wait for all streams of the context."""
        self._call("cuCtxSynchronize")

    def _created(self, function: str, flags: int) -> Resource:
        handle = c_void_p()
        self._call(function, byref(handle), c_uint(flags))
        return Resource(handle.value or 0)

    def _call(self, function: str, *arguments: object) -> None:
        """Call a function; every argument has the type that cuda.h declares."""
        code = int(getattr(self._library, function)(*arguments))
        if code != SUCCESS:
            name = c_char_p()
            self._library.cuGetErrorName(c_int(code), byref(name))
            words = (name.value or b"an unknown error").decode()
            raise refuse(self.name, function, code, words)


def address_of(place: Place) -> int:
    """Return where something lies, which under unified addressing tells the side too."""
    return int(place.ctypes.data) if isinstance(place, np.ndarray) else place
