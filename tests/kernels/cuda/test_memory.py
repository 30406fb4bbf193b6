"""DeviceArray: what goes to a GPU comes back, memory is given back, and what cannot be is said."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import (
    array_shapes,
    arrays,
    boolean_dtypes,
    floating_dtypes,
    integer_dtypes,
    unsigned_integer_dtypes,
)

from edgecv.errors import DeviceError
from edgecv.kernels.cuda import memory, native
from edgecv.kernels.cuda.memory import DeviceArray

from .stand_ins import Counted

numbers = boolean_dtypes() | integer_dtypes() | unsigned_integer_dtypes() | floating_dtypes()


@given(
    array=numbers.flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_dims=4))
    )
)
@pytest.mark.usefixtures("gpu")
def test_what_goes_there_comes_back(array: np.ndarray[Any, Any]) -> None:
    there = DeviceArray.from_numpy(array)
    back = there.numpy()
    assert (there.shape, there.dtype) == (array.shape, array.dtype)
    assert (back.shape, back.dtype) == (array.shape, array.dtype)
    assert back.tobytes() == array.tobytes()


@pytest.mark.usefixtures("gpu")
def test_copies_views_in_order() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    for view in (array[:, ::-1], array.T, array[..., 1], np.broadcast_to(array[0], (5, 3, 4))):
        np.testing.assert_array_equal(DeviceArray.from_numpy(view).numpy(), view)


@pytest.mark.usefixtures("gpu")
def test_shows_itself_to_other_libraries() -> None:
    array = DeviceArray.empty((2, 3), np.float16)
    assert array.__cuda_array_interface__ == {
        "shape": (2, 3),
        "typestr": "<f2",
        "data": (array.pointer, False),
        "strides": None,
        "stream": 1,
        "version": 3,
    }
    assert repr(array) == "DeviceArray(shape=(2, 3), dtype=float16, device=0)"


@pytest.mark.usefixtures("emulated")
def test_names_its_stream() -> None:
    assert DeviceArray.empty((1,), np.uint8, stream=2).__cuda_array_interface__["stream"] == 2


@pytest.mark.usefixtures("emulated")
def test_gives_memory_back_once_and_in_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(native.cuda())
    monkeypatch.setattr(memory, "cuda", lambda: counted)
    array = DeviceArray.empty((5,), np.float32, stream=2)
    pointer = array.pointer
    nothing = DeviceArray.empty((5, 0), np.float32)
    assert (nothing.pointer, nothing.numpy().shape) == (0, (5, 0))
    assert counted.allocated == [(20, 0, 2)]
    array.__del__()
    del array, nothing
    gc.collect()
    assert counted.released == [(pointer, 0, 2)]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("error", "shape", "dtype", "message"),
    [
        (ValueError, (2, -1), np.uint8, r"`shape` must not be negative, got \(2, -1\)"),
        (TypeError, (2,), object, "`dtype` must be numeric, got object"),
        (TypeError, (2,), "U3", "`dtype` must be numeric, got <U3"),
        (DeviceError, (1 << 60,), np.uint8, "the GPU has not enough memory left. Free arrays or"),
    ],
)
def test_refuses_what_cannot_be_allocated(
    error: type[Exception], shape: tuple[int, ...], dtype: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        DeviceArray.empty(shape, dtype)


@pytest.mark.usefixtures("emulated")
def test_refuses_a_gpu_that_is_not_there() -> None:
    message = "^allocate: there is no GPU 3; this process may use 1, the first is 0.$"
    with pytest.raises(DeviceError, match=message):
        DeviceArray.empty((2,), np.uint8, device=3)


@pytest.mark.usefixtures("emulated")
def test_arrays_may_outlive_everything_else(tmp_path: Path) -> None:
    # At the end of the program modules are taken apart in any order.
    path = native.cuda().__file__
    program = f"""
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
loader = ExtensionFileLoader("edgecv.kernels._cuda", {path!r})
module = module_from_spec(spec_from_loader(loader.name, loader))
loader.exec_module(module)
sys.modules[loader.name] = module
from edgecv.kernels.cuda.memory import DeviceArray
import builtins, edgecv.kernels.cuda.memory as memory
builtins.kept = DeviceArray.empty((3,), "uint8")
memory.kept = [DeviceArray.empty((3,), "uint8")]
memory.kept.append(memory.kept)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
