"""The configuration with which a Triton Inference Server serves a model to `edgecv.load`."""

from collections.abc import Iterable
from pathlib import Path

import onnx

from edgecv.errors import InputError
from edgecv.export.graphs.model_file import read_onnx
from edgecv.spec import METADATA_KEY, ModelSpec

# Of onnx.proto, and what Triton's model_config.proto calls them.
_TYPES = {
    "BOOL": "TYPE_BOOL", "DOUBLE": "TYPE_FP64", "FLOAT": "TYPE_FP32", "FLOAT16": "TYPE_FP16",
    "INT32": "TYPE_INT32", "INT64": "TYPE_INT64", "INT8": "TYPE_INT8", "UINT8": "TYPE_UINT8",
}  # fmt: skip
_DEFAULT_BATCH = 8
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def triton_config(
    path: Path, *, backend: str = "onnxruntime", max_batch_size: int | None = None
) -> str:
    """Return the text of `config.pbtxt` for an ONNX file, with its description inside.

    The file itself goes beside it as `1/model.onnx`; the folder that holds both is the model's
    name. Inputs that have a default, such as thresholds, are left to it: Triton does not pass
    them on.

    Args:
        path: an ONNX file with an edgecv description.
        backend: of the server.
        max_batch_size: how many requests the server may join; 0 for none. None for 8 where the
            graph's batch is free, else 0.

    Raises:
        InputError: if the file cannot be read, its batch is fixed and requests shall be joined, or
            a tensor has a type or rank that Triton does not know.
        SpecError: if it carries no usable description.

    """
    model = read_onnx(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    spec = ModelSpec.from_metadata(metadata, path=path)
    defaults = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in defaults]
    batch_sizes = {_sides(path, value)[0] for value in (*inputs, *model.graph.output)}
    is_free = batch_sizes == {-1}
    joined = (_DEFAULT_BATCH if is_free else 0) if max_batch_size is None else max_batch_size
    if joined < 0 or (joined and not is_free):
        raise InputError(
            f"`{path}`: `max_batch_size` must be {'0 or more' if is_free else '0'}, got {joined}"
            f"{'' if is_free else ', for its batch is fixed'}. Leave it out."
        )
    lines = [f'backend: "{backend}"', f"max_batch_size: {joined}"]
    for kind, values in (("input", inputs), ("output", model.graph.output)):
        lines += _tensors(path, kind, values, skip=1 if joined else 0)
    text = spec.to_json().translate(_ESCAPES)
    lines += [
        "parameters {",
        f'  key: "{METADATA_KEY}"',
        f'  value {{ string_value: "{text}" }}',
        "}",
    ]
    return "\n".join(lines) + "\n"


def _tensors(
    path: Path, kind: str, values: Iterable[onnx.ValueInfoProto], *, skip: int
) -> list[str]:
    lines = []
    for value in values:
        element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if element not in _TYPES:
            raise InputError(f"`{path}`: Triton knows no {element}, the type of `{value.name}`.")
        sides = _sides(path, value)[skip:]
        # Triton wants a side beside the batch: what has none goes as a column.
        shape = f"[ {', '.join(map(str, sides))} ]" if sides else "[ 1 ] reshape { shape: [ ] }"
        lines += [
            f"{kind} {{",
            f'  name: "{value.name.translate(_ESCAPES)}"',
            f"  data_type: {_TYPES[element]}",
            f"  dims: {shape}",
            "}",
        ]
    return lines


def _sides(path: Path, value: onnx.ValueInfoProto) -> list[int]:
    """Return the sides of a tensor, -1 where they are free."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not tensor.shape.dim:
        raise InputError(
            f"`{path}`: the shape of `{value.name}` is open or that of a scalar, which Triton does "
            "not take. Export it with shapes."
        )
    return [side.dim_value if side.HasField("dim_value") else -1 for side in tensor.shape.dim]
