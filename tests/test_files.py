"""Files appear whole or not at all, and the errors say so."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from edgecv.errors import OutputError
from edgecv.files import cache_folder, make_folder, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_into_a_new_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "notes.txt", "première\n")
    assert (tmp_path / "a" / "b" / "notes.txt").read_bytes() == "première\n".encode()
    assert names(tmp_path / "a" / "b") == ["notes.txt"]


def test_replaces_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a much longer older text")
    write_text(tmp_path / "notes.txt", "new")
    assert (tmp_path / "notes.txt").read_text() == "new"


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path) as partial:
        partial.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()], ids=repr)
def test_what_stops_the_block_leaves_the_older_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["model.onnx"]


def test_the_temporary_file_lies_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "clip.tar.mp4") as partial:
        assert partial.parent == tmp_path  # a rename between file systems is not atomic
        assert partial.suffix == ".mp4"


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    # Past RLIMIT_FSIZE a write fails as on a full disk, once the signal is ignored.
    code = (
        "import resource, signal, sys; from edgecv.files import write_text;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_text(sys.argv[1], 'x' * 5000)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    last_line = result.stderr.strip().splitlines()[-1]
    assert last_line.startswith(f"edgecv.errors.OutputError: cannot write `{path}`: File too large")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("below", ["report.json", "deeper/report.json"])
def test_a_file_in_the_place_of_the_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "runs").write_text("a file")
    path = tmp_path / "runs" / below
    with pytest.raises(OutputError, match=f"cannot write `{path}`: .*choose another place"):
        write_text(path, "{}")
    assert (tmp_path / "runs").read_text() == "a file"


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        write_text(tmp_path / "report.json", "{}")
    assert names(tmp_path) == ["report.json"]


def test_a_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        write_text(tmp_path / ("n" * 300), "")
    assert names(tmp_path) == []


def test_an_error_of_another_file_is_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"source\.jpg"), replacing(tmp_path / "copy.jpg"):
        (tmp_path / "source.jpg").read_bytes()
    assert names(tmp_path) == []


def test_an_output_error_of_another_file_keeps_its_message(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^no room for `b`$"):
        write_half(tmp_path / "a", OutputError("no room for `b`"))
    assert names(tmp_path) == []


def test_a_failed_write_that_names_no_file_is_this_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"cannot write `{tmp_path / 'a'}`: No space left"):
        write_half(tmp_path / "a", OSError(errno.ENOSPC, "No space left on device"))
    assert names(tmp_path) == []


def test_makes_a_folder_that_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot write"):
            make_folder(folder)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("EDGECV_CACHE")
    assert cache_folder() == Path("/b/edgecv")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "edgecv"
