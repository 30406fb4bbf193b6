"""Which library reaches the GPU for a session that is not PyTorch's own."""

import logging
import sys
from typing import Final

from edgecv.runtime.cuda_driver import Driver
from edgecv.runtime.cuda_python_driver import MODULES, CudaPythonDriver, is_installed
from edgecv.runtime.device import Device

_log = logging.getLogger(__name__)

ORDER: Final = ("torch", "pycuda", "cuda-python", "driver")


def open_gpu() -> Device:
    """Return the first GPU of CUDA_VISIBLE_DEVICES, through the library that suits the process.

    PyTorch where it is loaded and sees the GPU: its pool then serves both, and nothing more is
    loaded. Else PyCUDA where the program has loaded it, so that its streams and ours are of one
    kind. Else cuda-python or PyCUDA, whichever is installed, in this order; with neither, the
    driver itself. All share the primary context, so that the choice is one of bookkeeping alone.

    Raises:
        DeviceError: if there is no driver or no GPU.

    """
    chosen = choice()
    _log.debug("the GPU is reached through %s", chosen)
    if chosen == "torch":
        from edgecv.runtime.torch_cuda import CudaDevice  # noqa: PLC0415  # only where it is loaded

        return CudaDevice()
    from edgecv.runtime.driver_device import DriverDevice  # noqa: PLC0415  # only with a GPU

    return DriverDevice(_driver(chosen))


def choice() -> str:
    """Return which of `ORDER` reaches the GPU in this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return "torch"
    if "pycuda.driver" in sys.modules:
        return "pycuda"
    if any(map(is_installed, MODULES)):
        return "cuda-python"
    return "pycuda" if is_installed("pycuda") else "driver"


def _driver(name: str) -> Driver:
    if name == "pycuda":
        from edgecv.runtime.pycuda_driver import PycudaDriver  # noqa: PLC0415  # only if chosen

        return PycudaDriver()
    if name == "cuda-python":
        return CudaPythonDriver()
    from edgecv.runtime.libcuda_driver import LibcudaDriver  # noqa: PLC0415  # as above

    return LibcudaDriver()
