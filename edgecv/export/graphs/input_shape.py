"""Another batch or another input size for a graph, given only if it computes the same there."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecv.errors import InputError
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.graphs.shapes import infer_shapes, refuse_unknowable_shapes
from edgecv.output_spec import SSDOutput
from edgecv.spec import METADATA_KEY, ModelSpec

_IMAGE_RANK = 4  # [B, C, H, W]
_TRIED_BATCH = 2  # of a free batch: the smallest at which a constant of one image shows
_TRIED_STEP = 64  # pixels by which a free size is tried beside its own, a multiple of usual strides
_FREE_SIDE = 320  # tried where a side is free already
# Another batch may be summed in another order: as `Tolerance.relative` of the parity check.
_RELATIVE = 1e-4
_TO_THE_END = 2**31 - 1  # ends of slices from here on mean all that there is
_NODE = re.compile(r"Name:\s*'([^']*)'|node name: ([^)]*)\)")

Feeds = Mapping[str, NDArray[np.float32]]


def with_batch(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """Return the graph for another number of images a call.

    Shapes that Reshape is given and that begin with the old batch are taken from its input
    instead. The result is run on random images and compared with the old graph image by image.

    Args:
        model: simplified, see `edgecv.export.graphs.simplify`; it is not changed.
        batch: 1 or more, None for any number.

    Raises:
        InputError: if the graph has its batch in it; the message names the node.

    """
    if batch is not None and batch < 1:
        raise InputError(f"`batch` must be 1 or more, got {batch}.")
    model = infer_shapes(model)
    refuse_unknowable_shapes(model)
    image = _image(model)
    old = _side(image, 0)
    if old == batch:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if old is not None:
        _free_reshapes(result, old)
    for value in _batched(result):
        _set_side(value, 0, batch, "batch")
    what = f"a batch of {'any number' if batch is None else batch}"
    result = _inferred(result, what)
    for output, before in zip(result.graph.output, model.graph.output, strict=True):
        if _dimension(before) == _dimension(image):
            _set_side(output, 0, batch, "batch")
    _prove_batch(model, result, old, batch or _TRIED_BATCH, what)
    return result


def with_size(model: onnx.ModelProto, size_hw: tuple[int, int] | None) -> onnx.ModelProto:
    """Return the graph for images of another size, as far as the network is convolutional.

    A fixed size is written into the file's description too. The result is run at the new size (a
    free one at two) and, at the old size, compared with the old graph.

    Args:
        model: simplified, see `edgecv.export.graphs.simplify`; it is not changed.
        size_hw: height and width in pixels, None for any.

    Raises:
        InputError: if the graph or its description has its size in it; the message names the node.

    """
    if size_hw is not None and min(size_hw) < 1:
        raise InputError(f"`size_hw` must be positive, got {size_hw}.")
    model = infer_shapes(model)
    refuse_unknowable_shapes(model)
    image = _image(model)
    old = (_side(image, 2), _side(image, 3))
    wanted = (None, None) if size_hw is None else size_hw
    if old == wanted:
        return model
    what = "any size" if size_hw is None else f"{size_hw[0]}x{size_hw[1]} pixels"
    _refuse_constant_sizes(model, what)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _describe_size(result, size_hw, what)
    for axis, side, name in zip((2, 3), wanted, ("height", "width"), strict=True):
        _set_side(_image(result), axis, side, name)
    result = _inferred(result, what)
    known = (old[0] or _FREE_SIDE, old[1] or _FREE_SIDE)
    tried = [size_hw] if size_hw is not None else [(known[0] + _TRIED_STEP, known[1]), known]
    for size in tried:
        feeds = _feeds(result, _side(image, 0) or 1, size)
        found = _run(_with_candidates(result), feeds, what)
        if size == known:
            expected = _run(_with_candidates(model), feeds, what)
            _compare(model, result, expected, found, what)
    return result


def _image(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the graph's image input."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    named = None
    if METADATA_KEY in metadata:
        named = ModelSpec.from_json(metadata[METADATA_KEY]).input.name
    images = [
        value
        for value in _required(model)
        if value.name == named or (named is None and len(_sides(value)) == _IMAGE_RANK)
    ]
    if len(images) != 1 or len(_sides(images[0])) != _IMAGE_RANK:
        found = ", ".join(value.name for value in model.graph.input)
        raise InputError(f"the graph must have one image input of rank 4, its inputs are {found}.")
    return images[0]


def _required(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    defaults = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in defaults]


def _batched(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that have an entry for each image."""
    return [value for value in _required(model) if len(_sides(value)) > 1]


def _sides(value: onnx.ValueInfoProto) -> Any:  # noqa: ANN401  # protobuf's repeated field
    return value.type.tensor_type.shape.dim


