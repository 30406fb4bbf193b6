"""An engine in TensorRT's runtime: its tensors, and a context for each number of images.

A graph that was captured from a context is valid while the context stays as it was: so each number
of images has a context of its own, whose shapes and addresses are set once. What the layers work in
is one piece of memory for all of them, for they never run at once.

Source: docs.nvidia.com/deeplearning/tensorrt, Developer Guide, "CUDA Graphs" and "Device Memory".
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgecv.errors import DeviceError, InputError
from edgecv.kernels.cuda.arrays import AnyDeviceArray
from edgecv.runtime.device import Device, Stream
from edgecv.runtime.plugin_file import load_plugins
from edgecv.runtime.tensorrt_messages import Messages, logger

if TYPE_CHECKING:
    import tensorrt as trt

LEAN_RUNTIME: Final = "EDGECV_LEAN_RUNTIME"
_FREE: Final = -1
_TYPES: Final = {  # by the name of TensorRT's type: NumPy's, and how ONNX calls it
    "FLOAT": (np.float32, "tensor(float)"),
    "HALF": (np.float16, "tensor(float16)"),
    "INT8": (np.int8, "tensor(int8)"),
    "UINT8": (np.uint8, "tensor(uint8)"),
    "INT32": (np.int32, "tensor(int32)"),
    "INT64": (np.int64, "tensor(int64)"),
    "BOOL": (np.bool_, "tensor(bool)"),
}


@dataclass(frozen=True)
class Plan:
    """A serialised engine, and what it takes to load it.

    Args:
        name: the file, for messages.
        content: its bytes.
        plugins: the library of the plugins that it needs, None if it needs none.
        dla_core: the accelerator that it was built for, None for none.
        lean_version: the version whose lean runtime it needs, None for the one that is installed.

    """

    name: str
    content: bytes
    plugins: Path | None = None
    dla_core: int | None = None
    lean_version: str | None = None


@dataclass(frozen=True)
class EngineTensor:
    """An input or output, see `edgecv.runtime.graph_checks.GraphTensor`.

    Args:
        name: of the tensor.
        type: as ONNX has it, such as `tensor(float)`.
        shape: its sides, None for one that a profile leaves open.
        dtype: of its elements.

    """

    name: str
    type: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True)
class BatchRange:
    """How many images one profile takes.

    Args:
        profile: its number.
        smallest: number of images.
        usual: the number that its kernels were chosen for.
        largest: number of images.

    """

    profile: int
    smallest: int
    usual: int
    largest: int


class LoadedEngine:
    """An engine, ready to run on a device; what its contexts do is on one stream."""

    def __init__(self, plan: Plan, device: Device, stream: Stream) -> None:
        """Load a plan.

        Raises:
            InputError: if a tensor is of a kind that no session can feed or fetch.
            DeviceError: if TensorRT cannot load it, or its plugins.

        """
        self._name, self._device, self._stream = plan.name, device, stream
        self._messages = Messages()
        self._log = logger(self._messages)
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._scratch: list[AnyDeviceArray] = []  # graphs still use those that were outgrown
        loaded: list[tuple[trt.Runtime, trt.ICudaEngine]] = []
        device.launch(lambda: loaded.append(self._loaded(plan)), stream)
        device.synchronize()
        self._runtime: trt.Runtime | None = loaded[0][0]
        self._engine: trt.ICudaEngine | None = loaded[0][1]
        self.inputs, self.outputs = self._tensors()

    def batch_ranges(self, name: str, image_shape: Sequence[int]) -> tuple[BatchRange, ...]:
        """Return how many images each profile takes that takes images of a shape at all.

        Args:
            name: of the input.
            image_shape: without the axis of images.

        """
        engine = self._opened()
        sides = _sides(engine.get_tensor_shape(name))
        if _FREE not in sides:
            return (BatchRange(0, sides[0], sides[0], sides[0]),)
        found = []
        for profile in range(engine.num_optimization_profiles):
            smallest, usual, largest = map(_sides, engine.get_tensor_profile_shape(name, profile))
            ranges = zip(smallest[1:], image_shape, largest[1:], strict=True)
            if all(low <= side <= high for low, side, high in ranges):
                found.append(BatchRange(profile, smallest[0], usual[0], largest[0]))
        return tuple(found)

    def prepare(
        self, batch_size: int, profile: int, shapes: Mapping[str, Sequence[int]]
    ) -> dict[str, tuple[int, ...]]:
        """Make the context for a number of images, and return the shapes of the outputs.

        Args:
            batch_size: which the context is known by from now on.
            profile: that its shapes are of.
            shapes: of the inputs that have sides which the engine leaves open, at least.

        Raises:
            DeviceError: if memory is short, or TensorRT refuses a shape.

        """
        made: list[trt.IExecutionContext] = []
        self._device.launch(lambda: made.append(self._prepared(profile, shapes)), self._stream)
        self._device.synchronize()
        context = self._contexts[batch_size] = made[0]
        return {each.name: _sides(context.get_tensor_shape(each.name)) for each in self.outputs}

    def bind(self, batch_size: int, addresses: Mapping[str, int]) -> None:
        """Say once for all where the inputs and outputs of a context lie.

        Raises:
            DeviceError: if TensorRT refuses one.

        """
        for name, address in addresses.items():
            if not self._contexts[batch_size].set_tensor_address(name, address):
                raise self._failure(f"refuses the address {address:#x} of `{name}`")

    def enqueue(self, batch_size: int) -> None:
        """Hand the work of a context to the stream.

        Raises:
            DeviceError: if TensorRT cannot.

        """
        handle = self._device.handle(self._stream)
        if not self._contexts[batch_size].execute_async_v3(handle):
            raise self._failure("could not run the engine")

    def close(self) -> None:
        """Give everything back: contexts, engine, runtime, and then the memory that they used."""
        self._contexts.clear()
        self._engine = None
        self._runtime = None
        self._scratch.clear()

    def _opened(self) -> "trt.ICudaEngine":
        if self._engine is None:
            raise ValueError("LoadedEngine: the engine is closed. Load it again.")
        return self._engine

    def _loaded(self, plan: Plan) -> "tuple[trt.Runtime, trt.ICudaEngine]":
        import tensorrt as trt  # noqa: PLC0415  # only where it is used

        runtime = trt.Runtime(self._log)
        if plan.lean_version is not None:
            runtime = self._lean(runtime, plan.lean_version)
        runtime.engine_host_code_allowed = False
        if plan.dla_core is not None:
            if plan.dla_core >= runtime.num_DLA_cores:
                raise DeviceError(
                    f"`{self._name}` runs on accelerator {plan.dla_core}, and this machine has "
                    f"{runtime.num_DLA_cores}. Build it here with a recipe without `-dla`."
                )
            runtime.DLA_core = plan.dla_core
        if plan.plugins is not None:
            load_plugins(runtime.get_plugin_registry(), plan.plugins)
        engine = runtime.deserialize_cuda_engine(plan.content)
        if engine is None:
            raise self._failure(f"cannot load the engine of {len(plan.content)} bytes")
        return runtime, engine

    def _lean(self, runtime: "trt.Runtime", version: str) -> "trt.Runtime":
        """Return the lean runtime of the version that built the engine."""
        path = os.environ.get(LEAN_RUNTIME)
        remedy = (
            f"Name `libnvinfer_lean.so` of TensorRT {version} in ${LEAN_RUNTIME} (package "
            "`tensorrt_lean`), or build the engine here"
        )
        if path is None:
            raise DeviceError(
                f"`{self._name}` was built with TensorRT {version} for newer versions too, which "
                f"run it with the lean runtime of {version}. {remedy}."
            )
        lean = runtime.load_runtime(path)
        if lean is None:
            raise self._failure(f"cannot load the lean runtime `{path}`", remedy)
        return lean

    def _tensors(self) -> tuple[tuple[EngineTensor, ...], tuple[EngineTensor, ...]]:
        """Return inputs and outputs, in the engine's order."""
        import tensorrt as trt  # noqa: PLC0415  # only where it is used

        engine = self._opened()
        inputs: list[EngineTensor] = []
        outputs: list[EngineTensor] = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
                raise InputError(
                    f"`{self._name}`: `{name}` holds a shape, which the engine keeps on the host. "
                    "Export the model with fixed shapes, and build the engine again."
                )
            kind = engine.get_tensor_dtype(name).name
            if kind not in _TYPES:
                raise InputError(
                    f"`{self._name}`: `{name}` is {kind}, which NumPy does not have. Export the "
                    "model with float32 or float16 inputs and outputs, and build it again."
                )
            sides = _sides(engine.get_tensor_shape(name))
            shape = tuple(None if side == _FREE else side for side in sides)
            tensor = EngineTensor(name, _TYPES[kind][1], shape, np.dtype(_TYPES[kind][0]))
            (inputs if is_input else outputs).append(tensor)
        return tuple(inputs), tuple(outputs)

    def _prepared(
        self, profile: int, shapes: Mapping[str, Sequence[int]]
    ) -> "trt.IExecutionContext":
        import tensorrt as trt  # noqa: PLC0415  # only where it is used

        engine = self._opened()
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
        if context is None:
            raise self._failure("has no memory for another context of the engine")
        handle = self._device.handle(self._stream)
        if engine.num_optimization_profiles > 1 and not context.set_optimization_profile_async(
            profile, handle
        ):
            raise self._failure(f"refuses profile {profile}")
        for tensor in self.inputs:
            if None not in tensor.shape:
                continue
            sides = list(shapes[tensor.name])
            if not context.set_input_shape(tensor.name, trt.Dims(sides)):
                raise self._failure(f"refuses the shape {sides} of `{tensor.name}`")
        missing = context.infer_shapes()
        if missing:
            raise self._failure(f"knows too little of {', '.join(missing)}")
        num_bytes = context.update_device_memory_size_for_shapes()
        if num_bytes:
            address = self._device.address(self._scratch_of(num_bytes))
            context.set_device_memory(address, num_bytes)
        return context

    def _scratch_of(self, num_bytes: int) -> AnyDeviceArray:
        if not self._scratch or len(self._scratch[-1]) < num_bytes:
            purpose = f"what the layers of `{self._name}` work in"
            self._scratch.append(self._device.buffer(num_bytes, purpose))
        return self._scratch[-1]

    def _failure(self, what: str, remedy: str = "") -> DeviceError:
        reason = self._messages.errors[-1].rstrip(".") if self._messages.errors else ""
        reason = f": {reason}" if reason else " and does not say why"
        remedy = remedy or "Close what else uses the GPU, or build the engine here again"
        return DeviceError(f"`{self._name}`: TensorRT {what}{reason}. {remedy}.")


def _sides(shape: "trt.Dims") -> tuple[int, ...]:
    return tuple(shape[axis] for axis in range(len(shape)))
