"""Which backend `auto` takes: what is raced, what is kept, when it is raced anew, what is said.

OpenVINO is stood in for by a second session of onnxruntime, and the clock by given figures.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from edgecv.errors import InputError
from edgecv.runtime import racing
from edgecv.runtime.contenders import Contender
from edgecv.runtime.model import Model
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.session import GraphSession, RunOptions, open_session

Make = Callable[..., Path]


class Rival(OnnxruntimeSession):
    """What stands in for OpenVINO; `factor` makes it compute something else."""

    factor = 1.0

    def __init__(self, path: Path) -> None:
        super().__init__(path, "cpu")
        self.backend = "openvino cpu"

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return {name: v * self.factor for name, v in super().run(*args, **kwargs).items()}


class Track:
    """A machine with OpenVINO where each takes as long as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.median_ms = {"onnxruntime": 10.0, "openvino": 5.0}
        self.num_races = 0
        self.refusal = ""
        real_open, real_timed = racing.open_graph, racing._timed

        def opened(path: Path, options: RunOptions) -> GraphSession:
            if options.backend != "openvino":
                return real_open(path, options)
            if self.refusal:
                raise InputError(self.refusal)
            return Rival(path)

        def timed(models: Mapping[Any, Model]) -> Any:
            self.num_races += 1
            answers, measured = real_timed(models)
            assert all(value > 0 for value in measured.values())
            return answers, {name: self.median_ms[name] for name in models}

        monkeypatch.setattr(racing, "open_graph", opened)
        monkeypatch.setattr(racing, "_timed", timed)
        monkeypatch.setattr(racing, "find_spec", lambda name: name)
        monkeypatch.setattr(racing, "available_devices", lambda: ["cpu"])
        monkeypatch.setattr(racing, "_RACE_S", 0.0)
        monkeypatch.setenv("EDGECV_CACHE", str(cache))
        monkeypatch.delenv("EDGECV_BACKEND")


