"""The facts of a machine that decide which entry of a bundle it runs."""

import ctypes
import platform
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edgecv.provenance import cpu_name

# Dot products of four 8-bit pairs into 32 bits; the kernels of older x86 sum pairs in 16 bits, and
# unsigned activations times signed weights overflow there.
_DOT_PRODUCTS = ("amx_int8", "avx512_vnni", "avx_vnni", "asimddp")

# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR and _MULTIPROCESSOR_COUNT of cuda.h
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA offers.

    Args:
        name: as CUDA gives it.
        capability: its compute capability, such as `8.7`.
        tensorrt: the version that is installed, None if none is.
        multiprocessors: how many; the boards of a family, all of one name, differ in it.

    """

    name: str
    capability: str
    tensorrt: str | None = None
    multiprocessors: int = 0


@dataclass(frozen=True)
class Machine:
    """What a choice depends on.

    Args:
        cpu: its name, see `edgecv.provenance.cpu_name`.
        int8_instructions: what its CPU multiplies 8 bits with, empty for nothing that helps.
        backends: what can open a file here, the fastest first: `tensorrt`, `onnxruntime cuda`,
            `onnxruntime cpu`.
        gpu: its GPU, None if there is none that CUDA can use, or nobody asked.

    """

    cpu: str
    int8_instructions: str = ""
    backends: tuple[str, ...] = ("onnxruntime cpu",)
    gpu: Gpu | None = None


def this_machine(*, with_gpu: bool) -> Machine:
    """Return the facts of this machine.

    Args:
        with_gpu: ask for the GPU too, which starts CUDA's driver.

    """
    from edgecv.runtime.onnxruntime import available_devices  # noqa: PLC0415  # slow to import

    gpu = find_gpu() if with_gpu else None
    has_tensorrt = gpu is not None and gpu.tensorrt is not None
    return Machine(
        cpu=cpu_name(),
        int8_instructions=int8_instructions(),
        backends=(
            *(["tensorrt"] if has_tensorrt else []),
            *(f"onnxruntime {device}" for device in available_devices()),
        ),
        gpu=gpu,
    )


def int8_instructions() -> str:
    """Return the instruction set with which this CPU multiplies 8 bits fast, empty for none."""
    if (platform.system(), platform.machine()) == ("Darwin", "arm64"):
        return "asimddp"  # every one of them has it
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return ""
    for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86 and Arm
            present = value.split()
            return next((name for name in _DOT_PRODUCTS if name in present), "")
    return ""


def find_gpu() -> Gpu | None:
    """Return the GPU that CUDA would use, None if there is none.

    The driver is asked itself: it obeys `CUDA_VISIBLE_DEVICES` and answers on Jetson boards too,
    where `nvidia-smi` says little.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_LONGEST_NAME)
    major, minor, processors = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    calls: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), 0)),
        ("cuDeviceGetName", (name, _LONGEST_NAME, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _MAJOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _MINOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(processors), _MULTIPROCESSORS, device)),
    )
    # Each needs what the one before it wrote; CUDA_SUCCESS is 0.
    if any(getattr(driver, function)(*arguments) != 0 for function, arguments in calls):
        return None
    text = name.value.decode("utf-8", errors="replace")
    capability = f"{major.value}.{minor.value}"
    return Gpu(text, capability, _tensorrt_version(), processors.value)


def _tensorrt_version() -> str | None:
    try:
        return str(import_module("tensorrt").__version__)
    except (ImportError, OSError, AttributeError):  # not there, or without its libraries
        return None
