"""Reading and writing ONNX files, with errors that say what to do."""

from pathlib import Path

import onnx
from onnx import external_data_helper

from edgecv.errors import InputError
from edgecv.files import replacing

OLDEST_OPSET = 11  # what detectors of 2020 were exported with; before it, Resize and Clip differed


def read_onnx(path: Path) -> onnx.ModelProto:
    """Return the model in `path`, whole, with the weights of its external files.

    Raises:
        InputError: if the file is missing or damaged, a file with its weights is missing, or its
            operators are older than opset 11.

    """
    if not path.is_file():
        raise InputError(f"`{path}`: there is no such file. Check the path.")
    try:
        model = onnx.load(path, load_external_data=False)
        _load_weights(model, path)
        onnx.checker.check_model(model)
    except InputError:
        raise
    except Exception as error:  # protobuf's and the checker's errors share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is damaged"
        raise InputError(
            f"`{path}` is not a valid ONNX file: {reason}. Export it again from its project."
        ) from error
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise InputError(
            f"`{path}`: its operators are those of opset {opset}, and edgecv reads from "
            f"{OLDEST_OPSET} on. Export it again with a newer opset, such as 17."
        )
    return model


def write_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Check `model` and write it to `path`, whole or not at all.

    Raises:
        OutputError: if the file cannot be written.

    """
    with replacing(path) as partial:
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, partial)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators, 0 where the model uses none."""
    versions: dict[str, int] = {entry.domain: entry.version for entry in model.opset_import}
    return versions.get("", versions.get("ai.onnx", 0))


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    """Load the tensors that lie in other files, which are named relative to the model's."""
    for tensor in model.graph.initializer:
        if not external_data_helper.uses_external_data(tensor):
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if not (path.parent / location).is_file():
            raise InputError(
                f"`{path}` keeps its weights in `{location}`, which is not beside it. "
                "Copy both files into one folder."
            )
    external_data_helper.load_external_data_for_model(model, str(path.parent))
