"""The plugin library, driven through TensorRT's whole plugin contract without TensorRT.

A host in C++ (export/tensorrt/tests) plays parser, builder and runtime; library and host run under
AddressSanitizer and UndefinedBehaviorSanitizer, the kernels on the emulated GPU. Where TensorRT's
headers are, both are built with them as well.
"""

import atexit
import os
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import edgecv.export
from edgecv.errors import MissingDependencyError
from edgecv.export import plugin_library
from edgecv.kernels.cuda import native

from ...kernels.emulation import KERNELS, emulated_build  # noqa: TID252  # another folder of tests

SOURCES = KERNELS.parent / "export" / "tensorrt"
DECLARATIONS = SOURCES / "declarations"

SANITIZERS = [
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    *("-fsanitize-sections=edgecv_shared", "-fno-omit-frame-pointer", "-g1"),
]
PLUGIN_KERNELS = ["edge_nms/edge_nms.cu", "roi_align/roi_align.cu", "roi_pool/roi_pool.cu"]
REFERENCES = [
    *("edge_nms/edge_nms_cpu.cc", "roi_align/roi_align_cpu.cc", "roi_pool/roi_pool_cpu.cc"),
    *("common/candidates.cc", "common/channel_blocks.cc", "common/class_search.cc"),
    *("common/kept_boxes.cc", "common/parallel.cc", "common/rank.cc", "common/rois.cc"),
    *("common/simd.cc", "nms/nms_cpu.cc", "roi_align/pyramid_levels.cc"),
]
CONTRACT = [
    *("takes-fields", "refuses-fields", "types", "shapes", "formats", "configure", "survive"),
    *("shape-change", "copies"),
]
COMPUTATIONS = ["enqueue-nms", "enqueue-roi-align", "enqueue-roi-pool"]


def of_kernels(names: list[str]) -> list[Path]:
    return [KERNELS / name for name in names]


def build(
    name: str, sources: list[Path], declarations: Path, flags: list[str], link_flags: list[str]
) -> Path:
    return emulated_build(
        name,
        sources,
        flags=["-isystem", str(declarations), *SANITIZERS, *flags],
        link_flags=link_flags,
        made_of=[SOURCES],
    )


@cache
def library(declarations: Path) -> Path:
    sources = [
        *sorted(SOURCES.glob("*.cc")),
        *of_kernels([*PLUGIN_KERNELS, "emulated/device.cc", "emulated/runtime.cc"]),
        *of_kernels(["roi_align/pyramid_levels.cc"]),
    ]
    version_script = f"-Wl,--version-script={SOURCES / 'plugins.map'}"
    return build("libedgecv_plugins.so", sources, declarations, [], ["-shared", version_script])


@cache
def host(declarations: Path) -> Path:
    own = [path for path in sorted(SOURCES.glob("tests/*.cc")) if path.stem != "replay_cuda"]
    sources = [*own, *of_kernels([*REFERENCES, "emulated/runtime.cc"])]
    # It computes next to nothing, and is compiled in half the time.
    return build("plugins_test", sources, declarations, ["-O0"], ["-ldl"])


def nvidia_headers() -> Path:
    """The folder of TensorRT's own headers, of a version that has IPluginV3."""
    folders = [Path(f"/usr/include/{platform.machine()}-linux-gnu")]
    if "TENSORRT_ROOT" in os.environ:
        folders.insert(0, Path(os.environ["TENSORRT_ROOT"]) / "include")
    for folder in folders:
        if (folder / "NvInferRuntime.h").is_file():
            text = (folder / "NvInferVersion.h").read_text()
            found = re.search(r"define (?:NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE) (\d+)", text)
            if found is not None and int(found[1]) >= 10:
                return folder
    pytest.skip("needs TensorRT's headers, of version 10 or newer, in TENSORRT_ROOT")


def drive(program: Path, *arguments: str | Path) -> str:
    """Run one test of the host and return what it printed."""
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"UBSAN_OPTIONS": "print_stacktrace=1"},
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def drive_test(program: Path, name: str, plugins: Path, folder: Path) -> None:
    copied = shutil.copy(plugins, folder / "copied.so")
    drive(program, name, plugins, *([copied] if name == "copies" else []))


def test_host_has_no_other_tests() -> None:
    listed = drive(host(DECLARATIONS)).split()
    assert sorted(listed) == sorted(["describe", *CONTRACT, *COMPUTATIONS])


@pytest.mark.parametrize("name", [*CONTRACT, *COMPUTATIONS])
def test_contract(name: str, tmp_path: Path) -> None:
    drive_test(host(DECLARATIONS), name, library(DECLARATIONS), tmp_path)


@pytest.mark.parametrize("of_library", ["ours", "NVIDIA's"])
def test_contract_with_the_headers_of_tensorrt(of_library: str, tmp_path: Path) -> None:
    theirs = nvidia_headers()
    plugins = library(DECLARATIONS if of_library == "ours" else theirs)
    for name in [*CONTRACT, *COMPUTATIONS]:
        drive_test(host(theirs), name, plugins, tmp_path)
        drive_test(host(DECLARATIONS), name, plugins, tmp_path)


