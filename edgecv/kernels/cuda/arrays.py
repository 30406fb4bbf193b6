"""Arrays in a GPU's memory, whichever library made them: PyTorch, CuPy, PyCUDA, cuda-python, ours.

An array is on a GPU if it has `__cuda_array_interface__`, or DLPack's protocol with a CUDA device.

A stream is known by its handle: 0 or 1 is the legacy default stream, 2 the default stream of each
thread. The protocols say 1 and 2 too, and never 0.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from edgecv.kernels.arguments import Shape, check_shape
from edgecv.kernels.cuda.memory import DeviceArray
from edgecv.kernels.cuda.native import cuda

_DLPACK_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged
_DLPACK_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # by type code
_BITS_OF_BYTE = 8
_LEGACY_STREAM = 1


class HasCudaArrayInterface(Protocol):
    """What PyTorch, CuPy, PyCUDA and Numba give an array on a GPU."""

    @property
    def __cuda_array_interface__(self) -> Any:  # noqa: ANN401  # the protocol's own
        """Shape, address, dtype, strides and stream."""


AnyDeviceArray: TypeAlias = Any  # HasCudaArrayInterface, or DLPack's protocol


@dataclass(frozen=True)
class DeviceView:
    """Where an array lies in a GPU's memory.

    Args:
        pointer: the address of its first element.
        shape: of the array.
        strides: from one element to the next along each axis, in bytes.
        dtype: of the elements.
        device: the number of the GPU.
        is_read_only: whether its maker forbids writing.
        stream: that its maker's work on it is on; None if there is nothing to wait for.

    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int
    is_read_only: bool = False
    stream: int | None = None

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements follow each other in C order."""
        return prod(self.shape) == 0 or all(
            stride == step
            for side, stride, step in zip(
                self.shape, self.strides, strides_of(self.shape, self.dtype), strict=True
            )
            if side != 1
        )


def is_on_device(array: object) -> bool:
    """Return whether an array lives in a GPU's memory."""
    if isinstance(array, np.ndarray):
        return False
    try:
        if hasattr(array, "__cuda_array_interface__"):
            return True
    except RuntimeError:  # PyTorch's, of a tensor on a GPU that requires a gradient
        return True
    ask = getattr(array, "__dlpack_device__", None)
    return ask is not None and int(ask()[0]) in _DLPACK_CUDA


def view_of(
    function: str, name: str, array: AnyDeviceArray, *, stream: int | None = None
) -> DeviceView:
    """Return where an array lies.

    Args:
        function: who asks, for messages.
        name: of the argument.
        array: on a GPU.
        stream: the handle of the stream that will work on the array; it is made to wait for what
            the array's maker has under way, as far as the maker says so: PyTorch does not. If None,
            nothing waits; DLPack's protocol, which wants to be told a stream, is told the default.

    Raises:
        TypeError: if the array is not on a GPU, or shows it to nobody.

    """
    if not is_on_device(array):
        raise TypeError(
            f"{function}: `{name}` must be on the GPU, got {_describe(array)}. Copy it there once, "
            f"with `torch.as_tensor({name}, device='cuda')` or `cupy.asarray({name})`."
        )
    if getattr(array, "requires_grad", False):
        raise TypeError(
            f"{function}: `{name}` must not require a gradient. Pass `{name}.detach()`."
        )
    if not hasattr(array, "__cuda_array_interface__"):
        return _from_dlpack(function, name, array, stream)
    view = _from_interface(array)
    if view.device < 0:
        raise TypeError(
            f"{function}: `{name}` must be on the GPU, got the address {view.pointer:#x}, which is "
            f"in no GPU's memory. It may have been freed."
        )
    if stream is not None and view.stream is not None and view.stream != _number_of(stream):
        cuda().wait_for(view.stream, view.device, stream)
    return view


