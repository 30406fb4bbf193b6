"""Reading the kernel's files: what is missing, forbidden or broken is None."""

import errno
import os
from pathlib import Path

import pytest

from edgecv.board.files import SystemFiles


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42\n", 42),
        ("-5", -5),
        (" 7 \n", 7),
        ("0x10\n", None),
        ("1 2\n", None),
        ("²\n", None),  # a digit to `str.isdigit`, and no number
        ("<not counted>\n", None),
        ("", None),
    ],
)
def test_integers(tmp_path: Path, text: str, number: int | None) -> None:
    (tmp_path / "value").write_text(text)
    assert SystemFiles(tmp_path).integer("value") == number


def test_text_loses_what_is_around_it(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson\0")
    (tmp_path / "broken").write_bytes(b"ok \xff\n")
    files = SystemFiles(tmp_path)
    assert files.text("model") == "NVIDIA Jetson"
    assert files.text("broken") == "ok \N{REPLACEMENT CHARACTER}"


def test_missing_files_and_folders(tmp_path: Path) -> None:
    files = SystemFiles(tmp_path)
    assert files.text("nothing") is None
    assert files.integer("nothing") is None
    assert files.text(tmp_path) is None  # a folder
    assert files.matching("sys/class/*/x") == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN, errno.ENODEV, errno.ETIMEDOUT])
def test_files_that_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), path)

    (tmp_path / "energy_uj").write_text("1\n")
    assert SystemFiles(tmp_path).integer("energy_uj") == 1
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    assert SystemFiles(tmp_path).integer("energy_uj") is None


def test_folders_that_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "glob", refuse)
    assert SystemFiles(tmp_path).matching("*") == []


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        (tmp_path / f"zone{number}").mkdir()
    names = [path.name for path in SystemFiles(tmp_path).matching("zone*")]
    assert names == ["zone2", "zone9", "zone10"]
