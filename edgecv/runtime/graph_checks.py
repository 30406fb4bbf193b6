"""Refusing a graph that is not what its description says, whichever backend opened it."""

from collections.abc import Sequence
from typing import Any, Protocol

from edgecv.errors import InputError
from edgecv.output_spec import ClassMapOutput, FusedOutput
from edgecv.runtime.session import input_shape
from edgecv.spec import InputSpec, ModelSpec

_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}


class GraphTensor(Protocol):
    """An input or output of a graph, as onnxruntime's `NodeArg` shows it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """Its type, such as `tensor(float)`."""

    @property
    def shape(self) -> Sequence[Any]:
        """Its sides: a number, or a name or None where any fits."""


def check_graph(
    path: object,
    spec: ModelSpec,
    inputs: Sequence[GraphTensor],
    outputs: Sequence[GraphTensor],
    *,
    optional: Sequence[str] = (),
) -> None:
    """Refuse a graph whose inputs and outputs its description contradicts.

    Args:
        path: the file, for messages.
        spec: its description.
        inputs: of the graph; those with a default may be left out.
        outputs: of the graph.
        optional: names of further inputs that have a default.

    Raises:
        InputError: which value of the description, what the graph has instead, what to do.

    """
    names = {node.name for node in inputs} | set(optional)
    check_names(path, spec, names, {node.name for node in outputs})
    _check_input(path, spec.input, next(each for each in inputs if each.name == spec.input.name))
    _check_classes(path, spec, outputs)
    _check_planes(path, spec, outputs)
    _check_keypoints(path, spec, outputs)
    _check_proposals(path, spec, inputs)


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


def _check_classes(path: object, spec: ModelSpec, outputs: Sequence[GraphTensor]) -> None:
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


def _check_planes(path: object, spec: ModelSpec, outputs: Sequence[GraphTensor]) -> None:
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


def _check_keypoints(path: object, spec: ModelSpec, outputs: Sequence[GraphTensor]) -> None:
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


def _check_input(path: object, wanted: InputSpec, node: GraphTensor) -> None:
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


def _check_proposals(path: object, spec: ModelSpec, nodes: Sequence[GraphTensor]) -> None:
    """Refuse a description of proposals whose shape the graph's own contradicts."""
    if spec.proposals is None:
        return
    node = next(node for node in nodes if node.name == spec.proposals.name)
    if node.type != _TYPES["float32"] or [*node.shape[1:]] != [spec.proposals.count, 4]:
        raise InputError(
            f"`{path}`: `proposals` describes float32 [B, {spec.proposals.count}, 4], but the "
            f"graph's `{node.name}` is {node.type} {node.shape}. Export the model again."
        )
