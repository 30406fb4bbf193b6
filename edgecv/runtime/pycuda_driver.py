"""CUDA's driver through PyCUDA, in the primary context and not in PyCUDA's own.

PyCUDA has no CUDA graphs: those are made with the driver itself, of PyCUDA's streams.

Source: documen.tician.de/pycuda/driver.html
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from edgecv.errors import DeviceError, MissingDependencyError
from edgecv.runtime.cuda_driver import ASLEEP, NON_BLOCKING, OutOfMemoryError, Place, Resource
from edgecv.runtime.libcuda_driver import LibcudaDriver


class PycudaDriver:
    """PyCUDA, see `edgecv.runtime.cuda_driver.Driver`."""

    name = "PyCUDA"

    def __init__(self) -> None:
        """Join the primary context of the first GPU.

        Raises:
            MissingDependencyError: if PyCUDA is not installed.
            DeviceError: if there is no driver or no GPU.

        """
        try:
            self._cuda: Any = import_module("pycuda.driver")
        except (ImportError, OSError) as error:
            raise MissingDependencyError(
                f"PyCUDA cannot be loaded: {error}. `pip install pycuda` builds it with the CUDA "
                "toolkit."
            ) from error
        with self._translated():
            self._cuda.init()
            device = self._cuda.Device(0)
            self.gpu = str(device.name())
            self._context = device.retain_primary_context()
        self._graphs, self._thread = LibcudaDriver(), threading.get_ident()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the primary context that of this thread, as PyCUDA knows it too."""
        with self._translated():
            self._context.push()
            try:
                yield
            finally:
                self._cuda.Context.pop()

    def leave(self) -> None:
        """Give the primary context back, which PyCUDA and the driver itself hold once each."""
        # Without `detach`, PyCUDA's destructor takes it for a context of its own. From the thread
        # that made it, `detach` leaves it current; from any other it gives nothing back.
        self._context.detach()
        if threading.get_ident() == self._thread:
            self._graphs.pop()
        else:
            self._graphs.leave()
        self._graphs.leave()

    def allocate(self, num_bytes: int) -> Resource:
        """Return memory of the device."""
        with self._translated():
            memory = self._cuda.mem_alloc(num_bytes)
        return Resource(int(memory), memory)

    def free(self, memory: Resource) -> None:
        """Give memory of the device back."""
        memory.owner.free()

    def allocate_host(self, num_bytes: int) -> Resource:
        """Return page-locked memory of the host."""
        flags = int(self._cuda.host_alloc_flags.PORTABLE)
        with self._translated():
            array = self._cuda.pagelocked_empty((num_bytes,), np.uint8, mem_flags=flags)
        return Resource(int(array.ctypes.data), array)

    def free_host(self, memory: Resource) -> None:
        """Give page-locked memory back."""
        memory.owner.base.free()

    def free_bytes(self) -> int:
        """Return how much memory of the device nobody uses."""
        free, _total = self._cuda.mem_get_info()
        return int(free)

    def create_stream(self) -> Resource:
        """Return a stream that does not wait for the default one."""
        stream = self._cuda.Stream(NON_BLOCKING)
        return Resource(int(stream.handle), stream)

    def destroy_stream(self, stream: Resource) -> None:
        """Leave a stream to PyCUDA, which destroys it with its object, while the context is on."""
        stream.owner = None

    def wait_for_stream(self, stream: Resource) -> None:
        """Wait until everything that a stream was handed is done."""
        stream.owner.synchronize()

    def create_event(self) -> Resource:
        """Return an event for which a thread waits asleep."""
        return Resource(0, self._cuda.Event(ASLEEP))

    def destroy_event(self, event: Resource) -> None:
        """Leave an event to PyCUDA."""
        event.owner = None

    def record(self, event: Resource, stream: Resource) -> None:
        """Move an event to the end of a stream."""
        event.owner.record(stream.owner)

    def wait_for_event(self, event: Resource) -> None:
        """Wait until an event has happened."""
        event.owner.synchronize()

    def let_wait(self, stream: Resource, event: Resource) -> None:
        """Let later work of a stream wait for an event."""
        stream.owner.wait_for_event(event.owner)

    def copy(self, target: Place, source: Place, num_bytes: int, stream: Resource) -> None:
        """Copy without waiting."""
        if isinstance(source, np.ndarray):
            self._cuda.memcpy_htod_async(target, source, stream.owner)
        elif isinstance(target, np.ndarray):
            self._cuda.memcpy_dtoh_async(target, source, stream.owner)
        else:
            self._cuda.memcpy_dtod_async(target, source, num_bytes, stream.owner)

    def fill(self, address: int, bits: int, size: int, count: int, stream: Resource) -> None:
        """Write the same bytes many times."""
        function = getattr(self._cuda, f"memset_d{8 * size}_async")
        function(address, bits, count, stream.owner)

    def begin_capture(self, stream: Resource) -> None:
        """Let a stream take down what it is handed by this thread."""
        self._graphs.begin_capture(stream)

    def end_capture(self, stream: Resource) -> Resource:
        """Return what was taken down, ready to be launched."""
        return self._graphs.end_capture(stream)

    def launch(self, graph: Resource, stream: Resource) -> None:
        """Do on a stream what was taken down."""
        self._graphs.launch(graph, stream)

    def destroy_graph(self, graph: Resource) -> None:
        """Give a graph back."""
        self._graphs.destroy_graph(graph)

    def synchronize(self) -> None:
        """Wait for all streams of the context."""
        self._cuda.Context.synchronize()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise PyCUDA's errors as ours."""
        try:
            yield
        except self._cuda.MemoryError as error:
            raise OutOfMemoryError(f"PyCUDA found no memory left ({error}).") from error
        except self._cuda.Error as error:
            raise DeviceError(
                f"PyCUDA: {error}. `edgecv doctor` tells whether driver and GPU work."
            ) from error
