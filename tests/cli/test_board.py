"""What `doctor` and `bench` print on a Jetson; elsewhere they say nothing of boards and power."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgecv import bench as bench_module
from edgecv.board import energy, findings
from edgecv.board.files import SystemFiles

pytest.importorskip("onnx")

ORIN_NX = {
    "proc/device-tree/model": "NVIDIA Jetson Orin NX [a]\0",
    "proc/device-tree/compatible": "nvidia,p3767-0000\0nvidia,tegra234\0",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "2000\n",
    "sys/class/thermal/cooling_device1/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "1\n",
}


@pytest.fixture
def orin_nx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine_without_meters: None) -> Path:
    """This machine, as if it were an Orin NX that draws 10 W and is hot."""
    del machine_without_meters  # comes first
    root = tmp_path / "orin_nx"
    for name, text in ORIN_NX.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    here = partial(SystemFiles, root)
    for module in (energy, findings):
        monkeypatch.setattr(module, "SystemFiles", here)
    monkeypatch.setattr(energy.PowerProbe, "measure_idle", _idle_4_w)
    monkeypatch.setattr(bench_module, "_STEADY_S", 0.6)
    monkeypatch.setattr(energy, "SHORT_S", 1e3)
    return root


def _idle_4_w(probe: Any) -> None:
    probe.idle_w = 4.0


def test_doctor(edgecv: Any, orin_nx: Path, tmp_path: Path) -> None:
    del orin_nx
    figures = tmp_path / "doctor.json"
    outcome = edgecv("doctor", "--json", figures)
    assert outcome.code == 0
    assert "NVIDIA Jetson Orin NX [a]: Orin NX 16GB (tegra234, sm_87)" in outcome.out
    assert "10.0 W: VDD_IN 10.0 W" in outcome.out
    told = {one["name"]: one for one in json.loads(figures.read_text())["Jetson"]}
    assert told["full speed"]["detail"] == "limited by cpu-throttle-alert"


def test_doctor_elsewhere(
    edgecv: Any, orin_nx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del orin_nx
    monkeypatch.setattr(findings, "SystemFiles", partial(SystemFiles, tmp_path / "nothing"))
    outcome = edgecv("doctor", "--json", tmp_path / "doctor.json")
    assert "Jetson\n" not in outcome.out  # no such heading
    assert "Jetson" not in json.loads((tmp_path / "doctor.json").read_text())


def test_bench_reports_power(
    edgecv: Any, orin_nx: Path, adopted: Path, video: Path, tmp_path: Path
) -> None:
    del orin_nx
    figures = tmp_path / "bench.json"
    outcome = edgecv("bench", adopted, "--source", video, "--repeat", "3", "--json", figures)
    assert outcome.code == 0, outcome.err
    assert "Power of the module, by the board's power monitors (VDD_IN); idle 4.00 W" in outcome.out
    assert "Throttled during the network alone: limited by cpu-throttle-alert." in outcome.out
    assert "s: too short to rely on. Give a longer video." in outcome.out
    assert "No throttling was seen." not in outcome.out
    power = json.loads(figures.read_text())["power"]
    assert (power["idle_w"], power["total_of"]) == (4.0, ["VDD_IN"])
    assert power["uses"].keys() == {"network alone", "whole stream"}
    assert power["uses"]["whole stream"]["frames"] == 12
    for use in power["uses"].values():
        assert use["mean_w"] == use["peak_w"] == 10.0
        # 10 W for as long as one frame takes, of which 6 W are above idle.
        assert use["joules_per_frame"] == pytest.approx(10 / use["fps"], rel=0.01, abs=1e-5)
        assert use["fps_per_watt"] == pytest.approx(use["fps"] / 10, rel=0.01)
        above = use["joules_above_idle_per_frame"]
        assert above == pytest.approx(0.6 * use["joules_per_frame"], abs=2e-5)


def test_bench_on_a_cool_board(edgecv: Any, orin_nx: Path, adopted: Path, tmp_path: Path) -> None:
    (orin_nx / "sys/class/thermal/cooling_device1/cur_state").write_text("0\n")
    figures = tmp_path / "bench.json"
    outcome = edgecv("bench", adopted, "--repeat", "3", "--json", figures)
    assert outcome.code == 0, outcome.err
    assert "No throttling was seen." in outcome.out
    assert json.loads(figures.read_text())["power"]["uses"].keys() == {"network alone"}


def test_bench_whose_meter_fails(
    edgecv: Any, orin_nx: Path, adopted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del orin_nx
    monkeypatch.setattr("edgecv.board.meters.RailMeter.read", lambda _: None)
    figures = tmp_path / "bench.json"
    outcome = edgecv("bench", adopted, "--repeat", "3", "--json", figures)
    assert outcome.code == 0, outcome.err
    assert "Power" not in outcome.out
    assert json.loads(figures.read_text())["power"] is None


def test_bench_elsewhere(edgecv: Any, adopted: Path, tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    outcome = edgecv("bench", adopted, "--repeat", "3", "--json", figures)
    assert outcome.code == 0, outcome.err
    assert "Power" not in outcome.out
    assert "hrottl" not in outcome.out
    assert json.loads(figures.read_text())["power"] is None
