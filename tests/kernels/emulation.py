"""The module `_cuda` with its kernels compiled for the processor, see kernels/emulated/device.h."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
BUILDS = KERNELS.parent / "build" / "emulated"


def emulated_cuda() -> ModuleType:
    """Build the module, unless these sources have been built before, and load it."""
    name = "edgecv.kernels._cuda"
    loader = ExtensionFileLoader(name, str(_built()))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def _built() -> Path:
    nanobind = pytest.importorskip("nanobind")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++ to compile the CUDA kernels for the processor")
    binding = Path(nanobind.source_dir())
    includes = [KERNELS, sysconfig.get_path("include"), nanobind.include_dir(), _cuda_headers()]
    robin_map = binding.parent / "ext" / "robin_map" / "include"
    flags = [
        *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing"),
        *("-ffp-contract=off", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror"),
        "-Wno-unknown-pragmas",  # nvcc's, such as unroll
        '-DEDGECV_CUDA_ARCHITECTURES="emulated"',
        *(f"-I{folder}" for folder in includes[:1]),
        *(word for folder in (*includes[1:], robin_map) for word in ("-isystem", str(folder))),
        *os.environ.get("EDGECV_EMULATED_FLAGS", "").split(),
    ]
    sources = [
        *sorted(KERNELS.glob("*/*.cu")),
        *sorted(KERNELS.glob("bindings/cuda/*.cc")),
        *sorted(KERNELS.glob("emulated/*.cc")),
        binding / "nb_combined.cpp",
    ]
    folder = BUILDS / _fingerprint([compiler, *flags, *map(str, sources)])
    module = folder / "_cuda.so"
    BUILDS.mkdir(parents=True, exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:  # other processes of the same test run
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not module.exists():
            folder.mkdir(exist_ok=True)
            _build(compiler, flags, sources, folder)
    return module


def _build(compiler: str, flags: list[str], sources: list[Path], folder: Path) -> None:
    def compile_one(numbered: tuple[int, Path]) -> Path:
        number, source = numbered
        target = folder / f"{number}-{source.stem}.o"
        if not target.exists():
            written = target.with_suffix(".part")
            _run([compiler, *flags, "-x", "c++", "-c", str(source), "-o", str(written)])
            written.replace(target)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, enumerate(sources)))
    unfinished = folder / "_cuda.so.part"
    _run([compiler, "-shared", *flags, *map(str, objects), "-o", str(unfinished)])
    unfinished.replace(folder / "_cuda.so")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _cuda_headers() -> Path:
    """The folder of CUDA's headers: a toolkit's, or that of the packages that `test` installs."""
    candidates = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"]
    compiler = shutil.which("nvcc")
    if compiler is not None:
        candidates.append(Path(compiler).resolve().parents[1] / "include")
    candidates += [Path(entry) / "nvidia" / "cu13" / "include" for entry in sys.path]
    for folder in candidates:
        if (folder / "crt" / "host_defines.h").is_file() and (folder / "cuda_fp16.h").is_file():
            return folder
    pytest.skip("needs CUDA's headers: `pip install nvidia-cuda-runtime nvidia-cuda-crt`")


def _fingerprint(command: list[str]) -> str:
    """Of everything that the module is made from but what the system brings."""
    digest = hashlib.sha256("\n".join(command).encode())
    for path in sorted(KERNELS.rglob("*")):
        if path.suffix in (".h", ".cuh", ".cu", ".cc"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
