"""Machines as files: trees that look as recorded ones of the kernel's do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecv.board.files import SystemFiles

Tree = Mapping[str, str]
Write = Callable[[Tree], SystemFiles]


@pytest.fixture
def system(tmp_path: Path) -> Write:
    """Write files below a root; a second call adds to them and replaces."""

    def write(tree: Tree) -> SystemFiles:
        for name, text in tree.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return SystemFiles(tmp_path / "root")

    return write


def ina3221(number: int, **rails: tuple[int, int]) -> Tree:
    """A monitor with up to three rails: mV and mA; `NC` where nothing is connected."""
    folder = f"sys/class/hwmon/hwmon{number}"
    tree = {f"{folder}/name": "ina3221\n"}
    for channel, (rail, (millivolts, milliamperes)) in enumerate(rails.items(), start=1):
        tree[f"{folder}/in{channel}_label"] = f"{rail.rstrip('_')}\n"
        tree[f"{folder}/in{channel}_input"] = f"{millivolts}\n"
        tree[f"{folder}/curr{channel}_input"] = f"{milliamperes}\n"
        tree[f"{folder}/curr{channel}_crit_alarm"] = "0\n"
        tree[f"{folder}/curr{channel}_max_alarm"] = "0\n"
    # What the driver shows beside the rails: shunt voltages, and their sum with a label.
    tree |= {f"{folder}/in{channel}_input": "11\n" for channel in (4, 5, 6, 7)}
    tree[f"{folder}/in7_label"] = "sum of shunt voltages\n"
    return tree


def cluster(first: int, last: int, mhz: int, allowed: tuple[int, int], highest: int) -> Tree:
    """A cluster of processors; MHz."""
    folder = f"sys/devices/system/cpu/cpufreq/policy{first}"
    return {
        f"{folder}/related_cpus": " ".join(map(str, range(first, last + 1))) + "\n",
        f"{folder}/scaling_cur_freq": f"{mhz * 1000}\n",
        f"{folder}/scaling_min_freq": f"{allowed[0] * 1000}\n",
        f"{folder}/scaling_max_freq": f"{allowed[1] * 1000}\n",
        f"{folder}/cpuinfo_max_freq": f"{highest * 1000}\n",
        f"{folder}/scaling_governor": "schedutil\n",
    }


def package(name: str, version: str, status: str = "install ok installed") -> str:
    """A stanza of dpkg's status file."""
    return (
        f"Package: {name}\nStatus: {status}\nPriority: standard\nArchitecture: arm64\n"
        f"Version: {version}\nDescription: something\n of more lines\n\n"
    )


def zone(number: int, name: str, celsius: float, **trips: float) -> Tree:
    """A thermal zone with a trip of each named kind; °C."""
    folder = f"sys/class/thermal/thermal_zone{number}"
    tree = {f"{folder}/type": f"{name}\n", f"{folder}/temp": f"{celsius * 1000:.0f}\n"}
    for trip, (kind, at) in enumerate(trips.items()):
        tree[f"{folder}/trip_point_{trip}_type"] = f"{kind}\n"
        tree[f"{folder}/trip_point_{trip}_temp"] = f"{at * 1000:.0f}\n"
    return tree


_GPU = "sys/class/devfreq/17000000.gpu"

