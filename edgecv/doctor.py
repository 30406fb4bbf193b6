"""What is installed, what can run here, and the command that adds what is missing."""

import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec

from edgecv.errors import DeviceError, MissingDependencyError
from edgecv.provenance import cpu_name, installed_version


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Args:
        name: what it is.
        is_present: whether it can be used here.
        detail: version or state.
        remedy: the command that adds it, empty where nothing is missing.

    """

    name: str
    is_present: bool
    detail: str
    remedy: str = ""


_CAPABILITIES = {
    # what a user wants to do: the modules that it needs, the extra that holds them
    "run models (edgecv run, bench)": (("numpy", "onnxruntime", "av", "PIL"), ""),
    "measure accuracy (edgecv eval)": (("faster_coco_eval",), "eval"),
    "reports (edgecv eval --report, train)": (("faster_coco_eval", "matplotlib"), "eval"),
    "train (edgecv train)": (("torch", "torchvision", "faster_coco_eval", "tensorboard"), "train"),
    "export and adopt (edgecv export, adopt)": (("onnx", "onnxscript"), "export"),
}
_PACKAGES = (
    "numpy", "onnxruntime", "av", "pillow", "faster-coco-eval", "matplotlib", "torch",
    "torchvision", "onnx", "onnxscript", "openvino",
)  # fmt: skip


def machine() -> dict[str, str]:
    """Return what kind of machine this is."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": f"{os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
    }


def packages() -> list[Finding]:
    """Return the packages that edgecv can use, with their versions."""
    return [_package(name) for name in ("edgecv", *_PACKAGES)]


def capabilities() -> list[Finding]:
    """Return which commands can run here."""
    findings = []
    for name, (modules, extra) in _CAPABILITIES.items():
        missing = [module for module in modules if find_spec(module) is None]
        target = f"edgecv[{extra}]" if extra else "edgecv"
        findings.append(
            Finding(
                name,
                not missing,
                f"missing {', '.join(missing)}" if missing else "ready",
                f"pip install '{target}'" if missing else "",
            )
        )
    return findings


def backends() -> list[Finding]:
    """Return the inference backends and devices, and the video parts."""
    return [
        _native_module(),
        *cuda_kernels(),
        *_onnxruntime_devices(),
        _openvino(),
        _tensorrt(),
        _h264_encoder(),
        _camera(),
    ]


def cuda_kernels() -> list[Finding]:
    """Return whether the CUDA kernels are built, and each GPU with whether they run on it."""
    name = "CUDA kernels"
    try:
        from edgecv.kernels.cuda import native  # noqa: PLC0415  # needs the native kernels

        module = native.cuda()
    except MissingDependencyError as error:
        found, _, remedy = str(error).partition(". ")
        return [Finding(name, is_present=False, detail=found, remedy=remedy.rstrip("."))]
    built = ", ".join(f"sm_{one}" for one in module.architectures.split())
    kernels = Finding(name, is_present=True, detail=f"CUDA {module.cuda_version}, for {built}")
    try:
        capabilities = [module.compute_capability(i) for i in range(module.num_devices())]
    except DeviceError as error:
        found, _, remedy = str(error).partition(": ")[2].partition(". ")
        remedy = remedy.rstrip(".")
        return [kernels, Finding("NVIDIA GPU", is_present=False, detail=found, remedy=remedy)]
    if not capabilities:
        remedy = "check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
        return [kernels, Finding("NVIDIA GPU", is_present=False, detail="none", remedy=remedy)]
    return [
        kernels,
        *(
            _gpu(number, capability, is_served=native.is_built_for(capability))
            for number, capability in enumerate(capabilities)
        ),
    ]


def _gpu(number: int, capability: str, *, is_served: bool) -> Finding:
    name, here = f"NVIDIA GPU {number}", f"sm_{capability}"
    if is_served:
        return Finding(name, is_present=True, detail=f"{here}, the CUDA kernels run on it")
    return Finding(
        name,
        is_present=False,
        detail=f"{here}, which the CUDA kernels are not built for",
        remedy=f"CMAKE_ARGS=-DEDGECV_CUDA_ARCHITECTURES={capability} "
        f"pip install --force-reinstall --no-deps .",
    )


