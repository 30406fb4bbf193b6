"""CUDA's driver as layer times use it: what is taken is given back, failures are named."""

import ctypes
from typing import Any

import pytest

pytest.importorskip("onnx_ir")

from edgecv.errors import DeviceError
from edgecv.export.engine.layer_times import opened_driver


class Library:
    """A driver of one device: it notes every call by name, and fails in one of them."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[str] = []
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == "cuMemAlloc_v2":
                arguments[0]._obj.value = 4096
                self.sizes.append(arguments[1].value)
            if name == "cuMemFree_v2":
                assert arguments[0].value == 4096
            if name == "cuStreamCreate":
                arguments[0]._obj.value = 7
            if name in ("cuStreamSynchronize", "cuStreamDestroy_v2"):
                assert arguments[0].value == 7
            return 2 if name == self.failing else 0

        return call


def test_what_is_taken_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    with opened_driver() as driver, driver.stream() as stream, driver.memory(0) as address:
        assert (stream, address) == (7, 4096)
        driver.wait(stream)
    assert library.sizes == [1], "CUDA refuses to hand out nothing"
    assert library.calls == [
        "cuInit",
        "cuDeviceGet",
        "cuDevicePrimaryCtxRetain",
        "cuCtxSetCurrent",
        "cuStreamCreate",
        "cuMemAlloc_v2",
        "cuMemsetD8_v2",
        "cuStreamSynchronize",
        "cuMemFree_v2",
        "cuStreamDestroy_v2",
        "cuDevicePrimaryCtxRelease_v2",
    ]


def test_a_failure_says_which_call_and_gives_the_rest_back(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library("cuMemAlloc_v2")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    with (
        pytest.raises(DeviceError, match="cuMemAlloc_v2 failed with error 2"),
        opened_driver() as driver,
        driver.stream(),
        driver.memory(16),
    ):
        pytest.fail("there was no memory")
    assert library.calls[-2:] == ["cuStreamDestroy_v2", "cuDevicePrimaryCtxRelease_v2"]


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(DeviceError, match="there is no NVIDIA driver"), opened_driver():
        pytest.fail("there is none")
