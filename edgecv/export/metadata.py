"""The model description inside an ONNX file."""

import onnx

from edgecv.spec import METADATA_KEY, ModelSpec


def write_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Store `spec` in the file's metadata, in the place of an older one."""
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != METADATA_KEY}
    onnx.helper.set_model_props(model, others | {METADATA_KEY: spec.to_json()})