def _side(value: onnx.ValueInfoProto, axis: int) -> int | None:
    """Return the length of an axis, None where it is free."""
    return _sides(value)[axis].dim_value or None


def _dimension(value: onnx.ValueInfoProto) -> int | str | None:
    """Return the length or the name of the first axis, None where it has neither."""
    sides = _sides(value)
    return (sides[0].dim_value or sides[0].dim_param or None) if sides else None


def _set_side(value: onnx.ValueInfoProto, axis: int, length: int | None, name: str) -> None:
    side = _sides(value)[axis]
    side.Clear()
    if length is None:
        side.dim_param = name
    else:
        side.dim_value = length


def _inferred(model: onnx.ModelProto, what: str) -> onnx.ModelProto:
    """Infer all shapes anew, those of the outputs too."""
    del model.graph.value_info[:]
    before = [list(_sides(value)) for value in model.graph.output]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        model = infer_shapes(model)
    except InputError as error:
        raise _refusal(model, what, _named_in(str(error)), str(error)) from error
    known = {side.dim_param for value in model.graph.input for side in _sides(value)}
    for value, names in zip(model.graph.output, before, strict=True):
        sides = _sides(value)
        while len(sides) < len(names):  # what cannot be inferred is free
            sides.add()
        for side, name in zip(sides, names, strict=True):
            if not side.dim_value and side.dim_param not in known:
                side.Clear()
                if name.dim_param in known:
                    side.dim_param = name.dim_param
    return model


def _free_reshapes(model: onnx.ModelProto, old: int) -> None:
    """Let Reshape copy the batch from its input where it was given the old one."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = {value.name: value for value in (*model.graph.value_info, *model.graph.input)}
    free: dict[str, str] = {}
    for node in model.graph.node:
        if node.domain or node.op_type != "Reshape" or node.input[1] not in tensors:
            continue
        shape = numpy_helper.to_array(tensors[node.input[1]])
        data = shapes.get(node.input[0])
        if data is None or not len(_sides(data)) or _side(data, 0) != old:
            continue
        if not len(shape) or shape[0] != old:
            continue
        zeros = [entry for entry in node.attribute if entry.name == "allowzero"]
        if any(entry.i for entry in zeros):  # a 0 would be a length, not a copy
            if 0 in shape:
                continue
            node.attribute.remove(zeros[0])
        if node.input[1] not in free:
            name = f"{node.input[1]}_any_batch"
            copy = numpy_helper.from_array(np.concatenate([[0], shape[1:]]).astype(np.int64), name)
            model.graph.initializer.append(copy)
            free[node.input[1]] = name
        node.input[1] = free[node.input[1]]
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in set(free) - used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _refuse_constant_sizes(model: onnx.ModelProto, what: str) -> None:
    """Refuse what runs at another size and gives what belongs to the old one."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = {value.name: value for value in (*model.graph.value_info, *model.graph.input)}
    for node in model.graph.node:
        if node.domain:
            continue
        constants = {
            index: tensors[name] for index, name in enumerate(node.input) if name in tensors
        }
        is_resize = node.op_type == "Resize" and 3 in constants  # noqa: PLR2004  # `sizes`
        is_expand = node.op_type == "Expand" and 1 in constants and node.input[0] not in tensors
        if is_expand:
            is_expand = bool((numpy_helper.to_array(constants[1])[2:] > 1).any())
        if is_resize or is_expand:
            raise _refusal(model, what, node.name)
        if node.op_type == "Slice" and {2, 3} <= constants.keys() and node.input[0] in shapes:
            ends, axes = (numpy_helper.to_array(constants[index]) for index in (2, 3))
            for end, axis in zip(ends, axes, strict=True):
                sides = _sides(shapes[node.input[0]])
                is_spatial = len(sides) == _IMAGE_RANK and axis % _IMAGE_RANK >= 2  # noqa: PLR2004
                if is_spatial and 0 < end < _TO_THE_END and sides[axis].dim_value == end:
                    raise _refusal(model, what, node.name)


def _describe_size(model: onnx.ModelProto, size_hw: tuple[int, int] | None, what: str) -> None:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in metadata:
        return
    spec = ModelSpec.from_json(metadata[METADATA_KEY])
    if isinstance(spec.output, SSDOutput):
        raise InputError(
            f"the graph cannot take {what}: its description lists the anchors of the old size. "
            "Export it again from its project."
        )
    if size_hw is not None:
        write_spec(model, replace(spec, input=replace(spec.input, size_hw=size_hw)))


