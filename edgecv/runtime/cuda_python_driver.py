"""CUDA's driver through NVIDIA's cuda-python.

Source: nvidia.github.io/cuda-python, module `cuda.bindings.driver`; `cuda.cuda` before 12.8.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from edgecv.errors import DeviceError, MissingDependencyError
from edgecv.runtime.cuda_driver import ASLEEP, NON_BLOCKING, Place, Resource, refuse
from edgecv.runtime.libcuda_driver import address_of

MODULES: Final = ("cuda.bindings.driver", "cuda.cuda")  # the same functions, newer name first
_LONGEST_NAME = 256
_PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE
_FILLS: Final = {1: "cuMemsetD8Async", 2: "cuMemsetD16Async", 4: "cuMemsetD32Async"}


class CudaPythonDriver:
    """cuda-python, see `edgecv.runtime.cuda_driver.Driver`. Its calls return a code and values."""

    name = "cuda-python"

    def __init__(self) -> None:
        """Join the primary context of the first GPU.

        Raises:
            MissingDependencyError: if cuda-python is not installed.
            DeviceError: if there is no driver or no GPU.

        """
        self._cuda = _module()
        try:
            self._call("cuInit", 0)
        except DeviceError:
            raise
        except RuntimeError as error:  # cuda-python's own, where it finds no libcuda
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise DeviceError(
                f"cuda-python finds no NVIDIA driver: {reason}. Install one, or start the "
                "container with `--gpus all` (on a Jetson `--runtime nvidia`)."
            ) from error
        self._device = self._call("cuDeviceGet", 0)
        name = self._call("cuDeviceGetName", _LONGEST_NAME, self._device)
        self.gpu = name.split(b"\0", 1)[0].decode("utf-8", errors="replace")
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the primary context that of this thread."""
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")

    def leave(self) -> None:
        """Give the primary context back."""
        self._call("cuDevicePrimaryCtxRelease", self._device)

    def allocate(self, num_bytes: int) -> Resource:
        """Return memory of the device."""
        return _resource(self._call("cuMemAlloc", num_bytes))

    def free(self, memory: Resource) -> None:
        """Give memory of the device back."""
        self._call("cuMemFree", memory.owner)

    def allocate_host(self, num_bytes: int) -> Resource:
        """Return page-locked memory of the host."""
        return _resource(self._call("cuMemHostAlloc", num_bytes, _PORTABLE))

    def free_host(self, memory: Resource) -> None:
        """Give page-locked memory back."""
        self._call("cuMemFreeHost", memory.owner)

    def free_bytes(self) -> int:
        """Return how much memory of the device nobody uses."""
        free, _total = self._call("cuMemGetInfo")
        return int(free)

    def create_stream(self) -> Resource:
        """Return a stream that does not wait for the default one."""
        return _resource(self._call("cuStreamCreate", NON_BLOCKING))

    def destroy_stream(self, stream: Resource) -> None:
        """Give a stream back."""
        self._call("cuStreamDestroy", stream.owner)

    def wait_for_stream(self, stream: Resource) -> None:
        """Wait until everything that a stream was handed is done."""
        self._call("cuStreamSynchronize", stream.owner)

    def create_event(self) -> Resource:
        """Return an event for which a thread waits asleep."""
        return _resource(self._call("cuEventCreate", ASLEEP))

    def destroy_event(self, event: Resource) -> None:
        """Give an event back."""
        self._call("cuEventDestroy", event.owner)

    def record(self, event: Resource, stream: Resource) -> None:
        """Move an event to the end of a stream."""
        self._call("cuEventRecord", event.owner, stream.owner)

    def wait_for_event(self, event: Resource) -> None:
        """Wait until an event has happened."""
        self._call("cuEventSynchronize", event.owner)

    def let_wait(self, stream: Resource, event: Resource) -> None:
        """Let later work of a stream wait for an event."""
        self._call("cuStreamWaitEvent", stream.owner, event.owner, 0)

    def copy(self, target: Place, source: Place, num_bytes: int, stream: Resource) -> None:
        """Copy without waiting."""
        places = map(address_of, (target, source))
        self._call("cuMemcpyAsync", *places, num_bytes, stream.owner)

    def fill(self, address: int, bits: int, size: int, count: int, stream: Resource) -> None:
        """Write the same bytes many times."""
        self._call(_FILLS[size], address, bits, count, stream.owner)

    def begin_capture(self, stream: Resource) -> None:
        """Let a stream take down what it is handed by this thread."""
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream.owner, mode)

    def end_capture(self, stream: Resource) -> Resource:
        """Return what was taken down, ready to be launched."""
        graph = self._call("cuStreamEndCapture", stream.owner)
        try:
            return _resource(self._call("cuGraphInstantiate", graph, 0))
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self, graph: Resource, stream: Resource) -> None:
        """Do on a stream what was taken down."""
        self._call("cuGraphLaunch", graph.owner, stream.owner)

    def destroy_graph(self, graph: Resource) -> None:
        """Give a graph back."""
        self._call("cuGraphExecDestroy", graph.owner)

    def synchronize(self) -> None:
        """Wait for all streams of the context."""
        self._call("cuCtxSynchronize")

    def _call(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  # what CUDA returns
        code, *values = getattr(self._cuda, function)(*arguments)
        if code != self._cuda.CUresult.CUDA_SUCCESS:
            raise refuse(self.name, function, int(code), code.name)
        return values[0] if len(values) == 1 else values


def _module() -> Any:  # noqa: ANN401  # which of two modules it is
    name = next((one for one in MODULES if is_installed(one)), None)
    if name is None:
        raise MissingDependencyError(
            "cuda-python is not installed. `pip install cuda-python` brings it, in the version of "
            "your CUDA."
        )
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"cuda-python cannot be loaded: {error}. Install the version of your CUDA, such as "
            "`pip install 'cuda-python==12.6.*'`."
        ) from error


def is_installed(module: str) -> bool:
    """Tell whether a module is there to be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def _resource(made: Any) -> Resource:  # noqa: ANN401  # a class of cuda-python's, or a number
    return Resource(int(made), made)
