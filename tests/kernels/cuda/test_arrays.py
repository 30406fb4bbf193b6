"""Arrays in a GPU's memory: where they lie, what is refused, and on which stream work goes on."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecv.kernels import box_iou
from edgecv.kernels.cuda import arrays as arrays_module
from edgecv.kernels.cuda import native
from edgecv.kernels.cuda.arrays import (
    check_view,
    empty_like,
    is_on_device,
    stream_of,
    strides_of,
    view_of,
)
from edgecv.kernels.cuda.memory import DeviceArray

from .stand_ins import CupyDevice, Dlpack, Interface, OldDlpack, cupy_stand_in, torch_stand_in

pytestmark = pytest.mark.usefixtures("emulated")


@pytest.fixture
def floats() -> DeviceArray:
    """The array of the examples: 3 x 4 floats."""
    return DeviceArray.from_numpy(np.arange(12, dtype=np.float32).reshape(3, 4))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """For each wait: the stream that is waited for, the GPU, and the stream that waits."""
    module, calls = native.cuda(), list[tuple[int, int, int]]()
    spy = SimpleNamespace(
        device_of=module.device_of, wait_for=lambda *call: calls.append(call),
        describe=module.describe, allocate=module.allocate, release=module.release,
    )  # fmt: skip
    monkeypatch.setattr("edgecv.kernels.cuda.arrays.cuda", lambda: spy)
    return calls


def test_knows_what_is_on_a_gpu(floats: DeviceArray) -> None:
    assert is_on_device(floats)
    assert is_on_device(Interface(floats))
    assert is_on_device(Dlpack(floats))
    assert is_on_device(Dlpack(floats, device_type=13))  # managed memory
    for elsewhere in (np.zeros(3), [1.0], None, Dlpack(floats, device_type=1)):
        assert not is_on_device(elsewhere)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "bool", "int64", "int8"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0,), (3, 0, 2)])
@pytest.mark.parametrize("protocol", [Interface, Dlpack, OldDlpack, lambda array: array])
def test_sees_the_same_through_every_protocol(
    protocol: Any, shape: tuple[int, ...], dtype: str
) -> None:
    array = DeviceArray.empty(shape, dtype)
    view = view_of("f", "x", protocol(array))
    assert (view.shape, view.dtype, view.device) == (shape, np.dtype(dtype), 0)
    assert view.pointer == array.pointer
    assert view.is_contiguous
    assert not view.is_read_only
    if array.pointer:
        assert view.strides == strides_of(shape, dtype)


def test_a_real_producer_of_dlpack_is_described() -> None:
    # NumPy's memory is not a GPU's, which is for `is_on_device` to find out, not for `describe`.
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4).transpose(2, 0, 1)
    pointer, shape, strides, kind, _, is_read_only = native.cuda().describe(array.__dlpack__())
    assert (pointer, shape, strides) == (array.ctypes.data, [4, 2, 3], [1, 12, 4])
    assert (kind, is_read_only) == ((2, 16, 1), False)


def test_strides_are_kept_in_bytes(floats: DeviceArray) -> None:
    view = view_of("f", "x", Interface(floats, shape=(3, 2), strides=(16, 8)))
    assert view.strides == (16, 8)
    assert not view.is_contiguous
    # The stride of a side of 1 is never used.
    assert view_of("f", "x", Interface(floats, shape=(1, 4), strides=(999, 4))).is_contiguous


def test_a_byte_offset_is_part_of_the_address(floats: DeviceArray) -> None:
    assert view_of("f", "x", Dlpack(floats, offset=16)).pointer == floats.pointer + 16


def test_read_only_arrays_are_no_outputs(floats: DeviceArray) -> None:
    for array in (
        Interface(floats, data=(floats.pointer, True)),
        Dlpack(floats, is_read_only=True),
    ):
        assert view_of("f", "x", array).is_read_only
        check_view("f", "x", array, np.float32, (3, 4))
        with pytest.raises(ValueError, match=r"^f: `x` must be writeable, got a read-only array"):
            check_view("f", "x", array, np.float32, (3, 4), is_output=True)


@pytest.mark.parametrize("kind", [(4, 16, 1), (5, 64, 1), (2, 32, 4), (0, 4, 1), (2, 4, 1)])
def test_refuses_elements_that_numpy_has_not(
    floats: DeviceArray, kind: tuple[int, int, int]
) -> None:
    with pytest.raises(
        TypeError, match=f"^f: `x` must have elements .* got DLPack's code {kind[0]}"
    ):
        view_of("f", "x", Dlpack(floats, kind=kind))


@pytest.mark.parametrize("array", [np.zeros((3, 4), np.float32), [[0.0]]])
def test_refuses_arrays_of_the_processor(array: Any) -> None:
    got = "a NumPy array" if isinstance(array, np.ndarray) else "list"
    with pytest.raises(TypeError, match=f"^f: `x` must be on the GPU, got {got}. Copy it there"):
        check_view("f", "x", array, np.float32, (3, 4))


def test_refuses_a_tensor_of_the_processor() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(
        TypeError, match=r"`x` must be on the GPU, got Tensor on cpu. Copy it there"
    ):
        view_of("f", "x", torch.zeros(3))


def test_refuses_an_address_of_no_gpu(floats: DeviceArray, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = SimpleNamespace(device_of=lambda _: -1)
    monkeypatch.setattr("edgecv.kernels.cuda.arrays.cuda", lambda: stray)
    with pytest.raises(TypeError, match=f"got the address {floats.pointer:#x}, which is in no GPU"):
        view_of("f", "x", floats)


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (TypeError, {"dtypes": np.uint8}, "`x` must be uint8, got float32"),
        (
            TypeError,
            {"dtypes": (np.uint8, np.float16)},
            "`x` must be uint8 or float16, got float32",
        ),
        (ValueError, {"shape": (3, 5)}, r"`x` must have shape \(3, 5\), got \(3, 4\)"),
        (ValueError, {"shape": ("N",)}, r"`x` must have shape \(N,\), got \(3, 4\)"),
        (ValueError, {"device": 1}, "`x` must be on GPU 1 as the other arrays are, got GPU 0"),
    ],
)
def test_refuses_what_is_not_as_described(
    floats: DeviceArray, error: type[Exception], options: dict[str, Any], message: str
) -> None:
    given = {"dtypes": np.float32, "shape": ("N", 4)}
    check_view("f", "x", floats, **given)
    with pytest.raises(error, match=f"^f: {message}"):
        check_view("f", "x", floats, **given | options)


def test_refuses_gaps_between_rows(floats: DeviceArray) -> None:
    rows = Interface(floats, shape=(3, 2), strides=(16, 4))
    check_view("f", "x", rows, np.float32, (3, 2), is_contiguous=False)
    with pytest.raises(
        ValueError, match=r"`x` must be C-contiguous, got strides of \(16, 4\) byte"
    ):
        check_view("f", "x", rows, np.float32, (3, 2))


# -- Streams


class CudaStream:
    """cuda-python's protocol, as a method."""

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 9


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (7, 7), (0, 0), (1, 0), (2, 2), (np.uint64(8), 8), (CudaStream(), 9),
        (SimpleNamespace(__cuda_stream__=(0, 6)), 6), (SimpleNamespace(cuda_stream=5), 5),
        (SimpleNamespace(ptr=4), 4), (SimpleNamespace(handle=3), 3),
    ],
)  # fmt: skip
def test_takes_streams_of_every_library(stream: object, handle: int) -> None:
    assert stream_of(stream, DeviceArray.empty((1,), np.uint8)) == handle


