"""How long each layer of an engine takes, by TensorRT's own profiler, on inputs of zeros.

Memory and a stream come from CUDA's driver directly, in the primary context that TensorRT uses.
"""

import ctypes
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from edgecv.errors import DeviceError
from edgecv.export.engine.audit import use_tuned_shapes

if TYPE_CHECKING:
    import tensorrt as trt

_WARM_UPS = 10
_CALLS = 30
_SUCCESS = 0


class Driver:
    """CUDA's driver: what timing an engine takes of it."""

    def __init__(self) -> None:
        """Join the primary context of the first device.

        Raises:
            DeviceError: if there is no driver or no device.

        """
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise DeviceError("there is no NVIDIA driver. Leave `--layer-times` out.") from error
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    @contextmanager
    def memory(self, num_bytes: int) -> Iterator[int]:
        """Yield the address of so many zero bytes on the device."""
        address = ctypes.c_uint64()
        size = ctypes.c_size_t(max(1, num_bytes))
        self._call("cuMemAlloc_v2", ctypes.byref(address), size)
        try:
            self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), size)
            yield address.value
        finally:
            self._call("cuMemFree_v2", address)

    @contextmanager
    def stream(self) -> Iterator[int]:
        """Yield a stream that waits for no other."""
        handle = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(handle), 1)  # CU_STREAM_NON_BLOCKING
        try:
            yield handle.value or 0
        finally:
            self._call("cuStreamDestroy_v2", handle)

    def wait(self, stream: int) -> None:
        """Wait for what was asked of a stream."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def leave(self) -> None:
        """Give the context back."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _call(self, function: str, *arguments: object) -> None:
        result = getattr(self._library, function)(*arguments)
        if result != _SUCCESS:
            raise DeviceError(
                f"CUDA's {function} failed with error {result} while layers were timed. Build "
                "without `--layer-times`."
            )


@contextmanager
def opened_driver() -> Iterator[Driver]:
    """Yield the driver, and leave its context afterwards.

    Raises:
        DeviceError: if there is no driver or no device.

    """
    driver = Driver()
    try:
        yield driver
    finally:
        driver.leave()


def layer_times(engine: "trt.ICudaEngine", driver: Driver) -> dict[str, float]:
    """Return the median time of each layer over some calls, in milliseconds, by its name.

    Shapes are those that the first profile was tuned for.

    Raises:
        DeviceError: if memory is short or a call fails.

    """
    context = engine.create_execution_context()
    if context is None:
        raise DeviceError("the GPU has no memory for the engine. Build without `--layer-times`.")
    use_tuned_shapes(engine, context)
    context.infer_shapes()
    times: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as held:
        stream = held.enter_context(driver.stream())
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            context.set_tensor_address(name, _address(engine, context, name, driver, held))
        for _ in range(_WARM_UPS):
            _enqueue(context, stream)
        driver.wait(stream)
        context.profiler = _profiler(times)
        for _ in range(_CALLS):
            _enqueue(context, stream)
            driver.wait(stream)
    return {name: statistics.median(values) for name, values in times.items()}


def _enqueue(context: "trt.IExecutionContext", stream: int) -> None:
    if not context.execute_async_v3(stream):
        raise DeviceError(
            "TensorRT could not run the engine that it built. `edgecv verify` tells more."
        )


def _address(
    engine: "trt.ICudaEngine",
    context: "trt.IExecutionContext",
    name: str,
    driver: Driver,
    held: ExitStack,
) -> int:
    """Return the address of memory for an input or output, which `held` gives back."""
    import tensorrt as trt

    shape = context.get_tensor_shape(name)
    sides = [shape[axis] for axis in range(len(shape))]
    item = max(1, int(engine.get_tensor_dtype(name).itemsize))
    is_known = all(side >= 0 for side in sides)
    size = item * math.prod(sides) if is_known else context.get_max_output_size(name)
    if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
        buffer = ctypes.create_string_buffer(max(1, size))
        held.callback(lambda: buffer)  # it lives as long as what `held` gives back
        return ctypes.addressof(buffer)
    return held.enter_context(driver.memory(size))


def _profiler(times: dict[str, list[float]]) -> "trt.IProfiler":
    import tensorrt as trt

    class _Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        # A time is a float, which the bindings declare as anything that can be made one.
        def report_layer_time(self, layer_name: str, ms: Any) -> None:  # noqa: ANN401
            times[layer_name].append(float(ms))

    return _Profiler()
