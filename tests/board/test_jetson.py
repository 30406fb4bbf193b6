"""Which Jetson it is, and which JetPack, CUDA and TensorRT are on it."""

from types import SimpleNamespace
from typing import Any

import pytest

from edgecv.board.jetson import PowerMode, find_jetson


def test_orin_nano(system: Any, trees: SimpleNamespace) -> None:
    jetson = find_jetson(system(trees.orin_nano))
    assert jetson is not None
    assert jetson.model.endswith("Developer Kit Super")
    assert (jetson.module, jetson.chip, jetson.architecture) == ("Orin Nano 8GB", "tegra234", "87")
    assert (jetson.l4t, jetson.jetpack, jetson.jetpack_major) == ("36.4.3", "6.2+b77", "6")
    assert (jetson.cuda, jetson.tensorrt) == ("12.6", "10.3.0")
    assert jetson.power_mode == PowerMode(2, "MAXN_SUPER")
    assert [str(mode) for mode in jetson.power_modes] == ["15W (0)", "25W (1)", "MAXN_SUPER (2)"]


def test_agx_orin_without_its_packages(system: Any, trees: SimpleNamespace) -> None:
    jetson = find_jetson(system(trees.agx_orin))
    assert jetson is not None
    assert (jetson.module, jetson.architecture) == ("AGX Orin 64GB", "87")
    assert (jetson.l4t, jetson.jetpack, jetson.jetpack_major) == (None, None, None)
    assert (jetson.cuda, jetson.tensorrt) == (None, None)
    assert jetson.power_mode == PowerMode(0, "MAXN")


def test_thor(system: Any, trees: SimpleNamespace) -> None:
    jetson = find_jetson(system(trees.thor))
    assert jetson is not None
    assert (jetson.module, jetson.architecture) == ("AGX Thor T5000", "110")
    assert (jetson.l4t, jetson.jetpack, jetson.jetpack_major) == ("38.2.0", None, "7")
    assert (jetson.cuda, jetson.tensorrt) == ("13.0", "10.13.3")
    assert (jetson.power_mode, jetson.power_modes) == (None, ())


@pytest.mark.parametrize("compatible", ["", "raspberrypi,5-model-b\0brcm,bcm2712\0"])
def test_other_machines(system: Any, trees: SimpleNamespace, compatible: str) -> None:
    assert find_jetson(system(trees.x86)) is None
    assert find_jetson(system({"proc/device-tree/compatible": compatible})) is None


def test_versions_from_packages_where_there_are_no_headers(
    system: Any, trees: SimpleNamespace
) -> None:
    status = "".join(
        trees.package(name, version)
        for name, version in {
            "nvidia-l4t-core": "36.4.7-20250918154033",
            "libnvinfer8": "8.6.2.3-1+cuda12.2",
            "libnvinfer10": "10.13.0.35-1+cuda12.9",
            "cuda-cudart-12-6": "12.6.68-1",
            "cuda-cudart-12-10": "12.10.1-1",
        }.items()
    )
    compatible = "nvidia,p3767-0099\0nvidia,tegra234\0"
    tree = {"proc/device-tree/compatible": compatible, "var/lib/dpkg/status": status}
    jetson = find_jetson(system(tree))
    assert jetson is not None
    assert (jetson.l4t, jetson.cuda, jetson.tensorrt) == ("36.4.7", "12.10", "10.13.0")
    assert (jetson.model, jetson.module) == ("NVIDIA board", "Orin")  # a module of a later day


def test_broken_files(system: Any) -> None:
    tree = {
        "proc/device-tree/compatible": "nvidia,tegra999\0",
        "etc/nv_tegra_release": "# R (release), REVISION: ?\n",
        "var/lib/nvpmodel/status": "fmode:\n",
        "etc/nvpmodel.conf": "< POWER_MODEL ID= NAME= >\n",
        "var/lib/dpkg/status": "Package: nvidia-jetpack\nStatus: install ok installed\n\n\n\n",
        "usr/local/cuda/include/cuda.h": "#define CUDA_VERSION\n",
        "usr/include/aarch64-linux-gnu/NvInferVersion.h": "#define NV_TENSORRT_MAJOR 10\n",
    }
    jetson = find_jetson(system(tree))
    assert jetson is not None
    assert (jetson.chip, jetson.architecture, jetson.module) == ("tegra999", None, "tegra999")
    assert (jetson.l4t, jetson.jetpack, jetson.power_mode) == (None, None, None)
    assert (jetson.power_modes, jetson.cuda, jetson.tensorrt) == ((), None, None)


def test_a_mode_without_a_name(system: Any, trees: SimpleNamespace) -> None:
    jetson = find_jetson(system({**trees.orin_nano, "var/lib/nvpmodel/status": "pmode:0007\n"}))
    assert jetson is not None
    assert str(jetson.power_mode) == "unnamed (7)"
