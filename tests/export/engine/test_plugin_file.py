"""Where the plugin library is looked for."""

from pathlib import Path

import pytest

pytest.importorskip("onnx")

import edgecv.export
from edgecv.errors import InputError
from edgecv.export.engine.plugin_file import find_plugins


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No library is installed, and none is named."""
    monkeypatch.delenv("EDGECV_PLUGINS", raising=False)
    monkeypatch.setattr(edgecv.export, "plugin_library", lambda: None, raising=False)
    monkeypatch.setattr(edgecv.export, "__path__", [str(tmp_path / "edgecv" / "export")])


def test_the_named_one_goes_first(
    tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_plugins(plugins) == plugins
    monkeypatch.setenv("EDGECV_PLUGINS", str(plugins))
    assert find_plugins() == plugins
    with pytest.raises(InputError, match="there is no such plugin library"):
        find_plugins(tmp_path / "none.so")


def test_then_the_installed_one(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edgecv.export, "plugin_library", lambda: plugins)
    assert find_plugins() == plugins


@pytest.mark.parametrize("folder", ["edgecv/export", "build/plugins"])
def test_then_where_it_is_built(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / "libedgecv_plugins.so").touch()
    assert find_plugins() == place / "libedgecv_plugins.so"


def test_where_there_is_none_the_message_says_how_to_get_it() -> None:
    with pytest.raises(InputError, match=r"needs edgecv's TensorRT plugins.*nvcc.*--plugins"):
        find_plugins()
