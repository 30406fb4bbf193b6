"""Adding to a bundle: what comes out, what is refused, and what crashes and rivals leave behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest

pytest.importorskip("onnx")

import onnx

from edgecv.bundle.lock import locked
from edgecv.bundle.manifest import EngineEntry, Latency, Measured
from edgecv.bundle.reading import Bundle
from edgecv.bundle.writing import (
    Addition,
    News,
    add,
    contents_of,
    read_calibration,
    read_engine,
    read_model,
)
from edgecv.errors import InputError, OutputError
from edgecv.metrics.accuracy import Accuracy

Make = Callable[..., Path]

_ELSEWHERE = "/"  # where other processes start: a checkout would be imported from its own folder
ACCURATE = Measured(Accuracy("AP", {"AP": 0.5}, "bccd", "val"), 0.01)


def engine(index: int) -> Addition:
    content = f"engine {index}".encode() * 100
    entry = EngineEntry(f"GPU {index}", "8.7", "10.3.0", "fp16", contents_of(content))
    return Addition(entry, content)


def names(path: Path) -> list[str]:
    with Bundle(path) as bundle:
        bundle.verify()
        return [entry.name for entry in bundle.manifest.entries]


def files_beside(path: Path) -> list[str]:
    """The bundle, and whatever else was left in its folder."""
    return sorted(each.name for each in path.parent.iterdir() if each.suffix != ".onnx")


def test_everything_that_a_bundle_holds(make_onnx: Make, tmp_path: Path) -> None:
    path, plan, table = (tmp_path / name for name in ("b.edgecv", "plan", "table.json"))
    plan.write_bytes(b"plan")
    table.write_text('{"images": 1.5}')
    model = read_model(make_onnx(precision="int8-cpu"), measured=ACCURATE)
    built = read_engine(plan, "fp16", gpu="Orin", capability="8.7", tensorrt="10.3.0")
    manifest = add(path, built, read_calibration(table), model)
    assert [entry.name for entry in manifest.entries] == [
        "int8-cpu",
        "Orin-sm87-trt10.3.0-fp16",
        "calibration",
    ]
    with Bundle(path) as bundle:
        assert bundle.manifest == manifest
        contents = [bundle.read(entry) for entry in manifest.entries]
        assert bundle.manifest.models[0].measured == ACCURATE
    assert contents == [model.content, b"plan", b'{"images": 1.5}']
    assert files_beside(path) == ["b.edgecv", "plan", "table.json"]


def test_the_order_of_adding_does_not_show(make_onnx: Make, tmp_path: Path) -> None:
    additions = [
        read_model(make_onnx("a.onnx")),
        read_model(make_onnx("b.onnx", weight=0.5), "fp16", ACCURATE),
        read_model(make_onnx("c.onnx", weight=0.4), "int8-cpu"),
    ]
    seen = set()
    for index, order in enumerate(permutations(additions)):
        path = tmp_path / f"{index}.edgecv"
        for addition in order:
            add(path, addition, engine(1), engine(0))
        seen.add(path.read_bytes())
    assert len(seen) == 1


def test_adding_the_same_file_again_changes_nothing(make_onnx: Make, tmp_path: Path) -> None:
    path, model = tmp_path / "b.edgecv", read_model(make_onnx(), measured=ACCURATE)
    add(path, model)
    before = path.stat()
    add(path, model)
    add(path, read_model(make_onnx()))
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_figures_gather(make_onnx: Make, tmp_path: Path) -> None:
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx(), measured=ACCURATE))
    one = Latency("CPU", "onnxruntime cpu", 1, 3.0)
    two = Latency("CPU", "onnxruntime cpu", 2, 2.0)
    add(path, read_model(make_onnx(), measured=Measured(latencies=(one,))))
    manifest = add(path, News("fp32", Measured(latencies=(two,))))
    assert manifest.models[0].measured == Measured(*_accuracy(), (one, two))
    with pytest.raises(InputError, match="no entry `fp16`"):
        add(path, News("fp16", ACCURATE))
    with pytest.raises(InputError, match="no such bundle"):
        add(tmp_path / "none.edgecv", News("fp32", ACCURATE))


def _accuracy() -> tuple[Accuracy | None, float | None]:
    return ACCURATE.accuracy, ACCURATE.max_drop


def test_another_file_takes_a_place_only_when_told(make_onnx: Make, tmp_path: Path) -> None:
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx(), measured=ACCURATE))
    other = read_model(make_onnx("other.onnx", weight=0.2))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"holds another `fp32` already.*`--replace`"):
        add(path, other)
    assert path.read_bytes() == before
    manifest = add(path, other, replace_existing=True)
    assert manifest.models == (other.entry,)  # what was measured was measured of the old one
    table = tmp_path / "table.json"
    table.write_text("{}")
    add(path, read_calibration(table))
    table.write_text('{"a": 1}')
    with pytest.raises(InputError, match="another `calibration`"):
        add(path, read_calibration(table))
    with pytest.raises(InputError, match="nothing can be measured of it"):
        add(path, News("calibration", ACCURATE))


def test_another_model_is_refused(make_onnx: Make, tmp_path: Path) -> None:
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx(model="one", data="x")))
    add(path, read_model(make_onnx("half.onnx", model="two", data="y", precision="fp16")))
    other = read_model(make_onnx("other.onnx", classes=("cow", "dog"), precision="int8-cpu"))
    with pytest.raises(InputError, match=r"another model; .*: classes\[0\]: 'cat' and 'cow'\."):
        add(path, other)
    assert names(path) == ["fp32", "fp16"]


def test_a_bundle_begins_with_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "b.edgecv"
    with pytest.raises(InputError, match="begins with an ONNX file"):
        add(path, engine(0))
    with pytest.raises(InputError, match="would be empty"):
        add(path)
    with pytest.raises(InputError, match=r"must end in `\.edgecv`, got `\.zip`"):
        add(tmp_path / "b.zip", engine(0))
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_added(make_onnx: Make, tmp_path: Path) -> None:
    missing, empty, text = (tmp_path / name for name in ("missing", "empty", "text"))
    empty.write_bytes(b"")
    text.write_text("[1, 2]")
    for read in (read_model, read_calibration):
        with pytest.raises(InputError, match="missing` cannot be read: No such file"):
            read(missing)
        with pytest.raises(InputError, match="empty` is empty"):
            read(empty)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_model(tmp_path)
    with pytest.raises(InputError, match="must hold a JSON object"):
        read_calibration(text)
    with pytest.raises(InputError, match="is not an ONNX file"):
        read_model(text)
    broken = make_onnx(operator=("", "NoSuchOperator"))
    with pytest.raises(InputError, match="cannot be opened by onnxruntime"):
        read_model(broken)
    # Only TensorRT could run it, so that nobody can try it here.
    opaque = read_model(make_onnx(operator=("edgecv", "EdgeNMS")))
    assert opaque.entry.plugins == ("EdgeNMS",)  # type: ignore[union-attr]


def test_a_damaged_bundle_is_not_signed_anew(make_onnx: Make, tmp_path: Path) -> None:
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx()), engine(0))
    content = bytearray(path.read_bytes())
    content[content.find(b"engine 0") + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a whole edgecv bundle: `GPU"):
        add(path, engine(1))
    assert path.read_bytes() == content
    assert files_beside(path) == ["b.edgecv"]


def test_a_full_or_closed_folder_leaves_the_old_bundle(
    make_onnx: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx()))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    with pytest.raises(OutputError, match="No space left"):
        add(path, engine(0))
    assert path.read_bytes() == before
    assert files_beside(path) == ["b.edgecv"]
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        add(file / "b.edgecv", engine(0))


_ADDER = """
import sys
from pathlib import Path
from edgecv.bundle.manifest import EngineEntry
from edgecv.bundle.writing import Addition, add, contents_of

path, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for index in range(first, first + count):
    content = f"engine {index}".encode() * 100
    entry = EngineEntry(f"GPU {index}", "8.7", "10.3.0", "fp16", contents_of(content))
    add(path, Addition(entry, content))
"""

_MAKER = """
import sys
from pathlib import Path
from edgecv.bundle.writing import add, read_model

addition = read_model(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
add(sys.argv[1], addition)
"""


def run_at_once(script: str, *arguments: tuple[object, ...]) -> None:
    """Run the script in a process for each of `arguments`, let go together when all are ready."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, *map(str, words)],
                    cwd=_ELSEWHERE,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for words in arguments
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(120) for process in processes] == [0] * len(processes)


def test_processes_that_add_at_once_lose_nothing(make_onnx: Make, tmp_path: Path) -> None:
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx()))
    run_at_once(_ADDER, *((path, 10 * rank, 10) for rank in range(6)))
    expected = {"fp32", *(engine(index).entry.name for index in range(60))}
    assert set(names(path)) == expected
    assert files_beside(path) == ["b.edgecv"]


def test_processes_that_make_a_bundle_at_once_lose_nothing(make_onnx: Make, tmp_path: Path) -> None:
    path = tmp_path / "new" / "b.edgecv"
    precisions = ("fp32", "fp16", "int8-cpu", "int8-tensorrt")
    models = [make_onnx(f"{precision}.onnx", precision=precision) for precision in precisions]
    run_at_once(_MAKER, *((path, model) for model in models))
    assert names(path) == list(precisions)


