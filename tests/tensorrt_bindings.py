"""TensorRT's real Python bindings without TensorRT: every class and member, over empty libraries.

The bindings link three libraries for nine functions in all. Empty ones of their names let any Linux
machine import them, build nothing, and say what a version has.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import edgecv
from edgecv.files import cache_folder

PACKAGES = {
    "10.3.0": "tensorrt-cu12-bindings",
    "10.13.3.9": "tensorrt-cu13-bindings",
    "10.16.1.11": "tensorrt-cu13-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
}
VERSIONS = tuple(PACKAGES)

_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)

# What a version has, as JSON: enumerations with their members, classes with their methods and
# properties, and which of those can be set.
_DESCRIBE = """
import json, tensorrt_bindings as trt
def described(kind):
    if hasattr(kind, "__members__"):
        return {"enum": {name: int(value) for name, value in kind.__members__.items()}}
    members = {}
    for name in dir(kind):
        if name.startswith("_"):
            continue
        value = getattr(kind, name)
        if isinstance(value, type):
            members[name] = described(value)
        elif isinstance(value, property):
            members[name] = "property" if value.fset else "read-only"
        else:
            members[name] = "method" if callable(value) else "constant"
    return {"class": members}
found = {name: described(kind) for name, kind in vars(trt).items() if isinstance(kind, type)}
print(json.dumps({"version": trt.__version__, "types": found}))
"""


def unpack(version: str, folder: Path) -> None:
    """Put the bindings of a version and their empty libraries into `folder`."""
    with zipfile.ZipFile(_wheel(version)) as wheel:
        wheel.extractall(folder)
    source = folder / "empty.cpp"
    source.write_text(
        "\n".join(f'extern "C" void* {name}() {{ return nullptr; }}' for name in _FUNCTIONS)
    )
    major = version.partition(".")[0]
    for library in _LIBRARIES:
        name = f"lib{library}.so.{major}"
        command = ["g++", "-shared", "-fPIC", f"-Wl,-soname,{name}", source, "-o"]
        subprocess.run([*command, folder / "tensorrt_bindings" / name], check=True)
    # What users import is `tensorrt`.
    (folder / "tensorrt.py").write_text(
        "import sys, tensorrt_bindings\nsys.modules[__name__] = tensorrt_bindings\n"
    )


def surface(folder: Path) -> dict[str, Any]:
    """Return what the bindings in `folder` have."""
    found: dict[str, Any] = json.loads(run_with(folder, _DESCRIBE))
    return found


def write_stubs(folder: Path, stubs: Path) -> None:
    """Write type stubs of the bindings in `folder` as the package `tensorrt` in `stubs`."""
    words = ["--module", "tensorrt_bindings.tensorrt", "--inspect-mode", "--output", str(stubs)]
    code = f"from mypy.stubgen import main; main({words!r})"
    run_with(folder, code)
    text = (stubs / "tensorrt_bindings" / "tensorrt.pyi").read_text()
    # `add_scale_nd` has a parameter without a default behind those with one.
    for kind in ("int", "typing.SupportsInt"):
        text = text.replace(f"channel_axis: {kind})", f"channel_axis: {kind} = ...)")
    # A data type of the module's would be taken for Python's.
    text = text.replace("\nbool: DataType\n", "\n")
    (stubs / "tensorrt").mkdir(exist_ok=True)
    (stubs / "tensorrt" / "__init__.pyi").write_text(f"{text}\n__version__: str\n")


def run_with(folder: Path, code: str, *words: object) -> str:
    """Return what Python prints when it runs `code` with the bindings in `folder`."""
    package = Path(edgecv.__file__).resolve().parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (folder, package))),
        "LD_LIBRARY_PATH": str(folder / "tensorrt_bindings"),  # 10.3 does not look beside itself
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=environment,
        cwd=folder,  # not the checkout, whose package has no native module
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _wheel(version: str) -> Path:
    """Return the wheel of a version, from the package index the first time."""
    kept = cache_folder() / "tensorrt-bindings"
    name = f"{PACKAGES[version].replace('-', '_')}-{version}-cp{sys.version_info.major}"
    pattern = f"{name}{sys.version_info.minor}-*.whl"
    if not list(kept.glob(pattern)):
        wanted = f"{PACKAGES[version]}=={version}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(kept)]
        command += ["--only-binary=:all:", "--retries=1", "--timeout=15", wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"needs {wanted}, and pip has none: {done.stderr.strip()[-200:]}")
    return next(kept.glob(pattern))
