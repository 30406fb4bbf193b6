"""The onnxruntime backend."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.output_spec import ClassMapOutput, FusedOutput
from edgecv.runtime.session import Outputs, filled, input_shape, no_proposals
from edgecv.spec import InputSpec, ModelSpec

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}
_PLUGIN_WITHOUT_BODY = re.compile(r"(Edge(?:NMS|RoiAlign|RoiPool))\b.* is not a registered")
_ERRORS_ONLY = 3  # onnxruntime's severity scale: 0 verbose, 2 warning, 3 error


def available_devices() -> list[str]:
    """Return the devices that the installed onnxruntime can use, the fastest first."""
    present = onnxruntime.get_available_providers()
    return [device for device in ("cuda", "cpu") if _PROVIDERS[device] in present]


class OnnxruntimeSession:
    """An ONNX file open in onnxruntime, see `edgecv.runtime.session.Session`."""

    def __init__(
        self, path: Path, device: str = "auto", *, threads: int = 0, content: bytes | None = None
    ) -> None:
        """Open `path`, see `edgecv.runtime.session.open_session`.

        Args:
            path: the file; with `content`, its name for messages.
            device: `auto`, `cpu` or `cuda`.
            threads: threads of one inference on the CPU, 0 for one per core.
            content: the file's bytes, where they do not lie in a file of their own.

        """
        device = _choose_device(device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        try:
            session = onnxruntime.InferenceSession(
                str(path) if content is None else content, options, providers=[_PROVIDERS[device]]
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
        metadata = session.get_modelmeta().custom_metadata_map
        self.spec = ModelSpec.from_metadata(metadata, path=path)
        self.backend = f"onnxruntime {device}"
        self._output_names = [node.name for node in session.get_outputs()]
        optional = session.get_overridable_initializers()
        inputs = {node.name for node in (*session.get_inputs(), *optional)}
        check_names(path, self.spec, inputs, set(self._output_names))
        batch = next(node for node in session.get_inputs() if node.name == self.spec.input.name)
        _check_input(path, self.spec.input, batch)
        _check_classes(path, self.spec, session.get_outputs())
        _check_planes(path, self.spec, session.get_outputs())
        _check_keypoints(path, self.spec, session.get_outputs())
        _check_proposals(path, self.spec, session.get_inputs())
        self._batch_size = batch.shape[0] if isinstance(batch.shape[0], int) else None
        self._session: onnxruntime.InferenceSession | None = session

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.Session.run`."""
        if self._session is None:
            raise ValueError("OnnxruntimeSession.run: the session is closed. Open it again.")
        num_images = len(batch)
        feeds: dict[str, NDArray[Any]] = {self.spec.input.name: filled(batch, self._batch_size)}
        if self.spec.proposals is not None and proposals is not None:
            feeds[self.spec.proposals.name] = filled(proposals, self._batch_size)
        for name, value in (scalars or {}).items():
            feeds[name] = np.array(value, np.float32)
        values = self._session.run(self._output_names, feeds)
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
        self.run(batch, proposals=no_proposals(self.spec))

    def close(self) -> None:
        """Give back onnxruntime's memory; twice does no harm."""
        self._session = None


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


def check_names(path: object, spec: ModelSpec, inputs: set[str], outputs: set[str]) -> None:
    """Refuse a description that speaks of tensors which the graph does not have."""
    output = spec.output
    wanted_outputs: tuple[str, ...] = {
        "fused": ("num_detections", "boxes", "scores", "classes"),
        "ssd": ("offsets", "logits"),
        "detr": ("logits", "boxes"),
        "rows": ("rows",),
        "objects": ("boxes", "scores", "labels"),
        "logits": ("logits",),
        "probabilities": ("probabilities",),
        "class-map": ("labels",),
        "image": ("image",),
    }.get(output.FORMAT, ("head",))
    if isinstance(output, FusedOutput):
        wanted_outputs += tuple(
            key for key in ("masks", "keypoints") if getattr(output, key) is not None
        )
    for key in wanted_outputs:
        name = getattr(output, key)
        if name not in outputs:
            raise InputError(
                f"`{path}`: `output.{key}` names `{name}`, but the graph's outputs are "
                f"{', '.join(sorted(outputs))}. Adopt or export the model again."
            )
    wanted_inputs: dict[str, str | None] = {"input.name": spec.input.name}
    if isinstance(output, FusedOutput):
        wanted_inputs["output.score_threshold"] = output.score_threshold
        wanted_inputs["output.iou_threshold"] = output.iou_threshold
    if spec.proposals is not None:
        wanted_inputs["proposals.name"] = spec.proposals.name
    for key, name in wanted_inputs.items():
        if name is not None and name not in inputs:
            raise InputError(
                f"`{path}`: `{key}` names `{name}`, but the graph's inputs are "
                f"{', '.join(sorted(inputs))}. Adopt or export the model again."
            )


