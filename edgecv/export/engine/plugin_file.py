"""Where the library with edgecv's TensorRT plugins lies."""

import os
from pathlib import Path

from edgecv.errors import InputError
from edgecv.export.plugins import plugin_library

VARIABLE = "EDGECV_PLUGINS"


def find_plugins(named: Path | None = None) -> Path:
    """Return the plugin library.

    Args:
        named: where the user says that it is, None to look where it is built and installed.

    Raises:
        InputError: if it is not where the user says.
        MissingDependencyError: if it was not built.

    """
    if named is None and VARIABLE in os.environ:
        named = Path(os.environ[VARIABLE]).expanduser()
    if named is not None:
        if named.is_file():
            return named.resolve()
        raise InputError(
            f"`{named}`: there is no such plugin library. Check `--plugins` and ${VARIABLE}."
        )
    return plugin_library()
