"""Where the plugin library is looked for."""

from pathlib import Path

import pytest

pytest.importorskip("onnx")

import edgecv.export
from edgecv.errors import InputError, MissingDependencyError
from edgecv.runtime.plugin_file import find_plugins, installed_plugins


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No library is installed, and none is named."""
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.delenv("EDGECV_PLUGINS", raising=False)
    folders = [str(tmp_path / "here"), str(there)]
    monkeypatch.setattr(edgecv.export.__spec__, "submodule_search_locations", folders)


def test_the_named_one_goes_first(
    tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_plugins(plugins) == plugins
    monkeypatch.setenv("EDGECV_PLUGINS", str(plugins))
    assert find_plugins() == plugins
    with pytest.raises(InputError, match="there is no such plugin library"):
        find_plugins(tmp_path / "none.so")
    monkeypatch.setenv("EDGECV_PLUGINS", str(tmp_path / "none.so"))
    with pytest.raises(InputError, match="there is no such plugin library"):
        installed_plugins()


def test_then_the_installed_one(tmp_path: Path) -> None:
    library = tmp_path / "there" / "libedgecv_plugins.so"
    library.touch()
    assert find_plugins() == library
    assert installed_plugins() == library


def test_where_there_is_none_the_message_says_how_to_get_it() -> None:
    with pytest.raises(MissingDependencyError, match=r"there is no `?libedgecv_plugins\.so.*nvcc"):
        find_plugins()
    assert installed_plugins() is None
