"""Memory on a GPU for who has no PyTorch and no CuPy."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecv.kernels.cuda.native import cuda

_KINDS = "biufc"  # NumPy's: what is numbers and nothing else


class DeviceArray:
    """A C-contiguous array in a GPU's memory, for any library that takes such arrays.

    It is given back to the GPU's pool when it is collected, in the order of its stream.
    """

    def __init__(
        self, pointer: int, shape: tuple[int, ...], dtype: DTypeLike, device: int, stream: int
    ) -> None:
        """Take over memory that `edgecv.kernels._cuda.allocate` returned."""
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.device = device
        self.pointer = pointer
        self._stream = stream
        self._release = cuda().release  # at the end of the program the module may be gone

    @classmethod
    def empty(
        cls, shape: tuple[int, ...], dtype: DTypeLike, *, device: int = 0, stream: int = 0
    ) -> "DeviceArray":
        """Return an uninitialised array.

        Raises:
            ValueError: if a side is negative.
            TypeError: if the elements are no numbers.
            DeviceError: if there is no such GPU, or not enough memory.

        """
        if min(shape, default=0) < 0:
            raise ValueError(f"DeviceArray: `shape` must not be negative, got {shape}.")
        if np.dtype(dtype).kind not in _KINDS:
            raise TypeError(f"DeviceArray: `dtype` must be numeric, got {np.dtype(dtype)}.")
        num_bytes = prod(shape) * np.dtype(dtype).itemsize
        pointer = cuda().allocate(num_bytes, device, stream) if num_bytes else 0
        return cls(pointer, shape, dtype, device, stream)

    @classmethod
    def from_numpy(cls, array: NDArray[Any], *, device: int = 0, stream: int = 0) -> "DeviceArray":
        """Return a copy of a NumPy array; waits until it is there."""
        array = np.asarray(array, order="C")
        copy = cls.empty(array.shape, array.dtype, device=device, stream=stream)
        if array.nbytes:
            module = cuda()
            module.copy(copy.pointer, array.ctypes.data, array.nbytes, device, stream)
            module.synchronize(device, stream)
        return copy

    def numpy(self) -> NDArray[Any]:
        """Return a copy in the processor's memory; waits for the stream that it was made on.

        Whoever let another stream write to it waits for that one first.
        """
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            module = cuda()
            module.copy(array.ctypes.data, self.pointer, array.nbytes, self.device, self._stream)
            module.synchronize(self.device, self._stream)
        return array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3, see Numba's documentation, "CUDA Array Interface"."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": self._stream or 1,  # 1: the legacy default stream
            "version": 3,
        }

    def __repr__(self) -> str:
        """Return what and where it is, not its elements."""
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device})"

    def __del__(self) -> None:
        """Give the memory back."""
        if getattr(self, "pointer", 0):  # unless __init__ failed
            self._release(self.pointer, self.device, self._stream)
            self.pointer = 0