def test_fields_are_the_attributes_of_the_onnx_operators() -> None:
    pytest.importorskip("onnx")
    from onnx.defs import OpSchema

    from edgecv.export.operators.edge_nms import EdgeNMS
    from edgecv.export.operators.edge_roi import EdgeRoiAlign, EdgeRoiPool
    from edgecv.export.operators.schemas import ATTRIBUTES, PLUGIN_ATTRIBUTES

    lines = [line.split() for line in drive(host(DECLARATIONS), "describe", library(DECLARATIONS))
             .splitlines()]  # fmt: skip
    kinds = {"5": OpSchema.AttrType.INT, "1": OpSchema.AttrType.FLOAT}
    operators: dict[str, Any] = {
        "EdgeNMS": EdgeNMS,
        "EdgeRoiAlign": EdgeRoiAlign,
        "EdgeRoiPool": EdgeRoiPool,
    }
    for (name, version, namespace, *found), without in zip(lines[:3], lines[3:], strict=True):
        assert {"plugin_version": version, "plugin_namespace": namespace} == PLUGIN_ATTRIBUTES
        wanted = {
            # A list of numbers is a field of numbers.
            key: OpSchema.AttrType.FLOAT if kind == OpSchema.AttrType.FLOATS else kind
            for key, kind in ATTRIBUTES[name].items()
            if key not in PLUGIN_ATTRIBUTES
        }
        assert {key: kinds[kind] for key, kind in (one.split(":") for one in found)} == wanted
        values = dict(one.split("=") for one in without)
        assert list(values) == list(wanted)
        defaults = {one.name: one.default for one in fields(operators.pop(name))}
        for key, default in defaults.items():
            if default is not MISSING:
                assert float(values[key]) == float(default), key
    assert not operators


def symbols(plugins: Path, which: str) -> set[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm of the binutils")
    done = subprocess.run([nm, "-D", which, plugins], capture_output=True, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in done.stdout.splitlines()}


def test_library_shows_what_tensorrt_looks_for_and_nothing_else() -> None:
    assert symbols(library(DECLARATIONS), "--defined-only") == {"getCreators", "setLoggerFinder"}


def test_library_needs_nothing_of_tensorrt() -> None:
    wanted = symbols(library(DECLARATIONS), "--undefined-only")
    assert any(name.startswith(("_Zna", "_Znw")) for name in wanted)  # operator new
    of_tensorrt = re.compile(r"nvinfer|registry|plugin|logger|onnxparser", re.IGNORECASE)
    assert not {name for name in wanted if of_tensorrt.search(name)}


@pytest.mark.cuda
def test_plugins_compute_from_a_cuda_graph(tmp_path: Path) -> None:
    reason = native.why_not()
    if reason is not None:
        pytest.skip(reason)
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    built = cmake_build(cmake, tmp_path)
    for name in [*CONTRACT, *COMPUTATIONS]:
        drive_test(built / "plugins_test", name, built / "libedgecv_plugins.so", tmp_path)


@pytest.mark.tensorrt
def test_tensorrt_itself_makes_the_plugins_of_the_installed_library() -> None:
    import tensorrt as trt

    from edgecv.export.operators.schemas import PLUGIN_ATTRIBUTES
    from edgecv.runtime.plugin_file import find_plugins

    registry = trt.Builder(trt.Logger(trt.Logger.ERROR)).get_plugin_registry()
    handle = registry.load_library(str(find_plugins()))
    assert handle is not None
    version, namespace = PLUGIN_ATTRIBUTES.values()
    for name in ("EdgeNMS", "EdgeRoiAlign", "EdgeRoiPool"):
        creator = registry.get_creator(name, version, namespace)
        assert creator is not None, name
        plugin = creator.create_plugin(name, trt.PluginFieldCollection([]), trt.TensorRTPhase.BUILD)
        assert plugin is not None, name


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", [*CONTRACT, *COMPUTATIONS])
def test_contract_of_the_installed_library(name: str, tmp_path: Path) -> None:
    from edgecv.runtime.plugin_file import find_plugins

    drive_test(gpu_host(), name, find_plugins(), tmp_path)


@cache
def gpu_host() -> Path:
    """The host that enqueues on a real GPU, built with TensorRT's headers where they are found."""
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("nvcc") is None:
        pytest.skip("needs cmake and nvcc to build the host of the plugins")
    folder = Path(tempfile.mkdtemp(prefix="edgecv-plugins-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return cmake_build(cmake, folder) / "plugins_test"


def cmake_build(cmake: str, folder: Path) -> Path:
    """Build library and host for the GPU of this machine; return where they are."""
    options = ["-DEDGECV_CUDA=ON", "-DEDGECV_TESTS=ON", "-DEDGECV_PYTHON=OFF"]
    for command in (
        [cmake, "-S", KERNELS, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *options],
        [cmake, "--build", folder, "-j", "--target", "edgecv_plugins", "plugins_test"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "tensorrt"


def test_plugin_library_is_found_in_any_folder_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    folders = [str(tmp_path), str(there)]
    monkeypatch.setattr(edgecv.export.__spec__, "submodule_search_locations", folders)
    with pytest.raises(MissingDependencyError, match=r"without CUDA.*Install the CUDA toolkit"):
        plugin_library()
    (there / "libedgecv_plugins.so").touch()
    assert plugin_library() == (there / "libedgecv_plugins.so").resolve()