def test_takes_streams_of_cuda_python() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    assert stream_of(driver.CUstream(5), DeviceArray.empty((1,), np.uint8)) == 5


@pytest.mark.parametrize("stream", ["0", 1.5, True, object()])
def test_refuses_what_is_no_stream(stream: object) -> None:
    name = type(stream).__name__
    with pytest.raises(TypeError, match=f"`stream` must be a stream of .* got {name}. Pass None"):
        stream_of(stream, DeviceArray.empty((1,), np.uint8))


def test_refuses_negative_handles() -> None:
    with pytest.raises(ValueError, match="`stream` must be a handle, so not negative, got -1"):
        stream_of(-1, DeviceArray.empty((1,), np.uint8))


def test_without_a_stream_goes_on_where_the_array_is(floats: DeviceArray) -> None:
    assert stream_of(None, floats) == 0
    assert stream_of(None, DeviceArray.empty((1,), np.uint8, stream=7)) == 7
    assert stream_of(None, Interface(floats, stream=None)) == 0
    assert stream_of(None, Interface(floats, stream=2)) == 2
    assert stream_of(None, Dlpack(floats)) == 0
    assert stream_of(None, np.zeros(3)) == 0  # refused later, by name


@pytest.mark.parametrize(
    ("of_array", "ours", "expected"),
    [
        (None, 7, []),  # its maker says: nothing to wait for
        (7, 7, []), (1, 0, []), (1, 1, []), (2, 2, []),
        (1, 7, [(1, 0, 7)]), (7, 0, [(7, 0, 0)]), (2, 0, [(2, 0, 0)]),
        (7, None, []),  # only looked at
    ],
)  # fmt: skip
def test_waits_for_the_stream_of_an_array(
    floats: DeviceArray,
    waits: list[tuple[int, int, int]],
    of_array: int | None,
    ours: int | None,
    expected: list[tuple[int, int, int]],
) -> None:
    check_view("f", "x", Interface(floats, stream=of_array), np.float32, (3, 4), stream=ours)
    assert waits == expected


