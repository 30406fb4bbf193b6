"""Where the library with edgecv's TensorRT plugins lies."""

import os
from importlib import import_module
from pathlib import Path

from edgecv.errors import InputError

LIBRARY = "libedgecv_plugins.so"
VARIABLE = "EDGECV_PLUGINS"


def find_plugins(named: Path | None = None) -> Path:
    """Return the plugin library.

    Args:
        named: where the user says that it is, None to look where it is built and installed.

    Raises:
        InputError: if it is not there.

    """
    if named is None and VARIABLE in os.environ:
        named = Path(os.environ[VARIABLE]).expanduser()
    if named is not None:
        if named.is_file():
            return named.resolve()
        raise InputError(
            f"`{named}`: there is no such plugin library. Check `--plugins` and ${VARIABLE}."
        )
    package = import_module("edgecv.export")
    installed = getattr(package, "plugin_library", None)
    found = installed() if installed is not None else None
    if found is not None:
        return Path(found)
    for folder in map(Path, package.__path__):
        for place in (folder / LIBRARY, folder.parents[1] / "build" / "plugins" / LIBRARY):
            if place.is_file():
                return place
    raise InputError(
        f"the model needs edgecv's TensorRT plugins, and there is no `{LIBRARY}`. Build it from "
        f"`export/tensorrt`, which takes nvcc, and name it with `--plugins` or ${VARIABLE}."
    )
