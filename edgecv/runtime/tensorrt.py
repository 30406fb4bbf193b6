"""The TensorRT backend: an engine of `edgecv build` or of a bundle, as a CUDA graph.

Frames are fitted on the GPU where this build has the kernels, thresholds lie in its memory, and
what an engine with `EdgeNMS` sends back are the detections alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from edgecv.bundle.machine import Gpu, find_gpu
from edgecv.errors import DeviceError, InputError, SpecError
from edgecv.frame_formats import FrameFormat
from edgecv.kernels.cuda.frames import GPU_FORMATS
from edgecv.kernels.cuda.native import why_not
from edgecv.output_spec import FusedOutput, ObjectsOutput
from edgecv.runtime.device import Device
from edgecv.runtime.device_session import DeviceSession, Program
from edgecv.runtime.engine_record import Host, check_engine
from edgecv.runtime.gpu_device import open_gpu
from edgecv.runtime.graph_checks import check_graph
from edgecv.runtime.plugin_file import installed_plugins
from edgecv.runtime.session import RunOptions, input_shape
from edgecv.runtime.tensorrt_engine import BatchRange, LoadedEngine, Plan
from edgecv.runtime.tensorrt_module import import_tensorrt
from edgecv.runtime.transfers import OutputLayout
from edgecv.spec import ModelSpec

_ALIGNMENT: Final = 256  # bytes: what TensorRT asks of every address


class TensorrtSession(DeviceSession):
    """An engine open on a GPU, see `edgecv.runtime.session.FrameSession`."""

    def __init__(
        self,
        plan: Plan,
        spec: ModelSpec,
        device: Device,
        *,
        frame_formats: tuple[FrameFormat, ...] = GPU_FORMATS,
    ) -> None:
        """Load an engine.

        Args:
            plan: the engine.
            spec: its description.
            device: where it runs.
            frame_formats: what the device fits; the processor fits the others.

        Raises:
            InputError: if engine and description contradict each other.
            DeviceError: if TensorRT cannot load the engine, or memory is short.

        """
        super().__init__(
            spec,
            device,
            _thresholds(spec),
            frame_formats=frame_formats,
            layout="chw" if spec.input.layout == "nchw" else "hwc",
        )
        self._engine = LoadedEngine(plan, device, self._compute)
        self.spec = spec = _with_floats_of(self._engine, spec)
        check_graph(plan.name, spec, self._engine.inputs, self._engine.outputs)
        self._refuse_others(plan.name)
        name, shape = spec.input.name, input_shape(spec.input)
        self._ranges = self._engine.batch_ranges(name, shape)
        if not self._ranges:
            raise InputError(
                f"`{plan.name}`: no profile of the engine takes images of {shape}, which is what "
                "its description says. Build it again."
            )
        # Rows that are objects do not say of which image.
        has_images = not isinstance(spec.output, ObjectsOutput)
        self.max_batch = max(one.largest for one in self._ranges) if has_images else 1

    @property
    def backend(self) -> str:
        """Backend, device, and what is not as it should be for speed."""
        told = f"tensorrt {self._device.name}"
        if self._is_launched_singly:
            told += " without a CUDA graph"
        return told if self.frame_formats else f"{told}, frames fitted on the CPU"

    def _batch_size(self, num_images: int) -> int:
        fitting = [one.smallest for one in self._ranges if num_images <= one.largest]
        if not fitting:
            most = max(one.largest for one in self._ranges)
            raise ValueError(
                f"{self._function}: `batch` must hold at most {most} images, as many as the "
                f"engine was built for, got {num_images}."
            )
        return max(num_images, min(fitting))

    def _built(self, batch_size: int) -> Program:
        """Return the engine's context for a number of images; the GPU is idle afterwards."""
        spec, device, engine = self.spec, self._device, self._engine
        kinds = {tensor.name: tensor.dtype for tensor in engine.inputs}
        shape = (batch_size, *input_shape(spec.input))
        shapes: dict[str, tuple[int, ...]] = {spec.input.name: shape}
        images = self._zeros(shape, kinds[spec.input.name], "the engine's images")
        arrays = {spec.input.name: images, **self._scalars}
        proposals = None
        if spec.proposals is not None:
            regions = (batch_size, spec.proposals.count, 4)
            proposals = self._zeros(regions, np.float32, "the engine's regions")
            shapes[spec.proposals.name] = regions
            arrays[spec.proposals.name] = proposals
        found = engine.prepare(batch_size, self._profile(batch_size), shapes)
        outputs = _layout(engine, found)
        packed = device.buffer(outputs.num_bytes, "the engine's outputs")
        addresses = {name: device.address(array) for name, array in arrays.items()}
        begin = device.address(packed)
        for name, offset in zip(outputs.names, outputs.offsets, strict=True):
            addresses[name] = begin + offset
        engine.bind(batch_size, addresses)
        run = self._captured(partial(engine.enqueue, batch_size))
        return Program(images, proposals, packed, outputs, run)

    def _release(self) -> None:
        self._engine.close()

    def _profile(self, batch_size: int) -> int:
        """Return the profile whose kernels were chosen for about as many images."""

        def distance(one: BatchRange) -> int:
            return abs(one.usual - batch_size)

        fitting = [one for one in self._ranges if one.smallest <= batch_size <= one.largest]
        return min(fitting, key=distance).profile

    def _refuse_others(self, name: str) -> None:
        """Refuse an engine that wants more than the description speaks of."""
        spec, inputs = self.spec, self._engine.inputs
        known = {spec.input.name, *self._scalars}
        known |= set() if spec.proposals is None else {spec.proposals.name}
        for tensor in inputs:
            if tensor.name not in known:
                raise InputError(
                    f"`{name}`: the engine wants an input `{tensor.name}`, of which its "
                    "description says nothing. Adopt or export the model again."
                )
            is_scalar = tensor.dtype == np.float32 and tensor.shape in ((), (1,))
            if tensor.name in self._scalars and not is_scalar:
                raise InputError(
                    f"`{name}`: the threshold `{tensor.name}` must be one float32, got "
                    f"{tensor.type} {tensor.shape}. Export the model again."
                )


