"""Frames to a device and results back, while the network works on what lies between.

Three streams: one uploads, one computes, one downloads. With one for both copies, the upload of
the next frame would queue behind the download of this one, which waits for the network.

Every transfer goes through a slot: a buffer of the host, one of the device, and two events. There
are as many slots as are in flight, at least a pair once a stream runs; what was dropped on the way
gives its slot back, so that nobody ever waits for one.
"""

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.cuda.arrays import AnyDeviceArray
from edgecv.runtime.device import Device, Stream

_ALIGNMENT = 256  # bytes: what memory of a GPU is aligned to, and more than a cache line
_SMALLEST = 4096  # bytes of a slot


class Slot:
    """Buffers of one size on both sides, and what tells when each may be written again.

    Attributes:
        host: (N,) uint8.
        device: (N,) uint8.
        filled: the device's buffer has been written.
        drained: the device's buffer has been read.

    """

    def __init__(self, device: Device, num_bytes: int, purpose: str) -> None:
        """Allocate both buffers."""
        self.host = device.host_buffer(num_bytes, purpose)
        self.device = device.buffer(num_bytes, purpose)
        self.filled = device.event()
        self.drained = device.event()


class SlotPool:
    """Slots that nobody uses; a new one is made where none fits."""

    def __init__(self, device: Device, purpose: str) -> None:
        """Begin without a slot; `purpose` is that of their memory."""
        self._device, self._purpose = device, purpose
        self._free: list[Slot] = []
        self._lock = threading.Lock()
        self.num_slots = 0

    def take(self, num_bytes: int) -> Slot:
        """Return the smallest free slot of at least `num_bytes`."""
        with self._lock:
            fitting = [slot for slot in self._free if len(slot.host) >= num_bytes]
            if fitting:
                slot = min(fitting, key=lambda slot: len(slot.host))
                self._free.remove(slot)
                return slot
            if self._free:  # it is replaced, so that frames of many sizes do not pile up slots
                old = self._free.pop(0)
                self.num_slots -= 1
                for event in (old.filled, old.drained):  # its memory goes back to a pool at once
                    event.synchronize()
            self.num_slots += 1
        # Powers of two: sizes that grow little by little do not allocate each time.
        size = max(_SMALLEST, 1 << (num_bytes - 1).bit_length())
        return Slot(self._device, size, self._purpose)

    def give(self, slot: Slot) -> None:
        """Take a slot back; its buffers may still be in use, as its events tell."""
        self._free.append(slot)  # without the lock: a collector may call this from within `take`


class Staged:
    """Arrays on their way to the device, in a slot that is given back when this is collected.

    Attributes:
        arrays: on the device, in the order in which they were staged.

    """

    def __init__(self, arrays: Sequence[AnyDeviceArray], slot: Slot, pool: SlotPool) -> None:
        """Hold what `Uploads.stage` made."""
        self.arrays = arrays
        self._slot = slot
        weakref.finalize(self, pool.give, slot).atexit = False

    def begin(self, stream: Stream) -> None:
        """Let a stream wait until the arrays are there."""
        stream.wait_event(self._slot.filled)

    def end(self, stream: Stream) -> None:
        """Say that what a stream has been handed so far is all that reads them."""
        self._slot.drained.record(stream)


class Uploads:
    """From the host to the device, on a stream of its own."""

    def __init__(self, device: Device) -> None:
        """Begin without a slot."""
        self._device = device
        self._stream = device.stream()
        self._pool = SlotPool(device, "images on their way to the device")

    def stage(self, arrays: Sequence[NDArray[Any]]) -> Staged:
        """Start the upload of some arrays in one copy; they may be changed as soon as this returns.

        Args:
            arrays: with any strides.

        """
        offsets, total = [], 0
        for array in arrays:
            offsets.append(total)
            total += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        slot = self._pool.take(total)
        slot.filled.synchronize()  # the copy before this may still read the host's buffer
        for array, offset in zip(arrays, offsets, strict=True):
            np.copyto(np.ndarray(array.shape, array.dtype, slot.host, offset), array)
        self._stream.wait_event(slot.drained)  # the network may still read the device's
        self._device.copy(slot.device[:total], slot.host[:total], self._stream)
        slot.filled.record(self._stream)
        views = [
            self._device.view(slot.device, offset, array.shape, array.dtype)
            for array, offset in zip(arrays, offsets, strict=True)
        ]
        return Staged(views, slot, self._pool)


