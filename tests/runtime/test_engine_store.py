"""Which engine a machine wants: its recipe, its place, and whether what lies there fits."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecv.board.files import SystemFiles
from edgecv.errors import InputError
from edgecv.runtime.engine_record import Host, record_path
from edgecv.runtime.engine_store import choose_recipe, wanted_engine

from .engines import GPU, HOST, StandInWorkshop

BOARDS = {
    "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234": "orin-nano",
    "nvidia,p3768-0000+p3767-0000\0nvidia,tegra234": "orin-nx",
    "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234": "agx-orin",
    "somebody,board\0nvidia,tegra234": "orin-nano",
    "nvidia,p3971-0080+p3834-0008\0nvidia,tegra264": "thor",
    "somebody,board\0nvidia,tegra264": "thor",
    "nvidia,tegra999": "workstation",
    "raspberrypi,5-model-b": "workstation",
}


def machine(folder: Path, compatible: str) -> SystemFiles:
    tree = folder / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_text(f"{compatible}\0")
    (tree / "model").write_text("A board\0")
    return SystemFiles(folder)


@pytest.mark.parametrize("precision", [None, "fp32", "fp16"])
@pytest.mark.parametrize("compatible", BOARDS)
def test_every_board_has_a_recipe(compatible: str, precision: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from edgecv.export.engine.recipe_files import read_recipe

    choice = choose_recipe(machine(tmp_path, compatible), precision)
    expected = BOARDS[compatible]
    assert choice.name == (expected if precision is None else f"{expected}-{precision}")
    assert read_recipe(choice.name).precision == precision


def test_the_choice_is_said(tmp_path: Path) -> None:
    nano, *_, strange, _ = BOARDS
    assert choose_recipe(machine(tmp_path / "a", nano), None).reason == (
        "for A board (Orin Nano 8GB)"
    )
    assert choose_recipe(machine(tmp_path / "b", strange), None).reason == (
        "for an unknown A board (tegra999)"
    )
    assert choose_recipe(SystemFiles(tmp_path), None).reason == "for a GPU with memory of its own"


def test_a_precision_without_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fp32, fp16 and the file's own types, got bf16\. Leave"):
        choose_recipe(SystemFiles(tmp_path), "bf16")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model.onnx"
    path.write_bytes(b"a graph")
    return path


def test_whatever_makes_another_engine_has_another_place(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins, others = tmp_path / "a.so", tmp_path / "b.so"
    plugins.write_bytes(b"plugins")
    others.write_bytes(b"other plugins")
    cache = tmp_path / "cache"

    def place(host: Host = HOST, precision: Any = None) -> Path:
        return wanted_engine(model, host, precision, cache).path

    places = [
        place(),
        place(precision="fp16"),
        place(replace(HOST, tensorrt="10.3.1")),
        place(replace(HOST, gpu=replace(GPU, name="Orin NX"))),
        place(replace(HOST, gpu=replace(GPU, capability="8.6"))),
        place(replace(HOST, gpu=replace(GPU, multiprocessors=16))),
        place(replace(HOST, plugins=plugins)),
        place(replace(HOST, plugins=others)),
    ]
    assert place() == places[0]
    copy = tmp_path / "elsewhere" / model.name
    copy.parent.mkdir()
    copy.write_bytes(model.read_bytes())
    assert wanted_engine(copy, HOST, None, cache).path == places[0]
    monkeypatch.setattr("edgecv.__version__", "99")
    places.append(place())
    model.write_bytes(b"another graph")
    places.append(place())
    assert len(set(places)) == len(places) == 10
    assert {path.parent for path in places} == {cache}
    assert all(path.name.startswith("my-model-workstation-") for path in places)


def test_engines_are_kept_in_the_users_cache(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "own"))
    assert wanted_engine(model, HOST).path.parent == tmp_path / "own" / "tensorrt"


def test_the_command_builds_what_is_looked_for(model: Path, tmp_path: Path) -> None:
    plugins = tmp_path / "a.so"
    plugins.write_bytes(b"")
    wanted = wanted_engine(model, HOST, "fp16", tmp_path)
    command = f"edgecv build '{model}' -o {wanted.path} --recipe workstation-fp16"
    assert wanted.command == command
    with_plugins = wanted_engine(model, replace(HOST, plugins=plugins), "fp16", tmp_path)
    assert shlex.split(with_plugins.command)[-2:] == ["--plugins", str(plugins)]


def test_what_fits_is_found_and_what_does_not_is_none(model: Path, tmp_path: Path) -> None:
    shop = StandInWorkshop(tmp_path / "shop", model, ())
    wanted, beside = shop.wanted, record_path(shop.wanted.path)
    assert wanted.record() is None
    shop.keep()
    assert wanted.record() == shop.record()
    for damage in (b"", b"{", b"\xff\xfe", b"{}", b'{"schema": 99}', b'{"schema": 1}'):
        shop.keep()
        beside.write_bytes(damage)
        assert wanted.record() is None, damage
    beside.unlink()
    assert wanted.record() is None
    shop.keep()
    wanted.path.write_bytes(b"cut short")
    assert wanted.record() is None
    for change in (
        {"tensorrt": "10.13.3"},
        {"compute_capability": "11.0"},
        {"multiprocessors": 16},
    ):
        shop.keep(**change)
        assert wanted.record() is None, change
