"""A third-party graph: what its file says of it, its input, and what it gives for two images."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
import onnxruntime
from numpy.typing import NDArray

from edgecv.errors import InputError

_KINDS: dict[int, Literal["float32", "float16", "uint8"]] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.UINT8: "uint8",
}
_BLOCKS = 8  # a probe's squares a side: larger than pixels, so that features answer to them
_STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


@dataclass(frozen=True)
class Hints:
    """What an exporter left in the file's metadata; Ultralytics' does, under these keys.

    Args:
        names: of the classes, by id; empty where there are none.
        task: `detect`, `classify`, `segment`, `pose`, `obb`, or empty.
        size_hw: that the model was exported for.
        is_ultralytics: whether the file says that it comes from there.

    """

    names: tuple[str, ...] = ()
    task: str = ""
    size_hw: tuple[int, int] | None = None
    is_ultralytics: bool = False


@dataclass(frozen=True)
class ThirdPartyGraph:
    """A graph with one input of images, and what it gives for a black image and for noise.

    Args:
        model: the graph; the source's, but for what `prepare` had to change of its inputs.
        input: the name of the input.
        size_hw: height and width of the input.
        layout: order of its axes.
        dtype: its element type.
        hints: what the file's metadata says.
        probes: the outputs by name, a value for each probe.
        notes: what was changed of the graph, in words.

    """

    model: onnx.ModelProto
    input: str
    size_hw: tuple[int, int]
    layout: Literal["nchw", "nhwc"]
    dtype: Literal["float32", "float16", "uint8"]
    hints: Hints
    probes: Mapping[str, tuple[NDArray[Any], ...]]
    notes: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output for the last probe."""
        return {name: values[-1].shape for name, values in self.probes.items()}

    def describe_outputs(self) -> str:
        """Return the outputs with their shapes, for messages."""
        return ", ".join(f"`{name}` {list(shape)}" for name, shape in self.shapes.items())


def read_hints(model: onnx.ModelProto) -> Hints:
    """Return what the metadata says; what cannot be read as expected is left out."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    names = _literal(entries.get("names"))
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or sorted(map(str, names)) != sorted(
        str(index) for index in range(len(names))
    ):
        names = {}
    by_id = {int(key): str(name) for key, name in names.items()}
    size = _literal(entries.get("imgsz"))
    if not (isinstance(size, list | tuple) and all(isinstance(side, int) for side in size)):
        size = []
    return Hints(
        names=tuple(by_id[index] for index in range(len(by_id))),
        task=entries.get("task", ""),
        size_hw=(size[0], size[-1]) if len(size) in (1, 2) and min(size) > 0 else None,
        is_ultralytics=entries.get("author") == "Ultralytics",
    )


def prepare(
    model: onnx.ModelProto, source: Path, wanted_hw: tuple[int, int] | None
) -> ThirdPartyGraph:
    """Bring `model` to one input with an axis of images, and run it on two images.

    Args:
        model: of `source`.
        source: for messages.
        wanted_hw: the input's size where the graph leaves it open.

    Raises:
        InputError: if the inputs are others than images (and their size), the size is open and
            not given, or the graph does not run.

    """
    _refuse_foreign_operators(model, source)
    hints = read_hints(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    images, sizes = _told_apart(inputs, source)
    dtype, layout, dims = _image_form(images, source)
    size_hw, notes = _size_hw(dims, layout, wanted_hw, hints, source)
    if sizes is not None or len(images.type.tensor_type.shape.dim) == 3:  # noqa: PLR2004  # CHW
        graph = ir.serde.deserialize_model(model)
        if sizes is not None:
            _bind_size(graph, sizes.name, size_hw)
            notes.append(f"`{sizes.name}` is fixed at the input's width and height")
        if len(images.type.tensor_type.shape.dim) == 3:  # noqa: PLR2004
            _add_batch_axis(graph, images.name, size_hw, layout)
            notes.append(f"`{images.name}` gained an axis of images")
        model = ir.serde.serialize_model(graph)
    name = next(value.name for value in model.graph.input if value.name == images.name)
    first = images.type.tensor_type.shape.dim[0].dim_value
    batch_size = first if len(images.type.tensor_type.shape.dim) == 4 and first else 1  # noqa: PLR2004
    probes = _probed(model, source, name, size_hw, layout, dtype, batch_size)
    return ThirdPartyGraph(model, name, size_hw, layout, dtype, hints, probes, tuple(notes))


def without_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return `model` without the output `name`, and without what only that one needs."""
    graph = ir.serde.deserialize_model(model)
    kept = [value for value in graph.graph.outputs if value.name != name]
    graph.graph.outputs.clear()
    graph.graph.outputs.extend(kept)
    ir_passes.RemoveUnusedNodesPass()(graph)
    return ir.serde.serialize_model(graph)


def _literal(text: str | None) -> Any:  # noqa: ANN401  # whatever the exporter wrote
    try:
        return ast.literal_eval(text or "None")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _refuse_foreign_operators(model: onnx.ModelProto, source: Path) -> None:
    """Refuse operators that only another runtime knows, such as TensorRT's plugins."""
    own = {function.domain for function in model.functions} | set(_STANDARD_DOMAINS)
    foreign = sorted({node.op_type for node in model.graph.node if node.domain not in own})
    if foreign:
        raise InputError(
            f"`{source}` holds operators that are not ONNX's and that onnxruntime cannot run: "
            f"{', '.join(foreign)}. Export it without them, such as without TensorRT's NMS."
        )