@pytest.mark.parametrize(("ours", "number"), [(None, 1), (0, 1), (1, 1), (2, 2), (77, 77)])
def test_tells_dlpack_the_stream_by_its_number(
    floats: DeviceArray, ours: int | None, number: int
) -> None:
    for array in (Dlpack(floats), OldDlpack(floats)):
        view_of("f", "x", array, stream=ours)
        assert [asked["stream"] for asked in array.asked] == [number]


def test_an_operator_waits_for_all_of_its_arrays(waits: list[tuple[int, int, int]]) -> None:
    boxes, more = (DeviceArray.from_numpy(np.zeros((2, 4), np.float32)) for _ in range(2))
    out = DeviceArray.empty((2, 2), np.float32)
    arrays = [Interface(array, stream=number) for array, number in ((boxes, 5), (more, 6))]
    box_iou(*arrays, out=Interface(out, stream=8), stream=7)
    assert waits == [(5, 0, 7), (6, 0, 7), (8, 0, 7)]
    waits.clear()
    box_iou(*arrays, out=Interface(out, stream=5))  # on the stream of the first
    assert waits == [(6, 0, 5)]


def test_refuses_arrays_on_two_gpus(
    floats: DeviceArray, waits: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = DeviceArray.from_numpy(np.zeros((2, 4), np.float32))
    spy = arrays_module.cuda()
    monkeypatch.setattr(spy, "device_of", lambda pointer: int(pointer == boxes.pointer))
    with pytest.raises(
        ValueError, match=r"^box_iou: `b_xyxy` must be on GPU 0 as the other arrays"
    ):
        box_iou(floats, boxes)
    assert waits == []


def test_another_stream_is_waited_for_on_the_gpu(floats: DeviceArray) -> None:
    native.cuda().wait_for(1, 0, 2)  # the legacy default stream, and that of the thread
    np.testing.assert_array_equal(floats.numpy(), np.arange(12).reshape(3, 4))


# -- Libraries


def test_new_arrays_are_of_the_same_library(floats: DeviceArray) -> None:
    for like in (floats, Interface(floats), Dlpack(floats)):
        new = empty_like(like, (2, 5), "float16")
        assert isinstance(new, DeviceArray)
        assert (new.shape, new.dtype, new.device) == ((2, 5), np.float16, 0)
    assert stream_of(None, empty_like(floats, (2,), np.uint8, stream=7)) == 7


@pytest.mark.parametrize(("stream", "expected"), [(None, 5), (5, 5), (6, 6), (0, 0), (1, 0)])
def test_tensors_come_from_pytorch(
    monkeypatch: pytest.MonkeyPatch, stream: int | None, expected: int
) -> None:
    torch = torch_stand_in(current=5)
    monkeypatch.setitem(sys.modules, "torch", torch)
    device = SimpleNamespace(type="cuda", index=0)

    class Parameter(torch.Tensor):  # type: ignore[name-defined,misc]
        """A subclass that another package defines."""

    for kind in (torch.Tensor, Parameter):
        tensor = kind((3,), np.float32, device, 5)
        assert stream_of(None, tensor) == 5
        new = empty_like(tensor, (2, 2), np.float16, stream=stream)
        assert type(new) is torch.Tensor
        assert (new.shape, new.dtype, new.device) == ((2, 2), np.float16, device)
        assert new.allocated_on == expected
    assert torch.current == 5
    empty = torch.Tensor((0, 4), np.float32, device, 5)
    assert view_of("f", "x", empty).device == 0


def test_refuses_a_tensor_that_requires_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = torch_stand_in(current=0)
    monkeypatch.setitem(sys.modules, "torch", torch)
    tensor = torch.WithGradient((3,), np.float32, SimpleNamespace(type="cuda", index=0), 0)
    assert is_on_device(tensor)
    with pytest.raises(
        TypeError, match=r"^f: `x` must not require a gradient. Pass `x.detach\(\)`"
    ):
        view_of("f", "x", tensor)


@pytest.mark.parametrize(("stream", "expected"), [(None, 5), (5, 5), (6, 6)])
def test_arrays_come_from_cupy(
    monkeypatch: pytest.MonkeyPatch, stream: int | None, expected: int
) -> None:
    cupy = cupy_stand_in(current=5)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    array = cupy.ndarray((3,), np.float32, CupyDevice(), 5)
    assert stream_of(None, array) == 5
    before = CupyDevice.entered
    new = empty_like(array, (2, 2), np.uint8, stream=stream)
    assert type(new) is cupy.ndarray
    assert (new.shape, new.dtype, new.allocated_on) == ((2, 2), np.uint8, expected)
    assert CupyDevice.entered == before + 1  # on the GPU of `array`
    assert cupy.current == 5
    assert view_of("f", "x", cupy.ndarray((0,), np.uint8, CupyDevice(), 5)).device == 0
