"""Arrays and streams as the libraries make them, without the libraries: what they promise alone."""

import ctypes
import math
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from edgecv.kernels.cuda.memory import DeviceArray


class Interface:
    """An array that has `__cuda_array_interface__`, like PyCUDA's and Numba's."""

    def __init__(self, array: DeviceArray, **entries: Any) -> None:
        self.keeps_alive = array
        self.__cuda_array_interface__ = dict(array.__cuda_array_interface__) | entries


class Dlpack:
    """An array that has DLPack's protocol alone; remembers how it was asked."""

    def __init__(self, array: DeviceArray, *, device_type: int = 2, **options: Any) -> None:
        self.array, self.device_type, self.options = array, device_type, options
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device_type, 0

    def __dlpack__(self, **asked: Any) -> object:
        self.asked.append(asked)
        return capsule(self.array, self.device_type, **self.options)


class OldDlpack(Dlpack):
    """As before DLPack 1.0: a capsule without version and flags."""

    def __dlpack__(self, *, stream: int | None = None) -> object:  # type: ignore[override]
        self.asked.append({"stream": stream})
        return capsule(self.array, self.device_type, is_versioned=False, **self.options)


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_alive: list[object] = []  # a capsule has no owner that could keep its parts


def capsule(
    array: DeviceArray,
    device_type: int,
    *,
    is_versioned: bool = True,
    is_read_only: bool = False,
    kind: tuple[int, int, int] | None = None,
    offset: int = 0,
) -> object:
    """DLPack's capsule of an array; `kind` is code, bits and lanes if not those of its dtype."""
    code, bits, lanes = kind or (_CODES[array.dtype.kind], 8 * array.dtype.itemsize, 1)
    sides = ctypes.c_int64 * max(1, len(array.shape))
    shape = sides(*array.shape)
    strides = sides(*(math.prod(array.shape[i + 1 :]) for i in range(len(array.shape))))
    tensor = _Tensor(
        array.pointer or None, device_type, array.device, len(array.shape), code, bits, lanes,
        shape, strides, offset,
    )  # fmt: skip
    managed = (
        _Versioned(1, 0, None, None, int(is_read_only), tensor)
        if is_versioned
        else _Managed(tensor, None, None)
    )
    name = ctypes.create_string_buffer(b"dltensor_versioned" if is_versioned else b"dltensor")
    _alive.extend((managed, shape, strides, name, array))
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    made: object = new(ctypes.addressof(managed), ctypes.cast(name, ctypes.c_char_p), None)
    return made


class LibraryArray:
    """What PyTorch's tensors and CuPy's arrays on a GPU have in common."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, device: Any, stream: int) -> None:
        self.memory = DeviceArray.empty(shape, dtype)
        self.shape, self.dtype, self.device = shape, dtype, device
        self.allocated_on = stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.memory.__cuda_array_interface__) | {"stream": None}


class _Current:
    """A stream that becomes the current one in a `with` block."""

    def __init__(self, library: ModuleType, handle: int) -> None:
        self.library, self.handle = library, handle

    def __enter__(self) -> None:
        self.before, self.library.current = self.library.current, self.handle

    def __exit__(self, *_: object) -> None:
        self.library.current = self.before


def torch_stand_in(current: int) -> Any:
    """PyTorch as far as the arrays need it, whose current stream is `current`."""
    torch = ModuleType("torch")
    torch.current = current  # type: ignore[attr-defined]

    class Tensor(LibraryArray):
        requires_grad = False

    class WithGradient(Tensor):
        requires_grad = True

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")

    def empty(shape: tuple[int, ...], *, dtype: DTypeLike, device: Any) -> Tensor:
        return Tensor(shape, dtype, device, torch.current)

    def current_stream(device: Any) -> SimpleNamespace:
        assert device.type == "cuda"
        return SimpleNamespace(cuda_stream=torch.current)

    def external(handle: int, *, device: Any) -> SimpleNamespace:
        return SimpleNamespace(cuda_stream=handle, device=device)

    Tensor.__module__ = WithGradient.__module__ = "torch"
    members = {"Tensor": Tensor, "WithGradient": WithGradient, "empty": empty}
    members |= {"uint8": np.uint8, "float32": np.float32, "float16": np.float16, "bool": np.bool_}
    members["cuda"] = SimpleNamespace(
        current_stream=current_stream,
        ExternalStream=external,
        stream=lambda stream: _Current(torch, stream.cuda_stream),
    )
    for name, member in members.items():
        setattr(torch, name, member)
    return torch


class CupyDevice:
    """CuPy's device, current in a `with` block."""

    entered = 0

    def __init__(self) -> None:
        self.id = 0

    def __enter__(self) -> None:
        CupyDevice.entered += 1

    def __exit__(self, *_: object) -> None:
        pass


def cupy_stand_in(current: int) -> Any:
    """CuPy as far as the arrays need it, whose current stream is `current`."""
    cupy = ModuleType("cupy")
    cupy.current = current  # type: ignore[attr-defined]

    class Ndarray(LibraryArray):
        pass

    Ndarray.__module__ = "cupy._core.core"

    def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Ndarray:
        return Ndarray(shape, dtype, CupyDevice(), cupy.current)

    def external(handle: int, device: int) -> _Current:
        assert device == 0
        return _Current(cupy, handle)

    def get_current_stream(device: int) -> SimpleNamespace:
        assert device == 0
        return SimpleNamespace(ptr=cupy.current)

    members = {
        "ndarray": Ndarray,
        "empty": empty,
        "cuda": SimpleNamespace(get_current_stream=get_current_stream, ExternalStream=external),
    }
    for name, member in members.items():
        setattr(cupy, name, member)
    return cupy


class Counted:
    """The native module, whose allocations are counted."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.allocated: list[tuple[int, int, int]] = []
        self.released: list[tuple[int, int, int]] = []

    def allocate(self, *asked: int) -> int:
        self.allocated.append(asked)  # type: ignore[arg-type]
        return int(self._module.allocate(*asked))

    def release(self, *given: int) -> None:
        self.released.append(given)  # type: ignore[arg-type]
        self._module.release(*given)