@pytest.fixture
def track(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Track:
    return Track(monkeypatch, tmp_path / "cache")


def opened(path: Path, device: str = "auto", **options: Any) -> GraphSession:
    session = open_session(path, device, **options)
    assert isinstance(session, GraphSession)
    return session


def test_the_faster_one_is_taken_and_kept(make_onnx: Make, track: Track) -> None:
    path = make_onnx()
    first = opened(path)
    assert first.backend == "openvino cpu"
    assert first.reason.startswith("raced here on 20")
    assert "onnxruntime 10.00 ms, openvino 5.00 ms" in first.reason
    assert first.run(np.zeros((1, 3, 64, 64), np.float32))["output"].shape == (1, 84, 7)
    track.median_ms["openvino"] = 20.0
    second = opened(path, "cpu")
    assert (second.backend, second.reason) == (first.backend, first.reason)
    assert track.num_races == 1


@pytest.mark.parametrize(
    ("openvino_ms", "winner"), [(9.6, "onnxruntime"), (9.5, "openvino"), (11.0, "onnxruntime")]
)
def test_a_lead_must_be_clear(
    make_onnx: Make, track: Track, openvino_ms: float, winner: str
) -> None:
    """Less than a twentieth is a tie, which the first of the two wins."""
    track.median_ms["openvino"] = openvino_ms
    assert opened(make_onnx()).backend == f"{winner} cpu"


def test_another_file_number_of_threads_or_hint_is_another_race(
    make_onnx: Make, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx()
    others = {"threads": 1}, {"threads": 2}, {"threads": 2, "hint": "throughput"}
    for count, options in enumerate(({}, *others), start=1):
        opened(path, **options)
        opened(path, **options)
        assert track.num_races == count
    opened(make_onnx(weight=0.5))
    assert track.num_races == 5
    monkeypatch.setattr(racing, "versions_in_use", lambda *_: {"openvino": "2099.1"})
    opened(path)
    monkeypatch.setattr(racing, "cpu_name", lambda: "Z80")
    opened(path)
    assert track.num_races == 7


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"median_ms": {}}', '{"median_ms": {"on'])
def test_a_damaged_record_is_raced_anew(
    make_onnx: Make, track: Track, tmp_path: Path, content: str
) -> None:
    path = make_onnx()
    opened(path)
    (record,) = (tmp_path / "cache" / "backends").iterdir()
    kept = json.loads(record.read_text())
    assert kept["median_ms"] == track.median_ms
    record.write_text(content)
    opened(path)
    assert track.num_races == 2
    assert json.loads(record.read_text()) == kept


def test_without_a_cache_it_runs_all_the_same(
    make_onnx: Make, track: Track, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    for count in (1, 2):
        assert opened(make_onnx()).backend == "openvino cpu"
        assert track.num_races == count


def test_who_cannot_run_it_or_computes_something_else_loses(
    make_onnx: Make, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    track.refusal = "no rule for `Add`. Take another."
    session = opened(make_onnx(weight=0.4))
    assert session.backend == "onnxruntime cpu"
    assert "onnxruntime 10.00 ms, openvino cannot run it (no rule for `Add`)" in session.reason
    track.refusal = ""
    monkeypatch.setattr(Rival, "factor", 1.02)
    session = opened(make_onnx(weight=0.5))
    assert session.backend == "onnxruntime cpu"
    assert "openvino computes something else" in session.reason
    monkeypatch.setattr(Rival, "factor", 1.001)
    assert opened(make_onnx(weight=0.6)).backend == "openvino cpu"


def test_8_bits_are_not_left_to_speed(make_onnx: Make, track: Track) -> None:
    session = opened(make_onnx(precision="int8-cpu"))
    assert session.backend == "onnxruntime cpu"
    assert "8 bits round otherwise" in session.reason
    assert track.num_races == 0


def test_where_there_is_no_choice_nothing_is_raced(
    make_onnx: Make, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx()
    assert opened(path, "gpu").backend == "openvino cpu"  # the stand-in's name
    monkeypatch.setattr(racing, "find_spec", lambda name: None if name == "openvino" else name)
    session = opened(path)
    assert (session.backend, session.reason) == ("onnxruntime cpu", "")
    monkeypatch.setattr(racing, "find_spec", lambda name: name)
    monkeypatch.setattr(racing, "available_devices", lambda: ["cuda", "cpu"])
    assert opened(path).reason == ""  # a GPU needs no race
    assert track.num_races == 0


def test_the_environment_names_a_backend(
    make_onnx: Make, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx()
    monkeypatch.setenv("EDGECV_BACKEND", "openvino")
    track.median_ms["openvino"] = 99.0
    session = opened(path)
    assert (session.backend, session.reason) == ("openvino cpu", "EDGECV_BACKEND asks for it")
    assert opened(path, backend="onnxruntime").backend == "onnxruntime cpu"
    monkeypatch.setenv("EDGECV_BACKEND", "onnxruntime")
    assert opened(path).backend == "onnxruntime cpu"
    assert opened(path, "npu").reason == "only it runs on this `npu`"  # the device was asked for
    for wrong in ("torch", "tensorflow"):
        monkeypatch.setenv("EDGECV_BACKEND", wrong)
        with pytest.raises(InputError, match=rf"`EDGECV_BACKEND` must be one of .*, got '{wrong}'"):
            opened(path)
    assert track.num_races == 0


def test_a_longer_measurement_replaces_the_race(
    make_onnx: Make, track: Track, tmp_path: Path
) -> None:
    path, options = make_onnx(), RunOptions(threads=1)
    figures = {Contender("onnxruntime"): 4.0, Contender("openvino"): 8.0}
    bf16 = {Contender("openvino", "bf16"): 1.0}
    assert opened(path, threads=1).backend == "openvino cpu"
    for fewer in ({**bf16, Contender("onnxruntime"): 4.0}, {Contender("openvino"): 8.0}):
        assert not racing.remember_comparison(path, options, fewer)
    assert not racing.remember_comparison(tmp_path / "best.pt", options, figures)
    assert not racing.remember_comparison(path, replace(options, device="cuda"), figures)
    assert opened(path, threads=1).backend == "openvino cpu"
    assert racing.remember_comparison(path, options, figures | bf16)
    session = opened(path, threads=1)
    assert session.backend == "onnxruntime cpu"
    assert "onnxruntime 4.00 ms, openvino 8.00 ms" in session.reason
    assert track.num_races == 1
