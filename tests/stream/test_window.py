"""The live window, on a virtual display where Xvfb is installed, and without any."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecv.errors import InputError, MissingDependencyError
from edgecv.stream.window import Window

ON_DISPLAY = """
import importlib.util, sys
from edgecv.stream.run import run_stream
from edgecv.stream.window import Window

spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
colours = []

with Window("test") as window:
    def on_result(result):
        is_open = window.show(result)
        if result.frame.index == 5:
            photo = window._photo
            colours.append((photo.width(), photo.height(), window._label.winfo_width()))
            window._root.focus_force()
            window._root.update()
            window._root.event_generate(sys.argv[2])
        return is_open

    summary = run_stream(fakes.FakeSource(None), fakes.FakeModel(), on_result=on_result)
    assert not window.show(None)
window.close()
print(summary.is_interrupted, summary.num_frames >= 6, colours)
"""


@pytest.fixture
def display() -> Iterator[str]:
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        pytest.skip("needs Xvfb: apt install xvfb")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [xvfb, "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with server, os.fdopen(reading) as ready:
        number = ready.readline().strip()
        yield f":{number}"
        server.terminate()


@pytest.mark.parametrize("key", ["<KeyPress-q>", "<Escape>"])
def test_a_key_closes_the_window_and_ends_the_run(display: str, key: str, tmp_path: Path) -> None:
    pytest.importorskip("tkinter")
    fakes = str(Path(__file__).with_name("conftest.py"))
    done = subprocess.run(
        [sys.executable, "-c", ON_DISPLAY, fakes, key],
        cwd=tmp_path,  # not the checkout, whose package has no native module
        env={**os.environ, "DISPLAY": display},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True True [(64, 48, 64)]\n"


def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(InputError, match=r"there is no display .* `-o out\.mp4`"):
        Window()


def test_without_tkinter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(MissingDependencyError, match="tkinter is not installed"):
        Window()