# Processes that were started in the background ignore CTRL-C, and hand that down.
_HOLDER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
import edgecv.bundle.writing as writing
from edgecv.bundle.manifest import EngineEntry

def stall(path, manifest, old, fresh):
    with writing.replacing(path) as partial:
        partial.write_bytes(b"half a bundle")
        print("holding", flush=True)
        time.sleep(600)

writing._write = stall
contents = writing.contents_of(b"x")
entry = EngineEntry("GPU", "8.7", "10.3.0", "fp32", contents)
writing.add(Path(sys.argv[1]), writing.Addition(entry, b"x"))
"""


@pytest.fixture
def held(make_onnx: Make, tmp_path: Path) -> tuple[Path, "subprocess.Popen[bytes]"]:
    """A bundle, and a process in the middle of adding to it."""
    path = tmp_path / "b.edgecv"
    add(path, read_model(make_onnx()))
    command = [sys.executable, "-c", _HOLDER, str(path)]
    holder = subprocess.Popen(command, cwd=_ELSEWHERE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"holding\n"
    return path, holder


def ended(holder: "subprocess.Popen[bytes]") -> None:
    holder.wait(30)
    assert holder.stdout is not None
    holder.stdout.close()


def test_a_killed_writer_stops_nobody(held: tuple[Path, "subprocess.Popen[bytes]"]) -> None:
    path, holder = held
    assert len(files_beside(path)) == 3  # the lock and the half of a bundle
    holder.send_signal(signal.SIGKILL)
    ended(holder)
    add(path, engine(0))
    assert names(path) == ["fp32", engine(0).entry.name]
    assert files_beside(path) == ["b.edgecv"]


def test_an_interrupted_writer_cleans_up(held: tuple[Path, "subprocess.Popen[bytes]"]) -> None:
    path, holder = held
    holder.send_signal(signal.SIGINT)
    ended(holder)
    assert files_beside(path) == ["b.edgecv"]
    assert names(path) == ["fp32"]


def test_readers_do_not_wait_and_writers_give_up(
    held: tuple[Path, "subprocess.Popen[bytes]"],
) -> None:
    path, holder = held
    try:
        assert names(path) == ["fp32"]
        with pytest.raises(OutputError, match=r"locked by another process for 0\.1 s"):
            add(path, engine(0), timeout_s=0.1)
        assert names(path) == ["fp32"]
    finally:
        holder.kill()
        ended(holder)


def test_a_lock_is_for_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with locked(path), pytest.raises(OutputError, match="locked"), locked(path, timeout_s=0.05):
        pass
    with locked(path):
        assert [each.name for each in tmp_path.iterdir()] == [".x.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it, the last holder may remove it."""
    import fcntl

    path, guard = tmp_path / "x", tmp_path / ".x.lock"
    lock, removed = fcntl.flock, []

    def late(descriptor: int, kind: int) -> None:
        if not removed:
            guard.unlink()
            removed.append(True)
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(path):
        assert guard.exists()
        with pytest.raises(OutputError, match="locked"), locked(path, timeout_s=0.05):
            pass
    assert removed


_BARE = """
import sys
for name in ("onnx", "onnxscript", "onnx_ir", "torch"):
    sys.modules[name] = None
import edgecv
from pathlib import Path
from edgecv.bundle.writing import add, read_model
bundle, model = sys.argv[1:]
add(bundle, read_model(Path(model)))
with edgecv.load(bundle) as opened:
    print(opened.session.backend)
"""


def test_a_device_without_onnx_and_torch_adds_and_reads(make_onnx: Make, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BARE, str(tmp_path / "b.edgecv"), str(make_onnx())]
    done = subprocess.run(command, cwd=_ELSEWHERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(", fp32 of b.edgecv\n")


def test_an_older_date_and_another_user_do_not_show(make_onnx: Make, tmp_path: Path) -> None:
    model = read_model(make_onnx())
    add(tmp_path / "a.edgecv", model)
    mask = os.umask(0o077)
    try:
        time.sleep(0.01)
        add(tmp_path / "b.edgecv", model)
    finally:
        os.umask(mask)
    assert (tmp_path / "a.edgecv").read_bytes() == (tmp_path / "b.edgecv").read_bytes()
    assert json.loads(onnx.load(make_onnx()).metadata_props[0].value)["schema"] == 1
