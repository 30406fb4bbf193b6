"""What `edgecv doctor` says of a Jetson."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecv.board import findings
from edgecv.board.findings import jetson_findings
from edgecv.doctor import Finding


def found(system: Any, tree: Any) -> dict[str, Finding]:
    listed = jetson_findings(system(tree))
    by_name = {finding.name: finding for finding in listed}
    assert len(by_name) == len(listed)
    for finding in listed:
        assert finding.is_present or finding.remedy, finding
    return by_name


def test_orin_nano(system: Any, trees: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "find_spec", lambda _: object())
    told = {name: one.detail for name, one in found(system, trees.orin_nano).items()}
    assert told == {
        "board": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super: "
        "Orin Nano 8GB (tegra234, sm_87)",
        "JetPack": "6.2+b77, Jetson Linux 36.4.3",
        "CUDA": "12.6",
        "TensorRT": "10.3.0",
        "TensorRT in this Python": "ready",
        "power mode": "MAXN_SUPER (2); there are also 15W (0), 25W (1)",
        "GPU clock": "612 MHz, allowed 306 to 1020, governor nvhost_podgov",
        "CPU 0-3 clock": "1728 MHz, allowed 729 to 1728, governor schedutil",
        "CPU 4-5 clock": "729 MHz, allowed 729 to 1510, could go to 1728, governor schedutil",
        "memory clock": "3199 MHz, allowed 204 to 3199",
        "fixed clocks": "they follow the load",
        "memory": "7.4 GiB shared by CPU and GPU, 5.0 GiB available, 3.7 GiB swap",
        "temperature": "tj 51.2 °C, the hottest of 2, slows down at 99, stops at 104",
        "full speed": "nothing slows it down",
        "power rails": "5.3 W: VDD_IN 5.3 W, VDD_CPU_GPU_CV 1.0 W, VDD_SOC 1.4 W",
    }
    page = Path(__file__).parents[2].joinpath("docs/jetson.md").read_text(encoding="utf-8")
    lines = page.partition("## What `edgecv doctor` says")[2].split("```")[1].strip().splitlines()
    assert lines == [f"{name:<24} {detail}" for name, detail in told.items()]


def test_remedies(system: Any, trees: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "find_spec", lambda _: None)
    told = found(system, trees.agx_orin)
    missing = {name: one.remedy for name, one in told.items() if not one.is_present}
    assert missing.keys() == {
        *("JetPack", "CUDA", "TensorRT", "TensorRT in this Python", "GPU clock", "memory clock"),
        "fixed clocks",
    }
    assert missing["JetPack"] == "sudo apt install nvidia-jetpack"
    assert "--system-site-packages" in missing["TensorRT in this Python"]
    assert told["JetPack"].detail == (
        "release of Jetson Linux not known, but its packages are not installed"
    )
    assert told["power mode"].detail == "MAXN (0); there are also MODE_50W (3)"
    assert told["power rails"].detail.startswith("10.3 W: VDD_GPU_SOC 4.8 W")


def test_thor(system: Any, trees: SimpleNamespace) -> None:
    told = found(system, trees.thor)
    assert "AGX Thor T5000 (tegra264, sm_110)" in told["board"].detail
    assert told["JetPack"].detail == (
        "Jetson Linux 38.2.0 (of JetPack 7), but its packages are not installed"
    )
    assert (told["power mode"].is_present, told["power mode"].remedy) == (False, "sudo nvpmodel -q")
    assert told["power rails"].detail.startswith("23.0 W: VDD_GPU -0.4 W")
    assert "temperature" not in told


def test_fixed_clocks(system: Any, trees: SimpleNamespace) -> None:
    fixed = {
        **trees.cluster(0, 3, 1728, (1728, 1728), 1728),
        **trees.cluster(4, 5, 1728, (1728, 1728), 1728),
        "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
        "sys/class/devfreq/17000000.gpu/min_freq": "1020000000\n",
    }
    told = found(system, {**trees.orin_nano, **fixed})
    assert told["fixed clocks"].is_present
    assert told["GPU clock"].detail == "1020 MHz, fixed, governor nvhost_podgov"


def test_a_board_that_is_slowed_down(system: Any, trees: SimpleNamespace) -> None:
    slowed = {
        "sys/class/thermal/cooling_device1/cur_state": "1\n",
        "sys/class/hwmon/hwmon1/curr1_crit_alarm": "1\n",
        "sys/class/hwmon/hwmon3/oc3_event_cnt": "12\n",
    }
    told = found(system, {**trees.orin_nano, **slowed})["full speed"]
    assert not told.is_present
    assert told.detail == (
        "limited by gpu-throttle-alert; over-current alarm of VDD_IN (critical); "
        "events since the start: oc3 12"
    )
    past = {"sys/class/hwmon/hwmon3/oc3_event_cnt": "12\n"}
    told = found(system, {**trees.orin_nano, **past})["full speed"]
    assert (told.is_present, told.detail) == (True, "events since the start: oc3 12")
    assert told.remedy


def test_a_container_that_hides_the_monitors(system: Any, trees: SimpleNamespace) -> None:
    tree = {path: text for path, text in trees.orin_nano.items() if "hwmon" not in path}
    told = found(system, tree)["power rails"]
    assert not told.is_present
    assert "bench" in told.detail


def test_a_bare_device_tree(system: Any) -> None:
    told = found(system, {"proc/device-tree/compatible": "nvidia,tegra234\0"})
    assert "NVIDIA board: Orin" in told["board"].detail
    assert told["full speed"].is_present


def test_other_machines(system: Any, trees: SimpleNamespace) -> None:
    assert jetson_findings(system(trees.x86)) == []