def check_view(
    function: str,
    name: str,
    array: AnyDeviceArray,
    dtypes: DTypeLike | tuple[DTypeLike, ...],
    shape: Shape,
    *,
    device: int | None = None,
    is_output: bool = False,
    is_contiguous: bool = True,
    stream: int | None = None,
) -> DeviceView:
    """Return where an array lies, and refuse one that is not as described.

    Args:
        function: who asks, for messages.
        name: of the argument.
        array: on a GPU.
        dtypes: that it may have.
        shape: that it must have; a string is any length.
        device: that it must be on; None for any.
        is_output: whether it is written.
        is_contiguous: whether its elements must follow each other in C order.
        stream: that will work on it, see `view_of`.

    Raises:
        TypeError: if it is not on a GPU or has another dtype; nothing is converted silently.
        ValueError: if its shape, its device or its strides are others.

    """
    view = view_of(function, name, array, stream=stream)
    allowed = [np.dtype(one) for one in (dtypes if isinstance(dtypes, tuple) else (dtypes,))]
    if view.dtype not in allowed:
        names = " or ".join(one.name for one in allowed)
        raise TypeError(f"{function}: `{name}` must be {names}, got {view.dtype.name}.")
    check_shape(function, name, view.shape, shape)
    if device is not None and view.device != device:
        raise ValueError(
            f"{function}: `{name}` must be on GPU {device} as the other arrays are, "
            f"got GPU {view.device}. Copy it there first."
        )
    if is_contiguous and not view.is_contiguous:
        raise ValueError(
            f"{function}: `{name}` must be C-contiguous, got strides of {view.strides} bytes. "
            f"Make it so with `{name}.contiguous()` or `cupy.ascontiguousarray({name})`."
        )
    if is_output and view.is_read_only:
        raise ValueError(f"{function}: `{name}` must be writeable, got a read-only array.")
    return view


def empty_like(
    array: AnyDeviceArray, shape: tuple[int, ...], dtype: DTypeLike, *, stream: int | None = None
) -> AnyDeviceArray:
    """Return a new array of the library that made `array`, on its GPU, uninitialised.

    PyTorch's and CuPy's come from their own pools; for an array of any other library it is a
    `DeviceArray`.

    Args:
        array: on a GPU.
        shape: of the new one.
        dtype: of the new one.
        stream: the handle of the stream that will write it: memory of a pool belongs to a stream.
            If None, what `stream_of` returns for None.

    """
    library, kind = _library_of(array), np.dtype(dtype)
    on = stream_of(stream, array)
    if library == "torch":
        torch = sys.modules["torch"]
        with _working_on(on, array):
            return torch.empty(shape, dtype=getattr(torch, kind.name), device=array.device)
    if library == "cupy":
        with array.device, _working_on(on, array):
            return sys.modules["cupy"].empty(shape, kind)
    device = view_of("empty_like", "array", array).device
    return DeviceArray.empty(shape, kind, device=device, stream=on)


def stream_of(stream: object, array: AnyDeviceArray) -> int:
    """Return the handle of the stream to work on.

    The work comes after what that stream has to do, and after what the arrays' makers say is under
    way on others (`view_of`).

    Args:
        stream: a handle, an object of PyTorch, CuPy, PyCUDA or cuda-python, or None: the stream
            that is current in the library that made `array`, the one that its interface names, or
            else the default stream.
        array: that the work is on.

    Raises:
        TypeError: if `stream` is none of these.
        ValueError: if it is a number that no stream has.

    """
    handle = _current_stream(array) if stream is None else _handle_of(stream)
    return 0 if handle == _LEGACY_STREAM else handle  # PyTorch knows it as 0 alone


def strides_of(shape: tuple[int, ...], dtype: DTypeLike) -> tuple[int, ...]:
    """Return the strides in bytes of an array in C order."""
    strides, step = [], np.dtype(dtype).itemsize
    for side in reversed(shape):
        strides.append(step)
        step *= side
    return tuple(reversed(strides))


def _from_interface(array: HasCudaArrayInterface) -> DeviceView:
    interface = array.__cuda_array_interface__
    pointer, is_read_only = interface["data"]
    shape = tuple(interface["shape"])
    dtype = np.dtype(interface["typestr"])
    strides = interface.get("strides")
    return DeviceView(
        pointer,
        shape,
        strides_of(shape, dtype) if strides is None else tuple(strides),
        dtype,
        cuda().device_of(pointer) if pointer else _device_of_empty(array),
        bool(is_read_only),
        interface.get("stream"),
    )