def open_engine(path: Path, options: RunOptions) -> TensorrtSession:
    """Open an engine of `edgecv build`, see `edgecv.runtime.session.open_session`.

    Args:
        path: the engine; its record lies beside it.
        options: how to run it.

    Raises:
        MissingDependencyError: if TensorRT is not installed.
        DeviceError: if there is no GPU, or the engine was built for another machine: what differs,
            and the command that builds it anew.
        InputError: if the engine has no record or no description, or the device is not a GPU.

    """
    gpu, version = this_gpu(path, options.device)
    plugins = installed_plugins()
    record = check_engine(path, Host(version, gpu, plugins))
    if record.spec is None:
        raise SpecError(
            f"`{path}` was built of `{record.onnx.name}`, which has no description. Give it one "
            "with `edgecv adopt`, and build the engine again."
        )
    recipe = record.recipe
    plan = Plan(
        str(path),
        path.read_bytes(),
        None if record.plugins is None else plugins,
        recipe.dla_core if recipe.uses_dla else None,
        None if record.tensorrt == version else record.tensorrt,
    )
    return _opened(plan, record.spec)


def open_plan(name: str, content: bytes, spec: ModelSpec, device: str = "auto") -> TensorrtSession:
    """Open an engine that has a description and no record, as a bundle keeps it.

    Args:
        name: of the engine, for messages.
        content: the engine, built for this GPU and this version of TensorRT.
        spec: its description.
        device: `auto` or `cuda`.

    Raises:
        MissingDependencyError: if TensorRT is not installed.
        DeviceError: if there is no GPU, or TensorRT cannot load the engine.
        InputError: if engine and description contradict each other.

    """
    this_gpu(name, device)
    return _opened(Plan(name, content, installed_plugins()), spec)


def this_gpu(name: object, device: str) -> tuple[Gpu, str]:
    """Return the GPU, and the version of TensorRT, that an engine would run on.

    Raises:
        MissingDependencyError: if TensorRT is not installed.
        DeviceError: if there is no GPU.
        InputError: if another device is asked for.

    """
    if device not in ("auto", "cuda"):
        raise InputError(
            f"`{name}` is an engine, which runs on the GPU alone: `device` must be auto or cuda, "
            f"got {device!r}. Run the ONNX file there."
        )
    version = str(import_tensorrt().__version__)
    gpu = find_gpu()
    if gpu is None:
        raise DeviceError(
            f"`{name}` is an engine, and CUDA finds no GPU here. Check `nvidia-smi` and "
            "CUDA_VISIBLE_DEVICES, or run the ONNX file with `--device cpu`."
        )
    return gpu, version


def _opened(plan: Plan, spec: ModelSpec) -> TensorrtSession:
    formats = () if why_not() is not None else GPU_FORMATS
    return TensorrtSession(plan, spec, open_gpu(), frame_formats=formats)


def _with_floats_of(engine: LoadedEngine, spec: ModelSpec) -> ModelSpec:
    """Return a description whose images are floats as the engine takes them.

    A bundle describes all its files in float32, whatever each of them takes.
    """
    kinds = {tensor.name: tensor.dtype for tensor in engine.inputs}
    is_half = kinds.get(spec.input.name) == np.float16 and spec.input.dtype == "float32"
    return replace(spec, input=replace(spec.input, dtype="float16")) if is_half else spec


def _thresholds(spec: ModelSpec) -> Mapping[str, float]:
    """Return the inputs that hold thresholds, and what they are where nobody says."""
    if not isinstance(spec.output, FusedOutput):
        return {}
    wanted = {
        spec.output.score_threshold: spec.postprocess.score_threshold,
        spec.output.iou_threshold: spec.postprocess.iou_threshold,
    }
    return {name: value for name, value in wanted.items() if name is not None}


def _layout(engine: LoadedEngine, shapes: Mapping[str, tuple[int, ...]]) -> OutputLayout:
    """Return where the outputs lie in one buffer, each where TensorRT may write it."""
    for name, shape in shapes.items():
        if min(shape, default=0) < 0:
            raise InputError(
                f"the size of the output `{name}` depends on the image, got {shape}. Export the "
                "model with `--target tensorrt`, whose outputs have fixed sizes."
            )
    kinds = {tensor.name: tensor.dtype for tensor in engine.outputs}
    names = list(shapes)
    return OutputLayout.of(
        names, [shapes[name] for name in names], [kinds[name] for name in names], _ALIGNMENT
    )
