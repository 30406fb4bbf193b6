"""Where the library with edgecv's TensorRT plugins lies."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.errors import DeviceError, InputError, MissingDependencyError

if TYPE_CHECKING:
    import tensorrt as trt

VARIABLE = "EDGECV_PLUGINS"
_FILE = "libedgecv_plugins.so"
_PACKAGE = "edgecv.export"  # the build puts the library there; nothing of it is imported


def plugin_library() -> Path:
    """Return the plugin library of this installation, to be loaded into TensorRT.

    It holds EdgeNMS, EdgeRoiAlign and EdgeRoiPool for TensorRT 10 and 11 and is linked to neither:
    `trtexec --dynamicPlugins=<path>`, or `get_plugin_registry().load_library(path)` in Python.

    Raises:
        MissingDependencyError: if edgecv was built without CUDA.

    """
    package = find_spec(_PACKAGE)
    folders = None if package is None else package.submodule_search_locations
    # An editable installation has its native files in another folder than its sources.
    for folder in folders or ():
        library = Path(folder) / _FILE
        if library.is_file():
            return library.resolve()
    raise MissingDependencyError(
        f"plugin_library: edgecv was built without CUDA, there is no {_FILE}. Install the CUDA "
        "toolkit (nvcc) and run `CMAKE_ARGS=-DEDGECV_CUDA=ON pip install --force-reinstall "
        "--no-deps .`. A library that lies elsewhere is named with `edgecv build --plugins` or "
        f"${VARIABLE}."
    )


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


def installed_plugins() -> Path | None:
    """Return what `find_plugins` finds by itself, None where nothing was built.

    Raises:
        InputError: if it is not where the variable says.

    """
    try:
        return find_plugins()
    except MissingDependencyError:
        return None


def load_plugins(registry: "trt.IPluginRegistry", library: Path) -> None:
    """Make the plugins of a library known to whom a registry belongs: a builder or a runtime.

    Raises:
        DeviceError: if it cannot be loaded.

    """
    if registry.load_library(str(library)) is None:
        raise DeviceError(
            f"TensorRT cannot load the plugins of `{library}`. Is it built for this processor and "
            f"CUDA version? `ldd {library}` names what is missing."
        )
