"""TensorRT's Python module, or how to get it."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from edgecv.errors import MissingDependencyError

_JETSON = Path("/etc/nv_tegra_release")


def import_tensorrt() -> ModuleType:
    """Return the module `tensorrt`.

    Raises:
        MissingDependencyError: if it is not installed, or its libraries are not; the message says
            how this kind of machine gets it.

    """
    try:
        return import_module("tensorrt")
    except (ImportError, OSError) as error:
        named = getattr(error, "name", None)
        reason = "is not installed" if named == "tensorrt" else f"cannot be loaded: {error}"
        raise MissingDependencyError(f"TensorRT {reason}. {_remedy()}") from error


def _remedy() -> str:
    if _JETSON.is_file():
        return (
            "On a Jetson it comes with JetPack: `sudo apt install nvidia-jetpack`, and a virtual "
            "environment must be made with `--system-site-packages` to see it."
        )
    return (
        "`pip install tensorrt-cu13` brings it, or `tensorrt-cu12` for a driver older than 580; "
        "on a Jetson `sudo apt install nvidia-jetpack`."
    )
