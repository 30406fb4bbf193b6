"""An NVIDIA GPU through CUDA's driver, as a `edgecv.runtime.device.Device`."""

import weakref
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecv.errors import DeviceError
from edgecv.runtime.cuda_driver import Driver, OutOfMemoryError, Resource
from edgecv.runtime.device import CaptureError, Work, no_room

_UINTS = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class Owned:
    """Something of the driver's that is given back when nobody refers to it any more.

    It keeps the device alive, and with it the context that it was made in.
    """

    def __init__(
        self, device: "DriverDevice", resource: Resource, give_back: Callable[[Resource], None]
    ) -> None:
        """Hold `resource`, which `give_back` takes in the context of the device."""
        self.device = device
        self.resource = resource
        weakref.finalize(self, _give_back, device.driver, resource, give_back).atexit = False


class GpuArray:
    """A C-contiguous array in a GPU's memory, for whoever knows `__cuda_array_interface__`."""

    def __init__(
        self, memory: Owned, pointer: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        """Look at a part of `memory`, which lives as long as this."""
        self._memory = memory
        self.pointer = pointer
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def nbytes(self) -> int:
        """Of all elements together."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; no stream: who uses the array has ordered the work on it."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "GpuArray":
        """Return some of the first axis, which follow each other."""
        begin, end, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"GpuArray: a slice must have the step 1, got {step}.")
        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        shape = (max(0, end - begin), *self.shape[1:])
        return self.part(begin * row_bytes, shape, self.dtype)

    def part(self, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> "GpuArray":
        """Return what lies `offset` bytes from the beginning."""
        return GpuArray(self._memory, self.pointer + offset, shape, dtype)


class DriverStream(Owned):
    """A stream, see `edgecv.runtime.device.Stream`."""

    def wait_event(self, event: "DriverEvent") -> None:
        """Let later work wait for an event."""
        with self.device.driver.active():
            self.device.driver.let_wait(self.resource, event.resource)


class DriverEvent(Owned):
    """An event, see `edgecv.runtime.device.Event`."""

    def record(self, stream: DriverStream) -> None:
        """Move to the end of a stream."""
        with self.device.driver.active():
            self.device.driver.record(self.resource, stream.resource)

    def synchronize(self) -> None:
        """Wait until everything before it is done."""
        with self.device.driver.active():
            self.device.driver.wait_for_event(self.resource)


_Side: TypeAlias = GpuArray | NDArray[Any]


class DriverDevice:
    """The first GPU of CUDA_VISIBLE_DEVICES, see `edgecv.runtime.device.Device`."""

    def __init__(self, driver: Driver) -> None:
        """Take over a driver, which leaves its context when nothing of this device is left."""
        self.driver = driver
        self.name = f"cuda ({driver.gpu})"
        weakref.finalize(self, _leave, driver).atexit = False

    def host_buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        """Return page-locked memory: only from there does a copy leave the processor alone."""
        with self.driver.active():
            try:
                memory = self.driver.allocate_host(num_bytes)
            except OutOfMemoryError as error:
                free = "the host cannot lock as much memory"
                raise no_room(num_bytes, purpose, free) from error
        return np.asarray(_HostMemory(self, memory, num_bytes, self.driver.free_host))

    def buffer(self, num_bytes: int, purpose: str) -> GpuArray:
        """Return memory of the GPU."""
        with self.driver.active():
            try:
                memory = self.driver.allocate(num_bytes)
            except OutOfMemoryError as error:
                free = f"{self.name} has {self.driver.free_bytes()} left"
                raise no_room(num_bytes, purpose, free) from error
        owned = Owned(self, memory, self.driver.free)
        return GpuArray(owned, memory.number, (num_bytes,), np.uint8)

    def view(
        self, buffer: GpuArray, offset: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> GpuArray:
        """Return a part of a buffer."""
        return buffer.part(offset, shape, dtype)

    def address(self, array: GpuArray) -> int:
        """Return where an array begins."""
        return array.pointer

    def stream(self) -> DriverStream:
        """Return a stream beside the default one, which every other would wait for."""
        with self.driver.active():
            return DriverStream(self, self.driver.create_stream(), self.driver.destroy_stream)

    def handle(self, stream: DriverStream) -> int:
        """Return CUDA's number of a stream."""
        return stream.resource.number

    def event(self) -> DriverEvent:
        """Return an event for which a thread waits asleep."""
        with self.driver.active():
            return DriverEvent(self, self.driver.create_event(), self.driver.destroy_event)

    def copy(self, target: _Side, source: _Side, stream: DriverStream) -> None:
        """Copy without waiting; NumPy's arrays must be page-locked."""
        if target.nbytes != source.nbytes or target.dtype != source.dtype:
            raise ValueError(
                f"DriverDevice.copy: `target` must be {source.dtype} of {source.nbytes} bytes as "
                f"the source is, got {target.dtype} of {target.nbytes}."
            )
        with self.driver.active():
            self.driver.copy(_place(target), _place(source), source.nbytes, stream.resource)

    def fill(self, target: GpuArray, value: float, stream: DriverStream) -> None:
        """Set all elements without waiting."""
        size = target.dtype.itemsize
        bits = int(np.array(value, target.dtype).view(_UINTS[size]))
        with self.driver.active():
            self.driver.fill(target.pointer, bits, size, prod(target.shape), stream.resource)

    def launch(self, work: Work, stream: DriverStream) -> None:
        """Call `work` in the context; it names the stream itself."""
        del stream
        with self.driver.active():
            work()

    def captured(self, work: Work, stream: DriverStream) -> Work:
        """Return a replay of `work` as a CUDA graph, after it was done once as it is."""
        with self.driver.active():
            work()
            self.driver.wait_for_stream(stream.resource)
            try:
                graph = self._taken_down(work, stream)
            except DeviceError as error:
                reason = str(error).partition(". ")[0].rstrip(".")
                raise CaptureError(f"CUDA cannot capture this network: {reason}.") from error
        owned = Owned(self, graph, self.driver.destroy_graph)

        def replay() -> None:
            with self.driver.active():
                self.driver.launch(owned.resource, stream.resource)

        return replay

    def synchronize(self) -> None:
        """Wait for all streams of the context."""
        with self.driver.active():
            self.driver.synchronize()

    def _taken_down(self, work: Work, stream: DriverStream) -> Resource:
        self.driver.begin_capture(stream.resource)
        try:
            work()
        except BaseException:
            with suppress(DeviceError):  # the stream leaves capturing; the first error is told
                self.driver.destroy_graph(self.driver.end_capture(stream.resource))
            raise
        return self.driver.end_capture(stream.resource)


class _HostMemory(Owned):
    """Page-locked memory, which NumPy's views of it keep alive."""

    def __init__(
        self,
        device: DriverDevice,
        resource: Resource,
        num_bytes: int,
        give_back: Callable[[Resource], None],
    ) -> None:
        super().__init__(device, resource, give_back)
        self.__array_interface__ = {
            "shape": (num_bytes,),
            "typestr": "|u1",
            "data": (resource.number, False),
            "version": 3,
        }


def _place(side: _Side) -> int | NDArray[Any]:
    return side if isinstance(side, np.ndarray) else side.pointer


def _give_back(driver: Driver, resource: Resource, how: Callable[[Resource], None]) -> None:
    with suppress(DeviceError), driver.active():  # a device that has failed frees nothing
        how(resource)


def _leave(driver: Driver) -> None:
    with suppress(DeviceError):
        driver.leave()
