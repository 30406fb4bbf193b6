"""The onnxruntime backend: its own kernels on a CPU or GPU, or TensorRT's engines through it."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.files import cache_folder, make_folder
from edgecv.provenance import num_cores
from edgecv.runtime.graph_checks import check_graph
from edgecv.runtime.session import (
    MAX_BATCH,
    ComputePrecision,
    Hint,
    Outputs,
    filled,
    input_shape,
    max_batch_of,
    no_proposals,
)
from edgecv.runtime.side_by_side import SideBySide
from edgecv.spec import ModelSpec

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_PROVIDERS = {"cpu": _CPU, "cuda": _CUDA}
_PLUGIN_WITHOUT_BODY = re.compile(r"(Edge(?:NMS|RoiAlign|RoiPool))\b.* is not a registered")
_ERRORS_ONLY = 3  # onnxruntime's severity scale: 0 verbose, 2 warning, 3 error


def available_devices() -> list[str]:
    """Return the devices that the installed onnxruntime can use, the fastest first."""
    present = onnxruntime.get_available_providers()
    return [device for device in ("cuda", "cpu") if _PROVIDERS[device] in present]


def has_tensorrt() -> bool:
    """Tell whether the installed onnxruntime was built with TensorRT's provider."""
    return _TENSORRT in onnxruntime.get_available_providers()


class OnnxruntimeSession:
    """An ONNX file open in onnxruntime, see `edgecv.runtime.session.Session`.

    On a CPU of several cores, with the hint `throughput`, `run` returns at once, and as many
    requests are under way as there are threads, up to 16, see `edgecv.runtime.side_by_side`.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        *,
        threads: int = 0,
        content: bytes | None = None,
        tensorrt: bool = False,
        precision: ComputePrecision | None = None,
        hint: Hint = "latency",
        cache: Path | None = None,
    ) -> None:
        """Open `path`, see `edgecv.runtime.session.open_session`.

        Args:
            path: the file; with `content`, its name for messages.
            device: `auto`, `cpu` or `cuda`.
            threads: threads of the CPU, 0 for one per core.
            content: the file's bytes, where they do not lie in a file of their own.
            tensorrt: build engines with TensorRT of what it supports; the rest runs on CUDA.
            precision: on CUDA only `fp32`, which forbids TF32's products of ten bits; of TensorRT's
                engines also `fp16` and `bf16`. None for what onnxruntime does by itself.
            hint: what to tune for on a CPU: the time of one image, or images per second.
            cache: folder that engines are kept in, None for one in the user's cache.

        """
        if tensorrt:
            device = _device_of_tensorrt(device)
            providers = [*_tensorrt_providers(precision, cache), *_cuda_providers(precision)]
        else:
            device = _choose_device(device)
            _refuse_precision(path, device, precision)
            providers = _cuda_providers(precision) if device == "cuda" else [(_CPU, {})]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, self.num_requests = threads, 1
        if hint == "throughput" and device == "cpu":
            num_threads = threads or num_cores()
            self.num_requests = min(num_threads, MAX_BATCH)
            options.intra_op_num_threads = num_threads // self.num_requests
        options.log_severity_level = _ERRORS_ONLY
        try:
            session = onnxruntime.InferenceSession(
                str(path) if content is None else content, options, providers=providers
            )
        except Exception as error:  # onnxruntime's errors share no public base class
            first_line = str(error).strip().splitlines()[0]
            plugin = _PLUGIN_WITHOUT_BODY.search(first_line)
            if plugin:
                raise InputError(
                    f"`{path}` is for TensorRT: its operator {plugin.group(1)} is a plugin there, "
                    "and the file has no definition of it that onnxruntime could run. Build an "
                    "engine of it, or export again without `--target tensorrt`."
                ) from error
            raise InputError(
                f"`{path}` cannot be opened by onnxruntime {onnxruntime.__version__}: "
                f"{first_line}. Export it again, or check that it was copied whole."
            ) from error
        _refuse_fallback(path, providers[0][0], session.get_providers())
        metadata = session.get_modelmeta().custom_metadata_map
        self.spec = ModelSpec.from_metadata(metadata, path=path)
        self.backend = f"onnxruntime{'-tensorrt' if tensorrt else ''} {device}"
        if precision is not None:
            self.backend += f" {precision}"
        if self.answers_later:
            self.backend += f" throughput, {self.num_requests} requests"
        self.reason = ""
        self._output_names = [node.name for node in session.get_outputs()]
        optional = [node.name for node in session.get_overridable_initializers()]
        inputs, outputs = session.get_inputs(), session.get_outputs()
        check_graph(path, self.spec, inputs, outputs, optional=optional)
        batch = next(node for node in inputs if node.name == self.spec.input.name)
        self._batch_size = batch.shape[0] if isinstance(batch.shape[0], int) else None
        self.max_batch = max_batch_of(self.spec, self._batch_size, [node.shape for node in outputs])
        self._session: onnxruntime.InferenceSession | None = session
        self._side_by_side = SideBySide(self.num_requests) if self.answers_later else None

    @property
    def answers_later(self) -> bool:
        """Whether `run` returns before its outputs are there."""
        return self.num_requests > 1

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.Session.run`."""
        session = self._session
        if session is None:
            raise ValueError("OnnxruntimeSession.run: the session is closed. Open it again.")
        num_images = len(batch)
        feeds: dict[str, NDArray[Any]] = {self.spec.input.name: filled(batch, self._batch_size)}
        if self.spec.proposals is not None and proposals is not None:
            feeds[self.spec.proposals.name] = filled(proposals, self._batch_size)
        for name, value in (scalars or {}).items():
            feeds[name] = np.array(value, np.float32)
        if self._side_by_side is None:
            return self._outputs(session, feeds, num_images)
        return self._side_by_side.start(
            self._output_names, partial(self._outputs, session, feeds, num_images)
        )

    def _outputs(
        self,
        session: onnxruntime.InferenceSession,
        feeds: Mapping[str, NDArray[Any]],
        num_images: int,
    ) -> Outputs:
        values = session.run(self._output_names, feeds)
        outputs = {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in zip(self._output_names, values, strict=True)
        }
        if self._batch_size in (None, num_images):
            return outputs  # those of task `detect` need no axis of images, see `ObjectsOutput`
        return {name: value[:num_images] for name, value in outputs.items()}

    def warm_up(self) -> None:
        """Run once on an empty input."""
        wanted = self.spec.input
        batch = np.zeros((1, *input_shape(wanted)), wanted.dtype)
        dict(self.run(batch, proposals=no_proposals(self.spec)))

    def close(self) -> None:
        """Give back onnxruntime's memory; twice does no harm."""
        self._session = None
        if self._side_by_side is not None:
            self._side_by_side.close()