def _told_apart(
    inputs: list[onnx.ValueInfoProto], source: Path
) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto | None]:
    """Return the input of images and that of their sizes, [B, 2] int64, where there is one."""
    sizes = [
        value
        for value in inputs
        if value.type.tensor_type.elem_type == onnx.TensorProto.INT64
        and len(value.type.tensor_type.shape.dim) == 2  # noqa: PLR2004
        and value.type.tensor_type.shape.dim[1].dim_value in (0, 2)
    ]
    images = [value for value in inputs if value not in sizes]
    if len(images) != 1 or len(sizes) > 1:
        names = ", ".join(value.name for value in inputs)
        raise InputError(
            f"`{source}` must have one input, got {len(inputs)}: {names}. "
            "Export it with images as its only input."
        )
    return images[0], sizes[0] if sizes else None


def _image_form(
    value: onnx.ValueInfoProto, source: Path
) -> tuple[Literal["float32", "float16", "uint8"], Literal["nchw", "nhwc"], tuple[int | str, ...]]:
    """Return the type, the layout and the three axes of one image; open ones are names."""
    tensor = value.type.tensor_type
    dims: list[int | str] = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]
    image = tuple(dims[-3:])
    dtype = _KINDS.get(tensor.elem_type)
    is_ranked = len(dims) in (3, 4)
    if is_ranked and image[2] == 3 and image[0] != 3:  # noqa: PLR2004  # channels
        layout: Literal["nchw", "nhwc"] | None = "nhwc"
    else:
        layout = "nchw" if is_ranked and (image[0] == 3 or isinstance(image[0], str)) else None  # noqa: PLR2004
    if layout is None or dtype is None:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise InputError(
            f"`{source}`: the input must be [B, 3, H, W] or [B, H, W, 3] of float32, float16 or "
            f"uint8, got {dims} {kind}. Export it from its project in this form."
        )
    return dtype, layout, image


def _size_hw(
    dims: tuple[int | str, ...],
    layout: Literal["nchw", "nhwc"],
    wanted_hw: tuple[int, int] | None,
    hints: Hints,
    source: Path,
) -> tuple[tuple[int, int], list[str]]:
    """Return height and width of the input, and what is to be said of where they come from."""
    height, width = dims[1:] if layout == "nchw" else dims[:2]
    if isinstance(height, int) and isinstance(width, int):
        if wanted_hw not in (None, (height, width)):
            raise InputError(
                f"`--size` is {wanted_hw}, but the graph's input is fixed at {(height, width)}. "
                "Leave `--size` out."
            )
        return (height, width), []
    if wanted_hw is not None:
        return wanted_hw, []
    if hints.size_hw is not None:
        return hints.size_hw, [f"the size {hints.size_hw} is that of the file's metadata"]
    raise InputError(
        f"`{source}`: the graph leaves its input size open ({list(dims)}). Give it with `--size`."
    )


def _bind_size(model: ir.Model, name: str, size_hw: tuple[int, int]) -> None:
    """Turn the input of an image's width and height into a constant, the input's own."""
    value = next(value for value in model.graph.inputs if value.name == name)
    model.graph.inputs.remove(value)
    value.const_value = ir.tensor(np.array([size_hw[::-1]], np.int64), name=name)
    value.shape = ir.Shape([1, 2])
    model.graph.initializers.add(value)


def _add_batch_axis(
    model: ir.Model, name: str, size_hw: tuple[int, int], layout: Literal["nchw", "nhwc"]
) -> None:
    """Let an input of one image, without an axis of images, be read through one that has it."""
    old = next(value for value in model.graph.inputs if value.name == name)
    index = model.graph.inputs.index(old)
    shape = (3, *size_hw) if layout == "nchw" else (*size_hw, 3)
    old.name = f"{name}_image"
    batch = ir.Value(name=name, shape=ir.Shape([1, *shape]), type=old.type)
    target = ir.Value(name=f"{name}_image_shape", const_value=ir.tensor(np.array(shape, np.int64)))
    node = ir.node("Reshape", [batch, target])
    model.graph.initializers.add(target)
    model.graph.inputs[index] = batch
    first = next(iter(model.graph), None)
    if first is None:
        model.graph.append(node)
    else:
        model.graph.insert_before(first, node)
    old.replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
    node.outputs[0].name, node.outputs[0].type = old.name, old.type
    node.outputs[0].shape = ir.Shape(shape)


def _probed(
    model: onnx.ModelProto,
    source: Path,
    name: str,
    size_hw: tuple[int, int],
    layout: Literal["nchw", "nhwc"],
    dtype: str,
    batch_size: int,
) -> dict[str, tuple[NDArray[Any], ...]]:
    """Run the graph on black and on squares of noise in 0..1: values need no shape inference."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    height, width = size_hw
    picture = np.random.default_rng(0).random((3, _BLOCKS, _BLOCKS))
    noise = picture.repeat(-(-height // _BLOCKS), axis=1).repeat(-(-width // _BLOCKS), axis=2)
    noise = noise[:, :height, :width] * (255 if dtype == "uint8" else 1)
    if layout == "nhwc":
        noise = noise.transpose(1, 2, 0)
    batches = [np.stack([image] * batch_size).astype(dtype) for image in (noise * 0, noise)]
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        runs = [session.run(None, {name: batch}) for batch in batches]
    except Exception as error:  # onnxruntime's errors share no public base class
        raise InputError(
            f"`{source}` does not run at {size_hw} in onnxruntime: "
            f"{str(error).splitlines()[0]}. Check `--size`, or export it with fixed sizes."
        ) from error
    names = [output.name for output in session.get_outputs()]
    return {
        output: tuple(_first_image(value, batch_size) for value in values)
        for output, values in zip(names, zip(*runs, strict=True), strict=True)
    }


def _first_image(value: NDArray[Any], batch_size: int) -> NDArray[Any]:
    return value[:1] if batch_size > 1 and len(value) == batch_size else value