def _feeds(
    model: onnx.ModelProto, batch: int, size_hw: tuple[int, int] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Return random inputs, images in 0..1 and what is as long as boxes in pixels."""
    rng = np.random.default_rng(0)
    image = _image(model)
    height, width = size_hw or (
        _side(image, 2) or _FREE_SIDE,
        _side(image, 3) or _FREE_SIDE,
    )
    feeds = {}
    for value in _required(model):
        sides = [side.dim_value for side in _sides(value)]
        if value.name == image.name:
            pixels = rng.uniform(0, 1, (batch, sides[1] or 3, height, width))
            feeds[value.name] = pixels.astype(np.float32)
        else:
            corners = rng.uniform(0, min(height, width) / 2, (batch, *(n or 1 for n in sides[1:])))
            corners[..., corners.shape[-1] // 2 :] *= 2
            feeds[value.name] = corners.astype(np.float32)
    return feeds


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal alone: what fails is told below
    # Unoptimised, nodes keep the names by which they are told.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(model: onnx.ModelProto, feeds: Feeds, what: str) -> dict[str, NDArray[np.float32]]:
    names = [value.name for value in model.graph.output]
    try:
        values = _session(model).run(names, dict(feeds))
    except Exception as error:  # onnxruntime's errors share no public base class
        raise _refusal(model, what, _named_in(str(error)), str(error)) from error
    return dict(zip(names, values, strict=True))


def _prove_batch(
    old_model: onnx.ModelProto, model: onnx.ModelProto, old: int | None, batch: int, what: str
) -> None:
    """Compare a batch of the new graph with its images one by one in the old."""
    feeds = _feeds(model, batch)
    found = _run(_with_candidates(model), feeds, what)
    expected = _by_image(_with_candidates(old_model), feeds, old or 1, what)
    _compare(old_model, model, expected, found, what, feeds=feeds, old=old or 1)


def _by_image(
    model: onnx.ModelProto, feeds: Feeds, batch: int, what: str
) -> dict[str, NDArray[np.float32]]:
    """Return the results of each image alone, repeated where the graph takes several.

    Values without an entry for each image are left out.
    """
    rows: list[dict[str, NDArray[np.float32]]] = []
    for index in range(len(next(iter(feeds.values())))):
        image = {
            name: np.repeat(value[index : index + 1], batch, 0) for name, value in feeds.items()
        }
        values = _run(model, image, what)
        rows.append({name: value[:1] for name, value in values.items() if len(value) == batch})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _compare(
    old_model: onnx.ModelProto,
    model: onnx.ModelProto,
    expected: Feeds,
    found: Feeds,
    what: str,
    *,
    feeds: Feeds | None = None,
    old: int = 1,
) -> None:
    if all(name in expected and _is_same(expected[name], found[name]) for name in found):
        return
    node = _first_difference(old_model, model, feeds, old, what) if feeds is not None else None
    raise _refusal(model, what, node, "its result is another")


def _first_difference(
    old_model: onnx.ModelProto, model: onnx.ModelProto, feeds: Feeds, old: int, what: str
) -> str | None:
    """Return the first node whose result for several images is not that of each."""
    exposed = [_exposed(each) for each in (old_model, model)]
    expected = _by_image(exposed[0], feeds, old, what)
    found = _run(exposed[1], feeds, what)
    for node in model.graph.node:
        for name in node.output:
            is_known = name in found and name in expected
            if is_known and not _is_same(expected[name], found[name]):
                return str(node.name)
    return None


def _exposed(model: onnx.ModelProto, names: Collection[str] | None = None) -> onnx.ModelProto:
    """Return the graph with more outputs: those of `names`, or all, that are float32."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    shown = {value.name for value in exposed.graph.output}
    exposed.graph.output.extend(
        value
        for value in model.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        and len(_sides(value))
        and value.name not in shown
        and (names is None or value.name in names)
    )
    return exposed


def _with_candidates(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the boxes and scores that it suppresses as outputs too.

    Of random images it may keep none, and nothing could be compared.
    """
    taken = [node.input for node in model.graph.node if node.op_type == "EdgeNMS"]
    return _exposed(model, {name for names in taken for name in names})


def _is_same(expected: NDArray[np.float32], found: NDArray[np.float32]) -> bool:
    if expected.shape != found.shape:
        return False
    largest = float(np.abs(expected).max(initial=0.0))
    return bool(np.allclose(found, expected, rtol=0, atol=_RELATIVE * largest, equal_nan=True))


def _named_in(message: str) -> str | None:
    """Return the node that an error of onnx or onnxruntime names."""
    match = _NODE.search(message)
    return next((name for name in match.groups() if name), None) if match else None


def _refusal(model: onnx.ModelProto, what: str, name: str | None, reason: str = "") -> InputError:
    node = next((node for node in model.graph.node if node.name == name), None)
    if node is None:
        why = reason.strip().splitlines()[0].rstrip(".")
    else:
        why = f"node `{node.name}` ({node.op_type}) stands in the way, it holds the old one"
    return InputError(f"the graph cannot take {what}: {why}. Export it again from its project.")
