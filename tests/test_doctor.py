"""What `edgecv doctor` says of the CUDA kernels and the GPUs, and how to get what is missing."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from edgecv import doctor
from edgecv.errors import DeviceError, MissingDependencyError
from edgecv.kernels.cuda import native


def findings(
    monkeypatch: pytest.MonkeyPatch, *, built: str, gpus: list[str]
) -> list[doctor.Finding]:
    """What is found with kernels built for `built` where there are GPUs of such capabilities."""
    module = SimpleNamespace(
        architectures=built,
        cuda_version="13.0",
        num_devices=lambda: len(gpus),
        compute_capability=lambda number: gpus[number],
    )
    monkeypatch.setattr(native, "cuda", lambda: module)
    return doctor.cuda_kernels()


def test_kernels_and_gpus_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels, first, second = findings(monkeypatch, built="80 87 90", gpus=["90", "87"])
    assert kernels.is_present
    assert kernels.detail == "CUDA 13.0, for sm_80, sm_87, sm_90"
    assert (first.name, first.is_present, first.remedy) == ("NVIDIA GPU 0", True, "")
    assert first.detail == "sm_90, the CUDA kernels run on it"
    assert (second.name, second.is_present) == ("NVIDIA GPU 1", True)


def test_a_gpu_that_the_kernels_are_not_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _, gpu = findings(monkeypatch, built="90", gpus=["87"])
    assert not gpu.is_present
    assert gpu.detail == "sm_87, which the CUDA kernels are not built for"
    assert "-DEDGECV_CUDA_ARCHITECTURES=87" in gpu.remedy


def test_kernels_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels, gpu = findings(monkeypatch, built="90", gpus=[])
    assert kernels.is_present
    assert (gpu.is_present, gpu.detail) == (False, "none")
    assert "nvidia-smi" in gpu.remedy


def test_kernels_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def num_devices() -> int:
        raise DeviceError("num_devices: there is no NVIDIA driver here. Install one.")

    module = SimpleNamespace(architectures="90", cuda_version="13.0", num_devices=num_devices)
    monkeypatch.setattr(native, "cuda", lambda: module)
    kernels, gpu = doctor.cuda_kernels()
    assert kernels.is_present
    assert (gpu.is_present, gpu.detail) == (False, "there is no NVIDIA driver here")
    assert gpu.remedy == "Install one"


def test_no_cuda_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def cuda() -> None:
        raise MissingDependencyError("edgecv was built without CUDA kernels. Install nvcc.")

    monkeypatch.setattr(native, "cuda", cuda)
    assert doctor.cuda_kernels() == [
        doctor.Finding(
            "CUDA kernels",
            is_present=False,
            detail="edgecv was built without CUDA kernels",
            remedy="Install nvcc",
        )
    ]


def test_no_native_kernels_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith("edgecv.kernels")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "edgecv.kernels._native", None)
    for kernels in (*doctor.cuda_kernels(), doctor._native_module()):
        assert not kernels.is_present
        assert kernels.detail == "edgecv's native kernels are not built here"
        assert kernels.remedy.startswith("Build them with `pip install .`")


def test_tensorrt_and_what_it_reaches_the_gpu_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = {each.name: each for each in doctor.backends()}["TensorRT"]
    assert (found.is_present, found.detail) == (False, "is not installed")
    assert "`pip install tensorrt-cu13`" in found.remedy
    module = ModuleType("tensorrt")
    module.__dict__["__version__"] = "10.3.0"
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    found = doctor._tensorrt()
    assert found.is_present
    assert found.detail.startswith("10.3.0, the GPU through ")


def test_openvino_and_what_it_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {each.name: each for each in doctor.backends()}["OpenVINO"]
    if found.is_present:
        assert found.detail.startswith("on cpu")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "openvino" else name)
    missing = doctor._openvino()
    assert (missing.is_present, missing.detail) == (False, "missing openvino")
    assert missing.remedy == "pip install 'edgecv[openvino]'"


def test_tensorrt_is_spoken_of_where_there_is_a_gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecv.runtime import onnxruntime

    def told() -> dict[str, bool]:
        return {each.name: each.is_present for each in doctor._onnxruntime_devices()}

    on_cpu, on_gpu = "onnxruntime on the CPU", "onnxruntime on an NVIDIA GPU"
    monkeypatch.setattr(onnxruntime, "available_devices", lambda: ["cpu"])
    assert told() == {on_cpu: True, on_gpu: False}
    monkeypatch.setattr(onnxruntime, "available_devices", lambda: ["cuda", "cpu"])
    assert told() == {on_cpu: True, on_gpu: True, "onnxruntime with TensorRT": False}
    monkeypatch.setattr(onnxruntime, "has_tensorrt", lambda: True)
    assert told()["onnxruntime with TensorRT"]


@pytest.mark.parametrize(
    ("processor", "wanted"), [("x86_64", "onnxruntime-gpu"), ("aarch64", "edgecv build")]
)
def test_onnxruntime_for_gpus_is_advised_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, processor: str, wanted: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(doctor.platform, "machine", lambda: processor)
    found = {finding.name: finding for finding in doctor.backends()}
    assert wanted in found["onnxruntime on an NVIDIA GPU"].remedy
