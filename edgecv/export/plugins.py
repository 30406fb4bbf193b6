"""Where the plugins of TensorRT are: the operators of the domain `edgecv`, built with CUDA."""

from pathlib import Path

import edgecv.export
from edgecv.errors import MissingDependencyError

_FILE = "libedgecv_plugins.so"


def plugin_library() -> Path:
    """Return the plugin library of this installation, to be loaded into TensorRT.

    It holds EdgeNMS, EdgeRoiAlign and EdgeRoiPool for TensorRT 10 and 11 and is linked to neither:
    `trtexec --dynamicPlugins=<path>`, or `get_plugin_registry().load_library(path)` in Python.

    Raises:
        MissingDependencyError: if edgecv was built without CUDA.

    """
    # An editable installation has its native files in another folder than its sources.
    for folder in edgecv.export.__path__:
        library = Path(folder) / _FILE
        if library.is_file():
            return library.resolve()
    raise MissingDependencyError(
        f"plugin_library: edgecv was built without CUDA, there is no {_FILE}. Install the CUDA "
        "toolkit (nvcc) and run `CMAKE_ARGS=-DEDGECV_CUDA=ON pip install --force-reinstall "
        "--no-deps .`. A library that lies elsewhere `edgecv build --plugins` takes."
    )