def _check_classes(path: Path, spec: ModelSpec, outputs: Sequence[onnxruntime.NodeArg]) -> None:
    """Refuse a classifier whose description has other classes than its output has columns."""
    if spec.task != "classify":
        return
    name = getattr(spec.output, spec.output.FORMAT)
    shape = next(node.shape for node in outputs if node.name == name)
    count = len(spec.classes)
    is_other = isinstance(shape[-1], int) and shape[-1] != count  # a name or None is a free side
    if len(shape) != 2 or is_other:  # noqa: PLR2004  # [B, C]
        raise InputError(
            f"`{path}`: the description has {count} classes, but the graph's output `{name}` is "
            f"{shape}. Adopt or export the model again."
        )


def _check_planes(path: Path, spec: ModelSpec, outputs: Sequence[onnxruntime.NodeArg]) -> None:
    """Refuse a segmentation network whose output is not what its description says."""
    if spec.task != "segment":
        return
    output, count = spec.output, len(spec.classes)
    planes: tuple[int, ...] = (1, 2) if count == 2 else (count,)  # noqa: PLR2004  # sigmoid has one
    wanted = f"{count} classes, [B, {' or '.join(map(str, planes))}, h, w]"
    kind: str = "float"
    num_sides: tuple[int, ...] = (4,)
    if isinstance(output, ClassMapOutput):
        planes, wanted = (1,), "a class map, integers [B, h, w]"
        kind, num_sides = "int", (3, 4)
    name = getattr(output, "labels" if kind == "int" else output.FORMAT)
    node = next(node for node in outputs if node.name == name)
    is_fitting = kind in node.type
    shape = node.shape
    is_other = len(shape) == 4 and isinstance(shape[1], int) and shape[1] not in planes  # noqa: PLR2004
    if not is_fitting or len(shape) not in num_sides or is_other:
        raise InputError(
            f"`{path}`: the description has {wanted}, but the graph's output `{name}` is "
            f"{node.type} {shape}. Adopt or export the model again."
        )


def _check_keypoints(path: Path, spec: ModelSpec, outputs: Sequence[onnxruntime.NodeArg]) -> None:
    """Refuse a description that names other points than its output has rows for."""
    if not isinstance(spec.output, FusedOutput) or spec.output.keypoints is None:
        return
    name, count = spec.output.keypoints, len(spec.keypoints)
    shape = next(node.shape for node in outputs if node.name == name)
    is_other = any(
        isinstance(side, int) and side != wanted  # a name or None is a free side
        for side, wanted in zip(shape[2:], (count, 3), strict=False)
    )
    if len(shape) != 4 or is_other:  # noqa: PLR2004  # [B, K, J, 3]
        raise InputError(
            f"`{path}`: the description names {count} keypoints, but the graph's output `{name}` "
            f"is {shape}. Adopt or export the model again."
        )


def _check_input(path: Path, wanted: InputSpec, node: onnxruntime.NodeArg) -> None:
    """Refuse a description of an input whose type or shape the graph's own contradicts."""
    shape = input_shape(wanted)
    is_fitting = (
        len(node.shape) == 1 + len(shape)
        and all(
            side == found or not isinstance(found, int)  # a name or None is a free side
            for side, found in zip(shape, node.shape[1:], strict=True)
        )
    )
    if node.type != _TYPES[wanted.dtype] or not is_fitting:
        raise InputError(
            f"`{path}`: `input` describes {wanted.dtype} [B, {', '.join(map(str, shape))}] "
            f"({wanted.layout}, {wanted.colour}), but the graph's `{node.name}` is {node.type} "
            f"{node.shape}. Adopt or export the model again."
        )


def _check_proposals(path: Path, spec: ModelSpec, nodes: list[onnxruntime.NodeArg]) -> None:
    """Refuse a description of proposals whose shape the graph's own contradicts."""
    if spec.proposals is None:
        return
    node = next(node for node in nodes if node.name == spec.proposals.name)
    if node.type != _TYPES["float32"] or node.shape[1:] != [spec.proposals.count, 4]:
        raise InputError(
            f"`{path}`: `proposals` describes float32 [B, {spec.proposals.count}, 4], but the "
            f"graph's `{node.name}` is {node.type} {node.shape}. Export the model again."
        )
