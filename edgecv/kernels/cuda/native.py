"""The native module of the CUDA kernels, where this build has it."""

from functools import cache
from importlib import import_module
from types import ModuleType

from edgecv.errors import DeviceError, MissingDependencyError


@cache
def cuda() -> ModuleType:
    """Return the native module.

    Raises:
        MissingDependencyError: if edgecv was built without CUDA.

    """
    try:
        return import_module("edgecv.kernels._cuda")
    except ImportError as error:
        raise MissingDependencyError(
            "edgecv was built without CUDA kernels. Install the CUDA toolkit (nvcc) and run "
            "`CMAKE_ARGS=-DEDGECV_CUDA=ON pip install --force-reinstall --no-deps .`."
        ) from error


def why_not() -> str | None:
    """Return why the CUDA kernels cannot run here, or None if they can."""
    try:
        module = cuda()
        count = module.num_devices()
        if count == 0:
            return "there is no NVIDIA GPU that this process may use"
    except (DeviceError, MissingDependencyError) as error:
        return str(error)
    return None
