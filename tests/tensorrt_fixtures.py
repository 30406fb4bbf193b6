"""TensorRT's real bindings of each version, and what they have, for the tests that need them."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import made_once
from .tensorrt_bindings import VERSIONS, surface, unpack


@pytest.fixture(scope="session", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the real bindings of a version, over empty libraries, and `surface.json`."""

    def make(folder: Path) -> None:
        unpack(request.param, folder)
        (folder / "surface.json").write_text(json.dumps(surface(folder)))

    return made_once(f"tensorrt-{request.param}", tmp_path_factory, make)


@pytest.fixture
def known(bindings: Path) -> dict[str, Any]:
    """What a version has."""
    found: dict[str, Any] = json.loads((bindings / "surface.json").read_text())
    return found


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A file in the place of the plugin library."""
    path = tmp_path / "libedgecv_plugins.so"
    path.write_bytes(b"plugins")
    return path
