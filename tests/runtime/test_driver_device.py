"""A GPU through each library that reaches CUDA's driver: the real library, a simulated driver."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecv.bundle.machine import find_gpu
from edgecv.errors import DeviceError, MissingDependencyError
from edgecv.runtime import cuda_python_driver, gpu_device, libcuda_driver, pycuda_driver
from edgecv.runtime.cuda_python_driver import CudaPythonDriver, is_installed
from edgecv.runtime.driver_device import DriverDevice
from edgecv.runtime.libcuda_driver import LibcudaDriver
from edgecv.runtime.pycuda_driver import PycudaDriver

from ..conftest import made_once  # noqa: TID252  # the tests are no package to import from

HERE = Path(__file__).parent
PACKAGES = {"driver": "ctypes", "cuda-python": "cuda.bindings.driver", "pycuda": "pycuda"}


@pytest.fixture(scope="session")
def simulated_libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a libcuda.so.1 that needs no GPU."""

    def make(folder: Path) -> None:
        command = ["g++", "-std=c++17", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
        command += [str(HERE / "simulated_libcuda.cc"), "-o", str(folder / "libcuda.so.1"), "-ldl"]
        subprocess.run(command, check=True)

    return made_once("simulated-libcuda", tmp_path_factory, make)


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def driven(request: pytest.FixtureRequest, simulated_libcuda: Path) -> dict[str, Any]:
    """What came of a session's demands, by way of one library."""
    if not is_installed(PACKAGES[request.param]):
        pytest.skip(f"needs {request.param}")
    environment = {
        **os.environ,
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "LD_LIBRARY_PATH": str(simulated_libcuda),
    }
    done = subprocess.run(
        [sys.executable, HERE / "driven_device.py", request.param],
        env=environment,
        cwd=simulated_libcuda,  # not the checkout, which has no native module
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # where PyCUDA tells of what it could not give back
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_memory_is_filled_and_moved(driven: dict[str, Any]) -> None:
    assert driven["name"] == "cuda (Simulated GPU)"
    assert driven["filled"] == {
        "float32": [0.25] * 3,
        "float16": [0.5] * 3,
        "uint8": [7] * 3,
        "int32": [0] * 3,
    }
    assert driven["transferred"] == [0, 1, 2, 3, 40, 41, 42, 43]
    assert driven["interface"]


def test_a_graph_is_taken_down_once_after_a_plain_run_and_reads_what_is_new(
    driven: dict[str, Any],
) -> None:
    found = driven["replayed"]
    assert found["asked"] == [
        "copy",
        "cuStreamSynchronize",
        "cuStreamBeginCapture",
        "copy",
        "cuStreamEndCapture",
        "cuGraphInstantiate",
        "cuGraphDestroy",
    ]
    assert found["count"] == 2
    assert found["before"] == [1] * 4
    assert found["after"] == [2] * 4


def test_a_stream_works_on_after_what_could_not_be_captured(driven: dict[str, Any]) -> None:
    found = driven["not captured"]
    assert found["broken"] == "CaptureError: CUDA cannot capture this network: the work failed."
    assert "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901)" in found["called off"]
    assert found["called off"].startswith("CaptureError: ")
    assert found["later"] == [3] * 4


def test_too_much_is_refused_with_its_size_and_purpose(driven: dict[str, Any]) -> None:
    assert driven["too much"] == (
        "DeviceError: there is no room for 104857600 bytes of a whale: cuda (Simulated GPU) has "
        "8388096 left. Close what else uses the device, or take a smaller batch or model."
    )
    assert "no room for 104857600 bytes of a whale: the host" in driven["too much of the host"]
    assert "cuMemsetD8Async" in driven["refused"]
    assert "CUDA_ERROR_INVALID_VALUE" in driven["refused"]


def test_everything_is_given_back_and_the_context_last(driven: dict[str, Any]) -> None:
    assert driven["alive"]
    assert driven["kept by a view"]
    assert driven["freed last"] == "cuDevicePrimaryCtxRelease"
    assert driven["alive at the end"] == driven["retained at the end"] == driven["depth"] == 0


LOADED = {"torch": SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))}
BLIND = {"torch": SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))}


@pytest.mark.parametrize(
    ("loaded", "installed", "chosen"),
    [
        (LOADED | {"pycuda.driver": 0}, {"pycuda", "cuda.bindings.driver"}, "torch"),
        (BLIND | {"pycuda.driver": 0}, {"pycuda", "cuda.bindings.driver"}, "pycuda"),
        (BLIND, {"pycuda", "cuda.bindings.driver"}, "cuda-python"),
        ({}, {"pycuda", "cuda.cuda"}, "cuda-python"),
        ({}, {"pycuda"}, "pycuda"),
        ({}, set(), "driver"),
    ],
)
def test_what_the_program_uses_goes_before_what_is_installed(
    loaded: dict[str, Any], installed: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, module in loaded.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gpu_device, "is_installed", lambda name: name in installed)
    assert gpu_device.choice() == chosen
    assert chosen in gpu_device.ORDER


@pytest.mark.parametrize("kind", [CudaPythonDriver, LibcudaDriver, PycudaDriver])
def test_each_library_that_is_missing_is_named(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_python_driver, "is_installed", lambda _name: False)
    monkeypatch.setattr(libcuda_driver, "_LIBRARY", "libcuda-that-is-not-there.so.1")

    def nothing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(pycuda_driver, "import_module", nothing)
    messages = {
        CudaPythonDriver: "cuda-python is not installed. `pip install cuda-python`",
        LibcudaDriver: "there is no NVIDIA driver here",
        PycudaDriver: "PyCUDA cannot be loaded: No module named 'pycuda.driver'. `pip install",
    }
    with pytest.raises((DeviceError, MissingDependencyError), match=messages[kind]) as caught:
        kind()
    assert "\n" not in str(caught.value)


@pytest.mark.cuda
@pytest.mark.skipif(find_gpu() is None, reason="needs an NVIDIA GPU")
def test_a_real_gpu_moves_memory() -> None:
    device = gpu_device.open_gpu()
    stream = device.stream()
    target = device.view(device.buffer(16, "a test"), 0, (4,), np.float32)
    replay = device.captured(lambda: device.fill(target, 0.5, stream), stream)
    device.fill(target, 0, stream)
    replay()
    host = device.host_buffer(16, "a test").view(np.float32)
    device.copy(host, target, stream)
    device.synchronize()
    assert host.tolist() == [0.5] * 4
    assert isinstance(device, DriverDevice) or "torch" in sys.modules
