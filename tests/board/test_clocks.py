"""The clocks of a board."""

from types import SimpleNamespace
from typing import Any

from edgecv.board.clocks import cpu_clocks, gpu_clocks, memory_clock


def test_orin_nano(system: Any, trees: SimpleNamespace) -> None:
    files = system(trees.orin_nano)
    (gpu,) = gpu_clocks(files)
    assert (gpu.name, gpu.hz, gpu.min_hz, gpu.max_hz) == ("GPU", 612e6, 306e6, 1020e6)
    assert (gpu.highest_hz, gpu.governor, gpu.load) == (1020e6, "nvhost_podgov", 0.345)
    assert not gpu.is_fixed
    first, second = cpu_clocks(files)
    assert (first.name, first.hz, first.cpus) == ("CPU 0-3", 1728e6, (0, 1, 2, 3))
    assert (second.name, second.max_hz, second.highest_hz) == ("CPU 4-5", 1510e6, 1728e6)
    memory = memory_clock(files)
    assert memory is not None
    assert (memory.hz, memory.max_hz) == (3199e6, 3199e6)


def test_thor_has_no_load_and_its_video_engine_is_no_gpu(
    system: Any, trees: SimpleNamespace
) -> None:
    (gpu,) = gpu_clocks(system(trees.thor))
    assert (gpu.hz, gpu.load, gpu.highest_hz) == (1575e6, None, None)


def test_fixed_clocks(system: Any, trees: SimpleNamespace) -> None:
    fixed = {"sys/class/devfreq/17000000.gpu/min_freq": "1020000000\n"}
    (gpu,) = gpu_clocks(system({**trees.orin_nano, **fixed}))
    assert gpu.is_fixed


def test_what_cannot_be_read_is_not_there(system: Any, trees: SimpleNamespace) -> None:
    files = system(trees.x86)
    assert gpu_clocks(files) == []
    assert memory_clock(files) is None  # for root only
    assert [clock.name for clock in cpu_clocks(files)] == ["CPU 0"]
    files = system({"sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "<unknown>\n"})
    assert cpu_clocks(files) == []
    files = system({"sys/class/devfreq/17000000.gpu/cur_freq": ""})
    assert gpu_clocks(files) == []