ORIN_NANO: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": (
        "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0"
    ),
    "etc/nv_tegra_release": (
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
    ),
    "etc/nvpmodel.conf": (
        "# 15W power modes\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\n"
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
        "< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
        "# < POWER_MODEL ID=9 NAME=OLD >\n< PM_CONFIG DEFAULT=1 >\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "var/lib/dpkg/status": (
        package("bash", "5.1-6ubuntu1")
        + package("nvidia-jetpack", "6.2+b77")
        + package("libnvinfer10", "10.3.0.30-1+cuda12.5")
        + package("cuda-cudart-12-6", "12.6.68-1")
        + package("libnvinfer8", "8.6.2.3-1+cuda12.2", "deinstall ok config-files")
    ),
    "usr/local/cuda/include/cuda.h": "#define CUDA_VERSION 12060\n",
    "usr/include/aarch64-linux-gnu/NvInferVersion.h": (
        "#define NV_TENSORRT_MAJOR 10 //!< TensorRT major version.\n"
        "#define NV_TENSORRT_MINOR 3 //!< TensorRT minor version.\n"
        "#define NV_TENSORRT_PATCH 0 //!< TensorRT patch version.\n"
    ),
    f"{_GPU}/cur_freq": "612000000\n",
    f"{_GPU}/min_freq": "306000000\n",
    f"{_GPU}/max_freq": "1020000000\n",
    f"{_GPU}/available_frequencies": "306000000 408000000 510000000 612000000 1020000000\n",
    f"{_GPU}/governor": "nvhost_podgov\n",
    f"{_GPU}/device/load": "345\n",
    "sys/class/devfreq/13e40000.host1x/cur_freq": "1\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/rate": "3199000000\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/min_rate": "204000000\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/max_rate": "3199000000\n",
    "proc/meminfo": (
        "MemTotal:        7802836 kB\nMemFree:          314572 kB\n"
        "MemAvailable:    5242880 kB\nHugePages_Total:       0\nSwapTotal:       3901408 kB\n"
    ),
    **cluster(0, 3, 1728, (729, 1728), 1728),
    **cluster(4, 5, 729, (729, 1510), 1728),
    **zone(0, "cpu-thermal", 48.5, active=52, passive=99, critical=104.5),
    **zone(9, "tj-thermal", 51.25, active=52, passive=99, critical=104.5, hot=-255),
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",  # and no temperature: it sleeps
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/thermal/cooling_device1/type": "gpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "0\n",
    "sys/class/thermal/cooling_device2/type": "hot-surface-alert\n",
    "sys/class/thermal/cooling_device2/cur_state": "1\n",
    **ina3221(1, VDD_IN=(5032, 1056), VDD_CPU_GPU_CV=(5032, 192), VDD_SOC=(5024, 288)),
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc1_throt_en": "1\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "0\n",
}

AGX_ORIN: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/device-tree/compatible": (
        "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0"
    ),
    "var/lib/nvpmodel/status": "pmode:0000\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=MODE_50W >\n",
    **ina3221(3, VDD_GPU_SOC=(19880, 240), VDD_CPU_CV=(19880, 40), VIN_SYS_5V0=(4968, 953)),
    **ina3221(4, NC=(0, 0), VDDQ_VDD2_1V8AO=(4968, 220), NC_=(0, 0)),
}

THOR: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/device-tree/compatible": (
        "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"
    ),
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic\n",
    "var/lib/dpkg/status": (
        package("nvidia-l4t-core", "38.2.0-20250821174705")
        + package("libnvinfer10", "10.13.3.9-1+cuda13.0")
        + package("cuda-cudart-13-0", "13.0.48-1")
    ),
    "usr/include/aarch64-linux-gnu/NvInferVersion.h": (
        "#define TRT_MAJOR_ENTERPRISE 10\n#define TRT_MINOR_ENTERPRISE 13\n"
        "#define TRT_PATCH_ENTERPRISE 3\n"
        "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE //!< TensorRT major version.\n"
        "#define NV_TENSORRT_MINOR TRT_MINOR_ENTERPRISE //!< TensorRT minor version.\n"
        "#define NV_TENSORRT_PATCH TRT_PATCH_ENTERPRISE //!< TensorRT patch version.\n"
    ),
    "sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n",
    "sys/class/devfreq/gpu-gpc-0/min_freq": "315000000\n",
    "sys/class/devfreq/gpu-gpc-0/max_freq": "1575000000\n",
    "sys/class/devfreq/gpu-nvd-0/cur_freq": "1692000000\n",  # the video engines
    **ina3221(2, VDD_GPU=(12000, -30), VDD_CPU_SOC_MSS=(12000, 500), VIN_SYS_5V0=(5000, 1200)),
    "sys/class/hwmon/hwmon5/name": "ina238\n",
    "sys/class/hwmon/hwmon5/in0_input": "3\n",
    "sys/class/hwmon/hwmon5/in1_input": "19800\n",
    "sys/class/hwmon/hwmon5/curr1_input": "1160\n",
    "sys/class/hwmon/hwmon5/power1_input": "23000000\n",
}

X86: Tree = {
    "proc/cpuinfo": "processor : 0\nmodel name : AMD EPYC\n",
    "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n",
    "sys/class/hwmon/hwmon0/name": "k10temp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "45000\n",
    "sys/class/thermal/cooling_device0/type": "Processor\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    **cluster(0, 0, 2400, (1500, 3500), 3500),
}

RAPL: Tree = {
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "262000000000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "7\n",
    "sys/class/powercap/intel-rapl:0:0/max_energy_range_uj": "262143328850\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "4\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "4\n",
}


@pytest.fixture
def trees() -> SimpleNamespace:
    """The machines, and what makes parts of them."""
    return SimpleNamespace(
        orin_nano=ORIN_NANO,
        agx_orin=AGX_ORIN,
        thor=THOR,
        x86=X86,
        rapl=RAPL,
        cluster=cluster,
        ina3221=ina3221,
        package=package,
        zone=zone,
    )
