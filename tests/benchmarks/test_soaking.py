"""The parts of `benchmarks/soak.py` that decide: the plan, silences, growth, damage."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module", autouse=True)
def benchmarks_on_path() -> Iterator[None]:
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


def part(name: str) -> Any:
    return import_module(f"soaking.{name}")


def plan(seed: int, until_s: float = 1200.0) -> list[Any]:
    return list(part("faults").planned(seed, num_cameras=4, until_s=until_s, size="320x180"))


@given(seed=st.integers(0, 2**32))
def test_every_kind_and_camera_comes_before_any_comes_again(seed: int) -> None:
    faults = plan(seed)
    assert faults == plan(seed)
    assert [fault.at_s for fault in faults] == [15.0 * (number + 1) for number in range(79)]
    kinds = [fault.kind for fault in faults]
    cameras = [fault.camera for fault in faults]
    for begin in range(0, 75, 5):
        assert len(set(kinds[begin : begin + 5])) == 5
    for begin in range(0, 76, 4):
        assert len(set(cameras[begin : begin + 4])) == 4


@given(seed=st.integers(0, 2**32))
def test_a_camera_is_whole_before_it_fails_again(seed: int) -> None:
    whole_s = dict.fromkeys(range(4), 0.0)
    for fault in plan(seed):
        assert fault.at_s >= whole_s[fault.camera]
        whole_s[fault.camera] = fault.at_s + fault.lasts_s
        assert whole_s[fault.camera] < 1200


def test_a_silence_counts_where_no_fault_explains_it() -> None:
    silence = part("silences").Silence(0, 10.0, 20.0)
    assert silence.beyond_s([]) == 10
    assert silence.beyond_s([(12.0, 15.0)]) == 7
    assert silence.beyond_s([(5.0, 11.0), (19.0, 30.0)]) == 8
    assert silence.beyond_s([(0.0, 9.0), (21.0, 22.0)]) == 10
    assert silence.beyond_s([(9.0, 21.0)]) == 0


def test_the_wait_for_the_first_and_after_the_last_result_count() -> None:
    log = part("silences").SilenceLog(2, 100.0)
    log.result(0, 103.0)
    log.result(0, 103.5)
    log.end(106.0)
    found = [(each.camera, each.begin_s, each.end_s) for each in log.found]
    assert found == [(0, 100.0, 103.0), (0, 103.5, 106.0), (1, 100.0, 106.0)]
    worst = part("silences").longest_beyond(log.found, [[], [(100.0, 105.0)]])
    assert worst == (3.0, log.found[0])
    assert part("silences").longest_beyond([], [[], []]) == (0.0, None)


def test_growth_is_that_after_the_warm_up() -> None:
    curve = part("curve")
    levels = [0] * 10 + [100] * 10 + [500] + [100] * 29 + [130] * 10
    samples = [curve.Sample(float(at_s), level, 5, 5, 0) for at_s, level in enumerate(levels)]
    growth = curve.growth_of(samples, warm_s=10)
    assert (growth.bytes, growth.peak_bytes) == (30, 400)
    leak = [curve.Sample(float(at_s), 10 * at_s, 5, 5, 0) for at_s in range(60)]
    assert curve.growth_of(leak, warm_s=10).bytes_per_hour == pytest.approx(36_000)


@given(seed=st.integers(0, 2**32))
def test_damage_keeps_the_length_and_stays_in_and_before_the_packets(seed: int) -> None:
    data = bytes(range(256)) * 8
    packets = [(200, 50), (400, 1), (700, 300)]
    out = part("clips").damaged(data, packets, Random(seed), 50)  # noqa: S311
    assert len(out) == len(data)
    allowed = {position for begin, size in packets for position in range(begin - 16, begin + size)}
    changed = {position for position, byte in enumerate(out) if byte != data[position]}
    assert changed
    assert changed <= allowed


def test_a_verdict_names_what_does_not_hold() -> None:
    verdict = part("verdict")
    checks = verdict.Check("two", holds=True), verdict.Check("three", holds=False)
    assert verdict.Verdict("x", checks[:1]).line == "x: passed: two"
    assert verdict.Verdict("x", checks).line == "x: FAILED: two; NOT MET: three"
    assert not verdict.Verdict("x", checks).is_passed


def test_where_the_packets_of_a_file_lie(tmp_path: Path) -> None:
    clips, path = part("clips"), tmp_path / "v.mp4"
    clips.write_clip(clips.CLIPS[0], path, num_frames=10)
    places = clips.packets_of(path)
    ends = [begin + size for begin, size in places]
    assert len(places) == 10
    assert all(end <= begin for end, (begin, _) in zip(ends, places[1:], strict=False))
