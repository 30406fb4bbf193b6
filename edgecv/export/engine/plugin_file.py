"""Where the library with edgecv's TensorRT plugins lies."""

import os
from importlib import import_module
from pathlib import Path

from edgecv.errors import InputError, MissingDependencyError

LIBRARY = "libedgecv_plugins.so"
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
    package = import_module("edgecv.export")
    if hasattr(package, "plugin_library"):
        return Path(package.plugin_library())
    for folder in map(Path, package.__path__):  # an editable installation has two
        if (folder / LIBRARY).is_file():
            return (folder / LIBRARY).resolve()
    raise MissingDependencyError(
        f"the model needs edgecv's TensorRT plugins, and there is no `{LIBRARY}`. Build edgecv "
        f"with CUDA's compiler, nvcc, or name the file with `--plugins` or ${VARIABLE}."
    )