def _choose_device(device: str) -> str:
    available = available_devices()
    if device == "auto":
        return available[0]
    if device not in _PROVIDERS:
        known = ", ".join(("auto", *_PROVIDERS))
        raise InputError(f"`device` must be one of {known}, got {device!r}.")
    if device not in available:
        raise InputError(
            f"`device` is {device!r}, but this onnxruntime offers only {', '.join(available)}. "
            "Install the GPU build: `pip uninstall onnxruntime; pip install onnxruntime-gpu`."
        )
    return device


def _device_of_tensorrt(device: str) -> str:
    if device not in ("auto", "cuda"):
        raise InputError(
            f"`device` of onnxruntime-tensorrt must be auto or cuda, got {device!r}. Leave it out."
        )
    if not has_tensorrt():
        raise InputError(
            f"this onnxruntime {onnxruntime.__version__} has no {_TENSORRT}, it offers only "
            f"{', '.join(onnxruntime.get_available_providers())}. Install the GPU build: "
            "`pip uninstall onnxruntime; pip install onnxruntime-gpu`, and TensorRT's libraries."
        )
    return "cuda"


def _cuda_providers(precision: ComputePrecision | None) -> list[tuple[str, dict[str, Any]]]:
    """Return CUDA and what it leaves to the CPU.

    Source: onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
    """
    options: dict[str, Any] = {
        "device_id": 0,  # the first of CUDA_VISIBLE_DEVICES
        "cudnn_conv_algo_search": "EXHAUSTIVE",  # once a shape, at its first run
        "arena_extend_strategy": "kSameAsRequested",  # several models share one GPU's memory
        "do_copy_in_default_stream": True,
    }
    if precision == "fp32":
        options["use_tf32"] = 0  # its default is 1: products of ten bits
    return [(_CUDA, options), (_CPU, {})]


def _tensorrt_providers(
    precision: ComputePrecision | None, cache: Path | None
) -> list[tuple[str, dict[str, Any]]]:
    """Return TensorRT, its engines and timings kept in a folder.

    Source: onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
    """
    # The provider names engines by model and GPU; a folder of its own keeps those of another
    # version or precision from being taken for these.
    name = f"onnxruntime-{onnxruntime.__version__}-{precision or 'fp32'}"
    folder = (cache_folder() / "tensorrt" if cache is None else cache) / name
    make_folder(folder)
    options: dict[str, Any] = {
        "device_id": 0,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": precision == "fp16",
    }
    if precision == "bf16":
        options["trt_bf16_enable"] = True  # only where wanted: older versions do not know it
    return [(_TENSORRT, options)]


def _refuse_precision(path: Path, device: str, precision: ComputePrecision | None) -> None:
    if precision is None or (device, precision) == ("cuda", "fp32"):
        return
    raise InputError(
        f"`{path}` computes in the precision that it was exported in: onnxruntime on {device} "
        f"offers no other, got {precision}. Leave out `--precision`."
    )


def _refuse_fallback(path: Path, wanted: str, in_use: list[str]) -> None:
    """Refuse a session that runs elsewhere: onnxruntime says so in its log alone."""
    if wanted not in in_use:
        raise InputError(
            f"`{path}`: onnxruntime {onnxruntime.__version__} could not start its {wanted} and "
            f"fell back to {', '.join(in_use)}: its libraries of CUDA, cuDNN or TensorRT are not "
            "found or of another version. Install those of its release notes, or take "
            "`--device cpu`."
        )