def _from_dlpack(function: str, name: str, array: AnyDeviceArray, stream: int | None) -> DeviceView:
    """Return where an array lies, whose maker makes `stream` wait for it."""
    number = _LEGACY_STREAM if stream is None else _number_of(stream)
    try:
        capsule = array.__dlpack__(stream=number, max_version=(1, 0))  # that says what is read-only
    except TypeError:  # older than DLPack 1.0
        capsule = array.__dlpack__(stream=number)
    pointer, shape, strides, kind, device, is_read_only = cuda().describe(capsule)
    code, bits, lanes = kind
    if code not in _DLPACK_KINDS or lanes != 1 or bits % _BITS_OF_BYTE:
        raise TypeError(
            f"{function}: `{name}` must have elements that NumPy has a type for, got DLPack's "
            f"code {code} of {lanes} x {bits} bits. Convert it."
        )
    dtype = np.dtype(f"{_DLPACK_KINDS[code]}{bits // _BITS_OF_BYTE}")
    in_bytes = tuple(step * dtype.itemsize for step in strides)
    return DeviceView(pointer, tuple(shape), in_bytes, dtype, device, is_read_only)


def _handle_of(stream: object) -> int:
    if hasattr(stream, "__cuda_stream__"):  # cuda-python's protocol
        value = stream.__cuda_stream__
        return int((value() if callable(value) else value)[1])
    for attribute in ("cuda_stream", "ptr", "handle"):  # PyTorch's, CuPy's, PyCUDA's
        if hasattr(stream, attribute):
            return int(getattr(stream, attribute))
    if not hasattr(stream, "__index__") or isinstance(stream, bool):
        raise TypeError(
            f"`stream` must be a stream of PyTorch, CuPy, PyCUDA or cuda-python or its handle, "
            f"got {type(stream).__name__}. Pass None for the current one."
        )
    handle = index(stream)
    if handle < 0:
        raise ValueError(
            f"`stream` must be a handle, so not negative, got {handle}. Pass None for the current "
            f"one."
        )
    return handle


def _number_of(stream: int) -> int:
    """Return how the protocols call a stream."""
    return stream or _LEGACY_STREAM


def _device_of_empty(array: object) -> int:
    """Return the GPU of an array that has no address, as far as its library tells."""
    device = getattr(array, "device", 0)  # ours: a number
    for attribute in ("index", "id"):  # PyTorch's, CuPy's
        device = getattr(device, attribute, device)
    return device if isinstance(device, int) else 0


def _current_stream(array: AnyDeviceArray) -> int:
    if not is_on_device(array):
        return 0
    library = _library_of(array)
    if library == "torch":
        return int(sys.modules["torch"].cuda.current_stream(array.device).cuda_stream)
    if library == "cupy":
        return int(sys.modules["cupy"].cuda.get_current_stream(array.device.id).ptr)
    interface = getattr(array, "__cuda_array_interface__", {})
    return interface.get("stream") or 0


def _working_on(stream: int, array: AnyDeviceArray) -> AbstractContextManager[object]:
    """Make `stream` the current one of the library of PyTorch's or CuPy's `array`, if it is not."""
    context: AbstractContextManager[object] = nullcontext()
    if stream != stream_of(None, array):
        library = sys.modules[_library_of(array)].cuda
        if _library_of(array) == "torch":
            context = library.stream(library.ExternalStream(stream, device=array.device))
        else:
            context = library.ExternalStream(stream, array.device.id)
    return context


def _library_of(array: object) -> str:
    """Return the package that defines an array's class, or that of which it is a subclass."""
    packages = [base.__module__.partition(".")[0] for base in type(array).__mro__]
    return next((one for one in packages if one in {"torch", "cupy"}), packages[0])


def _describe(array: object) -> str:
    if isinstance(array, np.ndarray):
        return "a NumPy array"
    device = getattr(array, "device", None)
    return type(array).__name__ + (f" on {device}" if device is not None else "")
