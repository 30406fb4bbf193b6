"""The facts of a machine, read from files and libraries that stand in for the real ones."""

import ctypes
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecv.bundle import machine
from edgecv.bundle.machine import Gpu, find_gpu, int8_instructions, this_machine


def with_cpuinfo(monkeypatch: pytest.MonkeyPatch, path: Path, text: str | None) -> None:
    info = path / "cpuinfo"
    if text is not None:
        info.write_text(text)
    monkeypatch.setattr(machine, "Path", lambda _: info)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("flags\t\t: fpu sse4_2 avx2 avx512f\n", ""),
        ("model name: avx512_vnni\nflags\t\t: fpu avx512f avx512_vnni\n", "avx512_vnni"),
        ("flags : avx2 avx_vnni\nflags : avx2\n", "avx_vnni"),
        ("flags : avx512_vnni amx_int8\n", "amx_int8"),
        ("Features\t: fp asimd asimddp\n", "asimddp"),
        ("Features\t: fp asimd\n", ""),  # Cortex-A72 and A53
        ("processor : 0\n", ""),
        (None, ""),
    ],
)
def test_instructions_are_read_as_linux_lists_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, found: str
) -> None:
    with_cpuinfo(monkeypatch, tmp_path, text)
    assert int8_instructions() == found


def test_apples_cpus_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert int8_instructions() == "asimddp"


class Driver:
    """CUDA's driver, as far as it is asked; `failing` is the call that it refuses."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def _result(self, name: str) -> int:
        return 100 if name == self.failing else 0  # CUDA_ERROR_NO_DEVICE

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self._result("cuInit")

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = 7 + ordinal
        return self._result("cuDeviceGet")

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:  # noqa: N802
        assert (ctypes.sizeof(name), device.value) == (length, 7)
        name.value = b"Orin"
        return self._result("cuDeviceGetName")

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        assert device.value == 7
        value._obj.value = {75: 8, 76: 7, 16: 16}[attribute]
        return self._result("cuDeviceGetAttribute")


def test_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver())
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert find_gpu() == Gpu("Orin", "8.7", None, 16)
    tensorrt = ModuleType("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    assert find_gpu() == Gpu("Orin", "8.7", None, 16)
    tensorrt.__dict__["__version__"] = "10.3.0"
    assert find_gpu() == Gpu("Orin", "8.7", "10.3.0", 16)
    assert this_machine(with_gpu=True).gpu == find_gpu()
    assert this_machine(with_gpu=False).gpu is None


@pytest.mark.parametrize("failing", ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute"])
def test_a_driver_without_a_gpu_is_none(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(failing))
    assert find_gpu() is None


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert find_gpu() is None


def test_this_machine_runs_onnxruntime() -> None:
    found = this_machine(with_gpu=False)
    assert "onnxruntime cpu" in found.backends
    assert found.cpu