def _package(name: str) -> Finding:
    version = installed_version(name)
    return Finding(name, version is not None, version or "not installed")


def _native_module() -> Finding:
    try:
        import edgecv.kernels  # noqa: F401, PLC0415  # refuses to load without it
    except MissingDependencyError as error:
        found, _, remedy = str(error).partition(". ")
        return Finding("native kernels", is_present=False, detail=found, remedy=remedy.rstrip("."))
    return Finding("native kernels", is_present=True, detail="ready")


def _onnxruntime_devices() -> list[Finding]:
    if find_spec("onnxruntime") is None:
        remedy = "pip install onnxruntime"
        return [Finding("onnxruntime", is_present=False, detail="not installed", remedy=remedy)]
    from edgecv.runtime.onnxruntime import available_devices, has_tensorrt  # noqa: PLC0415

    present = available_devices()
    # PyPI's package for GPUs is for x86: a Jetson needs a build of its own.
    gpu_remedy = (
        "build onnxruntime for this board, or use TensorRT (edgecv build)"
        if platform.machine() == "aarch64"
        else "pip uninstall onnxruntime; pip install onnxruntime-gpu"
    )
    on_gpu = {"onnxruntime on an NVIDIA GPU": "cuda" in present}
    if "cuda" in present:  # who has no GPU build need not hear of two things that are missing
        on_gpu["onnxruntime with TensorRT"] = has_tensorrt()
    return [
        Finding("onnxruntime on the CPU", "cpu" in present, "ready"),
        *(
            Finding(name, is_present=True, detail="ready")
            if is_there
            else Finding(name, is_present=False, detail="not in this build", remedy=gpu_remedy)
            for name, is_there in on_gpu.items()
        ),
    ]


def _openvino() -> Finding:
    missing = [name for name in ("openvino", "onnx") if find_spec(name) is None]
    if missing:
        detail, remedy = f"missing {', '.join(missing)}", "pip install 'edgecv[openvino]'"
        return Finding("OpenVINO", is_present=False, detail=detail, remedy=remedy)
    from edgecv.runtime.openvino import available_devices, has_fast_bf16  # noqa: PLC0415

    found = f"on {', '.join(available_devices())}"
    return Finding("OpenVINO", is_present=True, detail=found + ", bf16" * has_fast_bf16())


def _tensorrt() -> Finding:
    from edgecv.runtime.gpu_device import choice  # noqa: PLC0415  # as others, when it is asked
    from edgecv.runtime.tensorrt_module import import_tensorrt  # noqa: PLC0415

    try:
        version = import_tensorrt().__version__
    except MissingDependencyError as error:
        found, _, remedy = str(error).partition(". ")
        detail, remedy = found.removeprefix("TensorRT "), remedy.rstrip(".")
        return Finding("TensorRT", is_present=False, detail=detail, remedy=remedy)
    detail = f"{version}, the GPU through {choice()}"
    return Finding("TensorRT", is_present=True, detail=detail)


def _h264_encoder() -> Finding:
    if find_spec("av") is None:
        return Finding(
            "H.264 video", is_present=False, detail="PyAV missing", remedy="pip install av"
        )
    import av  # noqa: PLC0415  # FFmpeg only when asked for

    from edgecv.stream.sinks.encoder import H264_ENCODERS  # noqa: PLC0415

    found = [name for name in H264_ENCODERS if name in av.codecs_available]
    if not found:
        remedy = "pip install --force-reinstall av"
        return Finding("H.264 video", is_present=False, detail="no encoder", remedy=remedy)
    return Finding("H.264 video", is_present=True, detail=f"PyAV {av.__version__}, {found[0]}")


def _camera() -> Finding:
    from edgecv.stream.sources.camera import camera_numbers  # noqa: PLC0415

    numbers = camera_numbers()
    if not numbers:
        return Finding("camera", is_present=False, detail="no /dev/video*", remedy="plug one in")
    listed = ", ".join(map(str, numbers))
    return Finding("camera", is_present=True, detail=f"index {listed}")
