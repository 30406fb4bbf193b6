"""How long each layer of an engine takes, by TensorRT's own profiler, on inputs of zeros."""

import math
import statistics
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv.errors import DeviceError
from edgecv.export.engine.audit import use_tuned_shapes
from edgecv.runtime.device import Device, Stream

if TYPE_CHECKING:
    import tensorrt as trt
    from numpy.typing import NDArray

_WARM_UPS = 10
_CALLS = 30


def layer_times(engine: "trt.ICudaEngine", device: Device) -> dict[str, float]:
    """Return the median time of each layer over some calls, in milliseconds, by its name.

    Shapes are those that the first profile was tuned for.

    Args:
        engine: to time.
        device: where it runs, and takes its inputs and outputs from.

    Raises:
        DeviceError: if memory is short or a call fails.

    """
    context = engine.create_execution_context()
    if context is None:
        raise DeviceError("the GPU has no memory for the engine. Build without `--layer-times`.")
    use_tuned_shapes(engine, context)
    context.infer_shapes()
    times: dict[str, list[float]] = defaultdict(list)
    stream = device.stream()
    held = []  # until the last call is done
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        address, memory = _memory(engine, context, name, device, stream)
        held.append(memory)
        context.set_tensor_address(name, address)
    enqueue = partial(_enqueue, context, device.handle(stream))
    for _ in range(_WARM_UPS):
        device.launch(enqueue, stream)
    device.synchronize()
    context.profiler = _profiler(times)
    for _ in range(_CALLS):
        device.launch(enqueue, stream)
        device.synchronize()
    held.clear()
    return {name: statistics.median(values) for name, values in times.items()}


def _enqueue(context: "trt.IExecutionContext", stream: int) -> None:
    if not context.execute_async_v3(stream):
        raise DeviceError(
            "TensorRT could not run the engine that it built. `edgecv verify` tells more."
        )


def _memory(
    engine: "trt.ICudaEngine",
    context: "trt.IExecutionContext",
    name: str,
    device: Device,
    stream: Stream,
) -> tuple[int, object]:
    """Return the address of zeros for an input or output, and what keeps them."""
    import tensorrt as trt

    shape = context.get_tensor_shape(name)
    sides = [shape[axis] for axis in range(len(shape))]
    item = max(1, int(engine.get_tensor_dtype(name).itemsize))
    is_known = all(side >= 0 for side in sides)
    size = max(1, item * math.prod(sides) if is_known else context.get_max_output_size(name))
    if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
        zeros: NDArray[np.uint8] = np.zeros(size, np.uint8)
        return int(zeros.ctypes.data), zeros
    buffer = device.buffer(size, f"`{name}` of the engine that is timed")
    device.fill(buffer, 0, stream)
    return device.address(buffer), buffer


def _profiler(times: dict[str, list[float]]) -> "trt.IProfiler":
    import tensorrt as trt

    class _Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        # A time is a float, which the bindings declare as anything that can be made one.
        def report_layer_time(self, layer_name: str, ms: Any) -> None:  # noqa: ANN401
            times[layer_name].append(float(ms))

    return _Profiler()
