"""The native module of the CUDA kernels, where this build has it."""

from functools import cache
from importlib import import_module
from types import ModuleType

from edgecv.errors import DeviceError, MissingDependencyError

_MODULE = "edgecv.kernels._cuda"
_REMEDY = "`CMAKE_ARGS=-DEDGECV_CUDA=ON pip install --force-reinstall --no-deps .`"


@cache
def cuda() -> ModuleType:
    """Return the native module.

    Raises:
        MissingDependencyError: if edgecv was built without CUDA, or what was built does not load.

    """
    try:
        return import_module(_MODULE)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"edgecv was built without CUDA kernels. Install the CUDA toolkit (nvcc) and run "
            f"{_REMEDY}."
        ) from error
    except ImportError as error:
        raise MissingDependencyError(
            f"edgecv's CUDA kernels cannot be loaded: {error}. Build them again with {_REMEDY}."
        ) from error


def why_not() -> str | None:
    """Return why the CUDA kernels cannot run here, or None if they can."""
    try:
        if cuda().num_devices() == 0:
            return "there is no NVIDIA GPU that this process may use"
    except (DeviceError, MissingDependencyError) as error:
        return str(error)
    return None


def is_built_for(capability: str) -> bool:
    """Return whether the kernels run on a GPU of a compute capability, such as "87".

    Machine code runs on GPUs of the same major version and an equal or higher minor one. Of the
    newest architecture there is intermediate code too, which the driver compiles for newer GPUs.
    """
    built = [int(one) for one in cuda().architectures.split()]
    here = int(capability)
    same_major = any(here // 10 == one // 10 and here >= one for one in built)
    return same_major or here >= max(built)
