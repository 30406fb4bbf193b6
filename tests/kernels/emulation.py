"""The module `_cuda` with its kernels compiled for the processor, see kernels/emulated/device.h."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
BUILDS = KERNELS.parent / "build" / "emulated"


@cache
def emulated_cuda() -> ModuleType:
    """Build the module, unless these sources have been built before, and load it."""
    name = "edgecv.kernels._cuda"
    loader = ExtensionFileLoader(name, str(_built()))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def emulated_build(
    name: str,
    sources: Sequence[Path],
    *,
    flags: Sequence[str] = (),
    link_flags: Sequence[str] = (),
    made_of: Sequence[Path] = (),
) -> Path:
    """Build a shared library or a program, unless it has been built before; return its path.

    Args:
        name: of the file.
        sources: those of the emulation among them, if it is wanted.
        flags: of the compiler, beside those of every emulated source.
        link_flags: of the linker; `-shared` for a library.
        made_of: folders beside `kernels` that the sources include files of.

    """
    compiler, common = _compiler()
    flags = [*common, *flags]
    command = [name, compiler, *flags, *link_flags, *map(str, sources)]
    folder = BUILDS / _fingerprint(command, [KERNELS, *made_of])
    target = folder / name
    BUILDS.mkdir(parents=True, exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:  # other processes of the same test run
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            folder.mkdir(exist_ok=True)
            _build(compiler, flags, sources, link_flags, target)
    return target


def emulated_program(source: Path, folder: Path) -> Path:
    """Build a .cu file with a `main` and the emulation alone; return the program's path."""
    program = folder / source.stem
    compiler, flags = _compiler()
    sources = [source, KERNELS / "emulated" / "device.cc"]
    _run([compiler, *flags, "-x", "c++", *map(str, sources), "-o", str(program)])
    return program


def _compiler() -> tuple[str, list[str]]:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++ to compile the CUDA kernels for the processor")
    cuda = _cuda_headers()
    flags = [
        *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing"),
        *("-ffp-contract=off", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror"),
        "-Wno-unknown-pragmas",  # nvcc's, such as unroll
        *(f"-I{KERNELS}", "-isystem", str(cuda), "-isystem", str(cuda / "cccl")),
        *os.environ.get("EDGECV_EMULATED_FLAGS", "").split(),
    ]
    return compiler, flags


def _built() -> Path:
    nanobind = pytest.importorskip("nanobind")
    binding = Path(nanobind.source_dir())
    robin_map = binding.parent / "ext" / "robin_map" / "include"
    headers = [sysconfig.get_path("include"), nanobind.include_dir(), str(robin_map)]
    flags = [
        '-DEDGECV_CUDA_ARCHITECTURES="90"',  # what it plays
        *(word for folder in headers for word in ("-isystem", folder)),
    ]
    sources = [
        *sorted(KERNELS.glob("*/*.cu")),
        *sorted(KERNELS.glob("bindings/cuda/*.cc")),
        *sorted(KERNELS.glob("emulated/*.cc")),
        binding / "nb_combined.cpp",
    ]
    return emulated_build("_cuda.so", sources, flags=flags, link_flags=["-shared"])


def _build(
    compiler: str,
    flags: Sequence[str],
    sources: Sequence[Path],
    link_flags: Sequence[str],
    target: Path,
) -> None:
    def compile_one(numbered: tuple[int, Path]) -> Path:
        number, source = numbered
        object_file = target.parent / f"{number}-{source.stem}.o"
        if not object_file.exists():
            written = object_file.with_suffix(".part")
            _run([compiler, *flags, "-x", "c++", "-c", str(source), "-o", str(written)])
            written.replace(object_file)
        return object_file

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, enumerate(sources)))
    unfinished = target.with_name(f"{target.name}.part")
    _run([compiler, *flags, *map(str, objects), *link_flags, "-o", str(unfinished)])
    unfinished.replace(target)


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
    pytest.skip("needs CUDA's headers: `pip install 'cuda-toolkit[cccl,crt,cudart]'`")


def _fingerprint(command: list[str], folders: Sequence[Path]) -> str:
    """Of everything that a file is made from but what the system brings."""
    digest = hashlib.sha256("\n".join(command).encode())
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.suffix in (".h", ".cuh", ".cu", ".cc", ".map"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
