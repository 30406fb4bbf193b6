"""The model description inside an ONNX file."""

import onnx

from edgecv.spec import METADATA_KEY, ModelSpec


def write_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Store `spec` in the file's metadata, in the place of an older one."""
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != METADATA_KEY}
    onnx.helper.set_model_props(model, others | {METADATA_KEY: spec.to_json()})


def read_spec(model: onnx.ModelProto, *, path: object) -> ModelSpec:
    """Return the description inside.

    Args:
        model: the file.
        path: of it, for messages.

    Raises:
        SpecError: if there is none, or it is refused by `ModelSpec.from_json`.

    """
    return ModelSpec.from_metadata(
        {entry.key: entry.value for entry in model.metadata_props}, path=path
    )
