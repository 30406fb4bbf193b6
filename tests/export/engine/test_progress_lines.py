"""`edgecv build --progress json` as another program meets it: in a process, through a pipe.

The builder is edgecv's own; TensorRT is the stand-in. One version of it will do: the others differ
in what is asked of them, see `test_build.py`, and a process takes seconds.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

pytest.importorskip("onnx")

from edgecv.errors import DeviceError
from edgecv.runtime.build_process import BuildProcess
from edgecv.runtime.engine_record import read_record

from ...tensorrt_bindings import VERSIONS  # noqa: TID252  # no package to import from
from ...tensorrt_stand_in import PLAN  # noqa: TID252

pytestmark = pytest.mark.parametrize("bindings", VERSIONS[:1], indirect=True)

PROGRAM = Path(__file__).with_name("build_program.py")

Command = Callable[..., list[str]]


@pytest.fixture
def command(
    bindings: Path, model: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    monkeypatch.setenv("EDGECV_CACHE", str(model.parent / "cache"))

    def made(recipe: str = "orin-nx-fp16") -> list[str]:
        build = ["build", model, "-o", model.with_suffix(".engine"), "--recipe", recipe]
        options = ["--plugins", plugins, "--progress", "json"]
        words = (PROGRAM, bindings / "surface.json", model.parent, *build, *options)
        return [sys.executable, *map(str, words)]

    yield made
    (model.parent / "go").touch()


def states(pipe: IO[bytes] | None) -> Iterator[dict[str, Any]]:
    assert pipe is not None
    return map(json.loads, pipe)


def test_a_line_for_each_change_and_one_now_and_then(command: Command, model: Path) -> None:
    """So that who reads knows that it lives, and it knows that somebody reads."""
    engine = model.with_suffix(".engine")
    with subprocess.Popen(command(), stdout=subprocess.PIPE) as process:
        lines = states(process.stdout)
        first = next(line for line in lines if line["fraction"] > 0)
        again = next(lines)
        (model.parent / "go").touch()
        assert (again["phase"], again["fraction"]) == (first["phase"], first["fraction"])
        assert again["elapsed_s"] > first["elapsed_s"]
        rest = list(lines)  # nothing else is printed, or it could not be read
    assert process.returncode == 0
    assert all(line.keys() == first.keys() for line in rest)
    fractions = [line["fraction"] for line in (first, again, *rest)]
    assert fractions == sorted(fractions)
    assert (rest[-1]["phase"], rest[-1]["fraction"]) == ("done", 1.0)
    assert engine.read_bytes() == PLAN
    assert read_record(engine).recipe.device == "Jetson Orin NX"


def test_what_is_refused_is_said_in_its_own_words(command: Command) -> None:
    with pytest.raises(DeviceError, match=r"^recipe `thor-fp16` is for Jetson Thor .* 11\.0"):
        BuildProcess(command("thor-fp16")).follow(lambda _: None)


def test_a_build_that_is_called_off_keeps_its_timings(command: Command, model: Path) -> None:
    process = BuildProcess(command())
    is_building = threading.Event()

    def watch(fraction: float) -> None:
        if fraction > 0:
            is_building.set()

    def follow() -> None:
        with pytest.raises(DeviceError, match="the build ended with code 130"):
            process.follow(watch)

    thread = threading.Thread(target=follow)
    thread.start()
    assert is_building.wait(60)
    process.call_off(60)
    thread.join(60)
    assert not model.with_suffix(".engine").exists()
    assert list((model.parent / "cache" / "tensorrt").glob("*.timing"))


def test_a_build_that_nobody_reads_ends(command: Command, model: Path) -> None:
    """As when the program that started it was killed."""
    with subprocess.Popen(
        command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        next(line for line in states(process.stdout) if line["fraction"] > 0)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 130
    assert not model.with_suffix(".engine").exists()
    assert list((model.parent / "cache" / "tensorrt").glob("*.timing"))
