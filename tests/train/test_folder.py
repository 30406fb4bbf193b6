"""Runs never share a folder."""

from pathlib import Path

import pytest

from edgecv.train.folder import next_run_folder


def test_the_first_run_is_number_one(tmp_path: Path) -> None:
    assert next_run_folder("ssd", root=tmp_path / "absent") == tmp_path / "absent" / "ssd-1"


def test_counts_on_past_what_exists(tmp_path: Path) -> None:
    for name in ("ssd-1", "ssd-2", "yolo-3"):
        (tmp_path / name).mkdir()
    assert next_run_folder("ssd", root=tmp_path) == tmp_path / "ssd-3"


def test_takes_the_first_gap(tmp_path: Path) -> None:
    (tmp_path / "ssd-2").mkdir()
    assert next_run_folder("ssd", root=tmp_path) == tmp_path / "ssd-1"


def test_a_file_of_that_name_counts(tmp_path: Path) -> None:
    (tmp_path / "ssd-1").write_text("")
    assert next_run_folder("ssd", root=tmp_path) == tmp_path / "ssd-2"


def test_the_default_root_is_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "ssd-1").mkdir(parents=True)
    assert next_run_folder("ssd") == Path("runs/ssd-2")
