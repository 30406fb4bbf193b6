"""How far a build is, as it is told: when a line is written, and what happens when nobody reads."""

import io
import json
import signal
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("onnx")

from rich.console import Console

from edgecv.cli import build_progress
from edgecv.cli.build_progress import ProgressLines, progress_bar
from edgecv.export.engine.progress import BuildState


def test_a_line_is_written_for_a_change_or_after_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(build_progress.time, "monotonic", lambda: now[0])
    lines = ProgressLines()
    for elapsed, phase, fraction in (
        (0.0, "a", 0.1),
        (0.1, "a", 0.1),
        (0.2, "b", 0.1),
        (0.3, "b", 0.2),
        (1.2, "b", 0.2),
        (1.3, "b", 0.2),
        (1.4, "b", 0.2),
    ):
        now[0] = 100 + elapsed
        lines(BuildState(phase, fraction, elapsed))
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["elapsed_s"] for line in written] == [0.0, 0.2, 0.3, 1.3]
    assert written[0] == {
        "phase": "a",
        "fraction": 0.1,
        "elapsed_s": 0.0,
        "remaining_s": None,
    }


@pytest.mark.parametrize(
    ("remaining_s", "left"), [(None, ""), (12.4, "about 12 s left"), (135.0, "about 2 min left")]
)
def test_the_bar_tells_what_is_left(remaining_s: Any, left: str) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    with progress_bar(screen) as show:
        show(BuildState("tactics", 0.5, 60.0, remaining_s))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "tactics" in shown
    assert "50%" in shown
    assert left in shown
    assert ("left" in shown) == bool(left)


def test_a_build_that_nobody_reads_and_that_does_not_end_is_killed() -> None:
    """TensorRT may be long in one step; the process waits for it only so long."""
    program = """
import os, sys
from edgecv.cli import build_progress
from edgecv.export.engine.progress import BuildState
from edgecv.interrupts import deferred_interrupt
build_progress._PATIENCE_S = 0.0
watch = build_progress.ProgressLines()
with deferred_interrupt() as interrupted:
    while True:
        watch(BuildState("a long step", 0.5))
        if interrupted.is_set():
            os.write(2, b"asked ")
        build_progress._HEARTBEAT_S = 0.0
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read().startswith(b"asked ")
    assert process.returncode == -signal.SIGINT
