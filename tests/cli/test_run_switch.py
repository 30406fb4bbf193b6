"""`edgecv run` on a session that changes its backend on the way: what is said and counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from edgecv.runtime.model import Model
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.switching import BackendOutputs, Listener, SwitchingSession

from .conftest import Run

SWITCH = 5  # runs before it


class Changing(SwitchingSession):
    """Switches after some runs, and says so."""

    reason = "recipe orin, for a test"

    def __init__(self, path: Path) -> None:
        super().__init__(OnnxruntimeSession(path, "cpu", threads=1))
        self.second = OnnxruntimeSession(path, "cpu", threads=1)
        self.second.backend = "tensorrt Orin"
        self.num_runs = 0
        self.listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def run(self, *given: Any) -> BackendOutputs:
        self.num_runs += 1
        if self.num_runs > SWITCH and self.backend != "tensorrt Orin":
            self.switch(self.second)
            for listener in self.listeners:
                listener("tensorrt Orin took over from onnxruntime cpu.")
        return super().run(*given)

    def warm_up(self) -> None: ...


def test_the_switch_is_said_and_counted(
    edgecv: Run,
    segmenter: Callable[..., Path],
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, figures = segmenter(), tmp_path / "figures.json"
    monkeypatch.setattr("edgecv.runtime.model.load", lambda *_, **__: Model(Changing(path)))
    done = edgecv("run", path, "--source", video, "--json", figures)
    assert done.code == 0, done.err
    assert "onnxruntime cpu: recipe orin, for a test." in done.out
    assert done.out.count("tensorrt Orin took over from onnxruntime cpu.") == 1
    assert "Frames by backend: 5 on onnxruntime cpu, then 7 on tensorrt Orin." in done.out
    plain = json.loads(figures.read_text())
    assert plain["frames_by_backend"] == {"onnxruntime cpu": 5, "tensorrt Orin": 7}
    assert plain["backend"] == "tensorrt Orin"


def test_a_single_backend_is_not_counted_aloud(
    edgecv: Run, segmenter: Callable[..., Path], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = segmenter()
    session = OnnxruntimeSession(path, "cpu", threads=1)
    monkeypatch.setattr("edgecv.runtime.model.load", lambda *_, **__: Model(session))
    done = edgecv("run", path, "--source", video)
    assert "12 frames in" in done.out
    assert "Frames by backend" not in done.out
