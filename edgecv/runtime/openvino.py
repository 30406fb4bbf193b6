"""The OpenVINO backend: ONNX files on Intel's and other CPUs, Intel's GPUs and NPUs.

OpenVINO computes in bf16 by itself where the CPU has the instructions; here it does so only where
`precision` asks for it, so that backends can be exchanged without a loss of accuracy unseen.
"""

import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray
from onnx import inliner, numpy_helper

from edgecv.errors import InputError
from edgecv.files import make_folder
from edgecv.output_spec import FusedOutput
from edgecv.runtime.graph_checks import check_graph
from edgecv.runtime.session import (
    ComputePrecision,
    Hint,
    Outputs,
    filled,
    input_shape,
    max_batch_of,
    no_proposals,
)
from edgecv.spec import ModelSpec

_DEVICES = {"auto": "CPU", "cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
_TYPES = {"fp32": openvino.Type.f32, "fp16": openvino.Type.f16, "bf16": openvino.Type.bf16}
_CAPABILITIES = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16"}
_PATIENCE_S = 0.1  # between two looks at which request is idle
_PLUGINS = ("EdgeNMS", "EdgeRoiAlign", "EdgeRoiPool")


@cache
def _core() -> openvino.Core:
    """Return the core of this process, which is never given back.

    The CPU's plugin gives the thread that opens it another stack for its signals. Where two are
    opened and the first is closed first, the last to go restores a stack that is gone already, and
    the next signal, such as CTRL-C, ends the process (seen in OpenVINO 2026.4).
    """
    return openvino.Core()


def available_devices() -> list[str]:
    """Return the devices that the installed OpenVINO can use, the CPU first."""
    present = {name.partition(".")[0] for name in _core().available_devices}
    return [device for device in ("cpu", "gpu", "npu") if _DEVICES[device] in present]


def has_fast_bf16() -> bool:
    """Tell whether OpenVINO computes in bf16 on this CPU."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True)
class _Tensor:
    """An input or output of a graph, see `edgecv.runtime.graph_checks.GraphTensor`."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, eq=False)
class _Program:
    """The network compiled for one number of images, and its requests that are idle."""

    idle: "queue.LifoQueue[openvino.InferRequest]"
    num_requests: int
    under_way: "deque[weakref.ref[_Answer]]" = field(default_factory=deque)

    def request(self) -> openvino.InferRequest:
        """Return an idle request; where all are under way, the oldest answer is waited for."""
        while True:
            with suppress(queue.Empty):
                return self.idle.get(timeout=0 if self.under_way else _PATIENCE_S)
            with suppress(IndexError):  # another thread took the last one
                oldest = self.under_way.popleft()()
                if oldest is not None:
                    oldest.settle()


class OpenvinoSession:
    """An ONNX file open in OpenVINO, see `edgecv.runtime.session.Session`.

    Shapes are static: the network is compiled anew for each number of images. With the hint
    `throughput` `run` returns at once, and several requests are under way.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        *,
        threads: int = 0,
        content: bytes | None = None,
        precision: ComputePrecision | None = None,
        hint: Hint = "latency",
        cache: Path | None = None,
    ) -> None:
        """Open `path`, see `edgecv.runtime.session.open_session`.

        Args:
            path: the file; with `content`, its name for messages.
            device: `auto` and `cpu` for the CPU, `gpu` or `npu` for Intel's.
            threads: threads of the CPU, 0 for one per core.
            content: the file's bytes, where they do not lie in a file of their own.
            precision: what it computes with; None for `fp32` on the CPU, and for what OpenVINO
                chooses elsewhere, which is fp16 as a rule.
            hint: what to tune for: the time of one image, or images per second.
            cache: folder that compiled networks are kept in, None to compile every time.

        """
        core = _core()
        self._device = _choose_device(core, device)
        if precision is None and self._device == "CPU":
            precision = "fp32"
        _refuse_precision(core, self._device, precision)
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": hint.upper()}
        if precision is not None:
            self._options["INFERENCE_PRECISION_HINT"] = _TYPES[precision]
        if threads and self._device == "CPU":
            self._options["INFERENCE_NUM_THREADS"] = threads
        if cache is not None:
            make_folder(cache)
            self._options["CACHE_DIR"] = str(cache)
        graph = _read(path, content)
        metadata = {entry.key: entry.value for entry in graph.metadata_props}
        self.spec = ModelSpec.from_metadata(metadata, path=path)
        inputs, outputs = _tensors(graph.graph.input), _tensors(graph.graph.output)
        check_graph(path, self.spec, inputs, outputs)
        self._defaults = _take_defaults(graph, self.spec)
        self._output_names = [tensor.name for tensor in outputs]
        side = next(each.shape for each in inputs if each.name == self.spec.input.name)[0]
        self._batch_size = side if isinstance(side, int) else None
        # A free batch is compiled anew for each number of images: it would stall a stream.
        shapes = [tensor.shape for tensor in outputs]
        self.max_batch = max_batch_of(self.spec, self._batch_size or 1, shapes)
        self._path, self._is_throughput = path, hint == "throughput"
        self._model: openvino.Model | None = _converted(path, graph, core)
        self._programs: dict[int, _Program] = {}
        self._lock = threading.Lock()
        self.reason = ""
        self.num_requests = self._program(self._batch_size or 1).num_requests
        self.backend = f"openvino {self._device.lower()}"
        if precision not in (None, "fp32"):
            self.backend += f" {precision}"
        if self._is_throughput:
            self.backend += f" throughput, {self.num_requests} requests"

    @property
    def answers_later(self) -> bool:
        """Whether `run` returns before its outputs are there."""
        return self._is_throughput

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.Session.run`.

        Calls of several threads wait for a request that is idle.
        """
        num_images = len(batch)
        feeds: dict[str, NDArray[Any]] = {
            self.spec.input.name: filled(batch, self._batch_size),
            **self._defaults,
        }
        if self.spec.proposals is not None and proposals is not None:
            feeds[self.spec.proposals.name] = filled(proposals, self._batch_size)
        for name, value in (scalars or {}).items():
            feeds[name] = np.array(value, np.float32)
        program = self._program(len(feeds[self.spec.input.name]))
        keep = None if self._batch_size in (None, num_images) else num_images
        request = program.request()
        if self._is_throughput:
            answer = _Answer(request, feeds, self._output_names, keep, program)
            program.under_way.append(weakref.ref(answer))
            return answer
        try:
            # It reads the caller's memory in place, but refuses what is read-only.
            request.infer(feeds, share_inputs=all(each.flags.writeable for each in feeds.values()))
            return _outputs(request, self._output_names, keep)
        finally:
            program.idle.put(request)

    def warm_up(self) -> None:
        """Run once on an empty input."""
        wanted = self.spec.input
        batch = np.zeros((1, *input_shape(wanted)), wanted.dtype)
        dict(self.run(batch, proposals=no_proposals(self.spec)))

    def close(self) -> None:
        """Give back OpenVINO's memory; twice does no harm."""
        with self._lock:
            self._model = None
            self._programs.clear()

    def _program(self, num_images: int) -> _Program:
        with self._lock:
            if self._model is None:
                raise ValueError("OpenvinoSession.run: the session is closed. Open it again.")
            if num_images not in self._programs:
                self._programs[num_images] = self._compiled(self._model, num_images)
            return self._programs[num_images]

    def _compiled(self, model: openvino.Model, num_images: int) -> _Program:
        """Compile the network for a number of images: with static shapes it plans its memory."""
        shapes = {self.spec.input.name: [num_images, *input_shape(self.spec.input)]}
        if self.spec.proposals is not None:
            shapes[self.spec.proposals.name] = [num_images, self.spec.proposals.count, 4]
        fixed = model.clone()
        try:
            fixed.reshape(shapes)
            compiled = _core().compile_model(fixed, self._device, self._options)
        except RuntimeError as error:
            raise InputError(
                f"`{self._path}` cannot be compiled by OpenVINO for {self._device} and "
                f"{num_images} images: {_reason(error)}. Take `--backend onnxruntime`."
            ) from error
        count: int = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        idle: queue.LifoQueue[openvino.InferRequest] = queue.LifoQueue()
        for _ in range(count):
            idle.put(compiled.create_infer_request())
        return _Program(idle, count)


class _Answer(Mapping[str, NDArray[Any]]):
    """Outputs that are under way; who looks at one waits for all of them."""

    def __init__(
        self,
        request: openvino.InferRequest,
        feeds: Mapping[str, NDArray[Any]],
        names: list[str],
        keep: int | None,
        program: _Program,
    ) -> None:
        """Start a request, which goes back to the idle ones when it was waited for."""
        self._names, self._keep, self._program = names, keep, program
        self._values: Outputs = {}
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._request: openvino.InferRequest | None = None
        try:
            request.start_async(feeds, share_inputs=False)
        except BaseException:
            program.idle.put(request)
            raise
        self._request = request

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.settle()
        if self._error is not None:
            raise self._error
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __del__(self) -> None:
        """Give the request back of an answer that nobody looked at."""
        self.settle()

    def settle(self) -> None:
        """Wait for the outputs and give the request back, if that has not happened yet."""
        with self._lock:
            request, self._request = self._request, None
            if request is None:
                return
            try:
                request.wait()
                self._values = _outputs(request, self._names, self._keep)
            except Exception as error:  # noqa: BLE001  # raised where the outputs are looked at
                self._error = error
            finally:
                self._program.idle.put(request)


def _outputs(request: openvino.InferRequest, names: list[str], keep: int | None) -> Outputs:
    """Copy the outputs: the request's own memory is written to again."""
    found = {}
    for name in names:
        value = request.get_tensor(name).data[:keep]
        found[name] = value.astype(np.float32 if value.dtype == np.float16 else value.dtype)
    return found


def _choose_device(core: openvino.Core, device: str) -> str:
    if device not in _DEVICES:
        raise InputError(
            f"`device` of OpenVINO must be one of {', '.join(_DEVICES)}, got {device!r}. Choose "
            "one of these, or take `--backend onnxruntime`."
        )
    name = _DEVICES[device]
    present = {each.partition(".")[0] for each in core.available_devices}
    if name not in present:
        raise InputError(
            f"`device` is {device!r}, but OpenVINO {_version()} finds only "
            f"{', '.join(sorted(present)).lower()}. Install Intel's driver of the device, or take "
            "`--device cpu`."
        )
    return name


def _refuse_precision(core: openvino.Core, device: str, precision: ComputePrecision | None) -> None:
    """Refuse a precision that OpenVINO would quietly replace by another."""
    if precision is None or precision == "fp32":
        return
    offered = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if _CAPABILITIES[precision] not in offered:
        has = ", ".join(name for name, key in _CAPABILITIES.items() if key in offered)
        raise InputError(
            f"`precision` is {precision!r}, but OpenVINO computes in {has} on this {device}. "
            "Leave out `--precision`, or choose one of these."
        )


def _read(path: Path, content: bytes | None) -> onnx.ModelProto:
    try:
        return onnx.load(path) if content is None else onnx.load_from_string(content)
    except Exception as error:  # protobuf's errors share no public base class
        raise InputError(
            f"`{path}` cannot be read as ONNX: {_reason(error)}. Export it again, or check that "
            "it was copied whole."
        ) from error


def _take_defaults(model: onnx.ModelProto, spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """Take the defaults of thresholds out of the graph: OpenVINO makes constants of such inputs."""
    output = spec.output
    if not isinstance(output, FusedOutput):
        return {}
    names = (output.score_threshold, output.iou_threshold)
    given = [each for each in model.graph.initializer if each.name in names]
    for tensor in given:
        model.graph.initializer.remove(tensor)
    return {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in given}


def _tensors(values: Any) -> list[_Tensor]:  # noqa: ANN401  # protobuf's container of ValueInfoProto
    """Describe inputs or outputs as onnxruntime does."""
    found = []
    for value in values:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        shape = tuple(
            side.dim_value if side.HasField("dim_value") else side.dim_param or None
            for side in tensor.shape.dim
        )
        found.append(
            _Tensor(value.name, f"tensor({kind if kind != 'float32' else 'float'})", shape)
        )
    return found


def _converted(path: Path, model: onnx.ModelProto, core: openvino.Core) -> openvino.Model:
    """Hand the graph over with our functions replaced by their bodies, which OpenVINO has not."""
    bodies = {function.name for function in model.functions}
    plugin = next(
        (node.op_type for node in model.graph.node if node.op_type in {*_PLUGINS} - bodies), None
    )
    if plugin is not None:
        raise InputError(
            f"`{path}` is for TensorRT: its operator {plugin} is a plugin there, and the file has "
            "no definition of it that OpenVINO could run. Build an engine of it, or export again "
            "without `--target tensorrt`."
        )
    try:
        flat = inliner.inline_local_functions(model) if bodies else model
        return core.read_model(flat.SerializeToString())
    except Exception as error:  # OpenVINO raises RuntimeError, protobuf and onnx their own
        raise InputError(
            f"`{path}` cannot be opened by OpenVINO {_version()}: {_reason(error)}. Take "
            "`--backend onnxruntime`."
        ) from error


def _reason(error: BaseException) -> str:
    """Return the line that says most: OpenVINO's first ones name its source, its last a page."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    idle = ("Exception from", "Check '", "While ", "FrontEnd API", "Model wasn't", "Summary", "To ")
    told = [line for line in lines if not line.startswith(idle)]
    return (told or lines or [type(error).__name__])[0].lstrip("- ").rstrip(".")


def _version() -> str:
    return str(openvino.__version__).partition("-")[0]