@dataclass(frozen=True)
class OutputLayout:
    """How a network's outputs lie in a buffer of bytes.

    Args:
        names: of the outputs.
        shapes: of each.
        dtypes: of each.
        offsets: of the first byte of each.

    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype[Any], ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[np.dtype[Any]],
        alignment: int = 1,
    ) -> "OutputLayout":
        """Return outputs one behind the other, each at a multiple of `alignment` bytes."""
        offsets, end = [], 0
        for shape, dtype in zip(shapes, dtypes, strict=True):
            offsets.append(-(-end // alignment) * alignment)
            end = offsets[-1] + prod(shape) * dtype.itemsize
        return cls(tuple(names), tuple(shapes), tuple(dtypes), tuple(offsets))

    @property
    def num_bytes(self) -> int:
        """Of all together, up to the last one's end."""
        return max(
            offset + prod(shape) * dtype.itemsize
            for offset, shape, dtype in zip(self.offsets, self.shapes, self.dtypes, strict=True)
        )

    def first(self, num_images: int) -> "OutputLayout":
        """Return where the outputs of the first images lie; every output has an axis of them."""
        shapes = tuple((num_images, *shape[1:]) for shape in self.shapes)
        return replace(self, shapes=shapes)

    def copies(self, packed: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the outputs by name in arrays of their own, float16 as float32."""
        outputs: dict[str, NDArray[Any]] = {}
        for name, shape, dtype, offset in zip(
            self.names, self.shapes, self.dtypes, self.offsets, strict=True
        ):
            kind = np.float32 if dtype == np.float16 else dtype
            outputs[name] = np.ndarray(shape, dtype, packed, offset).astype(kind)
        return outputs


class PendingOutputs(Mapping[str, NDArray[Any]]):
    """The outputs of a run by name; who looks at one waits until they are there."""

    def __init__(self, layout: OutputLayout, slot: Slot, pool: SlotPool) -> None:
        """Hold what `Downloads.fetch` started."""
        self._layout = layout
        self._slot: Slot | None = slot
        self._outputs: dict[str, NDArray[Any]] = {}
        self._lock = threading.Lock()
        self._give_back = weakref.finalize(self, pool.give, slot)
        self._give_back.atexit = False

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an output."""
        with self._lock:
            if self._slot is not None:
                self._slot.drained.synchronize()
                self._outputs = self._layout.copies(self._slot.host)
                self._slot = None
                self._give_back()
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names; this waits for nothing."""
        return iter(self._layout.names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._layout.names)


class Downloads:
    """From the device to the host, on a stream of its own."""

    def __init__(self, device: Device) -> None:
        """Begin without a slot."""
        self._device = device
        self._stream = device.stream()
        self._pool = SlotPool(device, "outputs on their way from the device")

    def fetch(
        self, packed: AnyDeviceArray, layout: OutputLayout, compute: Stream
    ) -> PendingOutputs:
        """Start the download of what a stream will have computed.

        Args:
            packed: (N,) uint8 of the device, free again for what follows on `compute`.
            layout: of N bytes.
            compute: the stream that writes `packed`.

        """
        size = layout.num_bytes
        slot = self._pool.take(size)
        # Nobody waits for `drained`: a slot comes back when it has happened, or when nobody will
        # look at what is still on its way. The first copy stays within the device and takes a few
        # microseconds: one over the bus would hold the network up.
        self._device.copy(slot.device[:size], packed, compute)
        slot.filled.record(compute)
        self._stream.wait_event(slot.filled)
        self._device.copy(slot.host[:size], slot.device[:size], self._stream)
        slot.drained.record(self._stream)
        return PendingOutputs(layout, slot, self._pool)
