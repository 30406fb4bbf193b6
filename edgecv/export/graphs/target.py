"""The file for TensorRT: operators of edgecv as plugins, what its parser misreads rewritten.

An exported file has two lives. With the definitions of its `edgecv` operators any runtime executes
it; TensorRT finds plugins of the same names and needs each node whole and no definition. Rules
about the parser are those of TensorRT 10.3 to 11.4.
"""

from collections.abc import Iterator

import onnx
import onnxruntime
from onnx import helper

from edgecv.errors import InputError
from edgecv.export.graphs.model_file import opset_of
from edgecv.export.graphs.shapes import infer_shapes
from edgecv.export.inspection.support import refusals, tensorrt_support
from edgecv.export.operators.edge_nms import DOMAIN, VERSION
from edgecv.export.operators.plugin_nodes import OUTPUTS, plugin_problems
from edgecv.export.operators.schemas import PLUGIN_ATTRIBUTES, register_schemas

# Opset 20 renamed the modes of GridSample, and the parser takes the new names for `nearest`.
_LAST_OLD_GRID_SAMPLE = 19
_OLD_MODES = {b"linear": "bilinear", b"cubic": "bicubic"}
# The parser's default of `sampling_ratio` is 1, the standard's is 0: every attribute is written.
_ROI_ALIGN_DEFAULTS = {
    "coordinate_transformation_mode": "half_pixel",
    "mode": "avg",
    "output_height": 1,
    "output_width": 1,
    "sampling_ratio": 0,
    "spatial_scale": 1.0,
}
_ROI_ALIGN_WITH_MODES = 16  # before it, there was no `coordinate_transformation_mode`


def for_tensorrt(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph for TensorRT's parser.

    - Definitions of `edgecv` operators are dropped, and with them the overloads that tell several
      apart. The nodes keep their domain, carry the attributes that a plugin is found by, and have a
      name for every output, used or not.
    - Inputs with a default, such as the thresholds, become inputs without: the parser takes a
      default for a constant, and nothing could be set at run time. The defaults remain in the
      file's description.
    - `GridSample` of opset 20 is written as opset 19 has it, and `RoiAlign` with every attribute.

    Args:
        model: with or without definitions; it is not changed. Done twice, nothing changes.

    Raises:
        InputError: if the file has something that TensorRT's parser does not support, see
            `check_for_tensorrt`.

    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    others = [function for function in result.functions if function.domain != DOMAIN]
    del result.functions[:]
    result.functions.extend(others)
    for node in _plugins(result):
        node.overload = ""
        _complete(node)
    _drop_defaults(result)
    _write_roi_align(result)
    _lower_grid_sample(result)
    check_for_tensorrt(result)
    return infer_shapes(result)


def check_for_tensorrt(model: onnx.ModelProto) -> None:
    """Refuse a file that TensorRT's parser would refuse or misread, whatever its version.

    Raises:
        InputError: naming every node at fault and what to do.

    """
    register_schemas()
    problems = [*_file_problems(model)]
    for node in _plugins(model):
        problems += _plugin_problems(node)
    # Newer parsers take what older ones do: the newest refuses what all of them refuse.
    problems = problems or refusals(tensorrt_support(model)[-1])
    if problems:
        raise InputError(f"the file is not one for TensorRT: {'; '.join(problems)}.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the file is not one for TensorRT: {reason}.") from error


def check_with_definitions(model: onnx.ModelProto) -> None:
    """Refuse a file that onnx's checker or onnxruntime refuses: the other life of the same graph.

    Raises:
        InputError: with the reason.

    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: of inputs with a default it warns
    try:
        onnx.checker.check_model(model, full_check=True)
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's and the checker's share no public base class
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"onnxruntime cannot run the file: {reason}.") from error


def _plugins(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (node for node in model.graph.node if node.domain == DOMAIN)


def _complete(node: onnx.NodeProto) -> None:
    """Write the attributes that a plugin is found by, and a name for every output."""
    present = {attribute.name for attribute in node.attribute}
    node.attribute.extend(
        helper.make_attribute(name, value)
        for name, value in PLUGIN_ATTRIBUTES.items()
        if name not in present
    )
    stem = node.name or next(name for name in node.output if name)
    for index in range(OUTPUTS.get(node.op_type, len(node.output))):
        if index == len(node.output):
            node.output.append("")
        node.output[index] = node.output[index] or f"{stem}_output_{index}"


def _drop_defaults(model: onnx.ModelProto) -> None:
    inputs = {value.name for value in model.graph.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)


def _write_roi_align(model: onnx.ModelProto) -> None:
    has_modes = opset_of(model) >= _ROI_ALIGN_WITH_MODES
    for node in model.graph.node:
        if node.domain or node.op_type != "RoiAlign":
            continue
        present = {attribute.name for attribute in node.attribute}
        for name, value in _ROI_ALIGN_DEFAULTS.items():
            if name not in present and (has_modes or name != "coordinate_transformation_mode"):
                node.attribute.append(helper.make_attribute(name, value))


def _lower_grid_sample(model: onnx.ModelProto) -> None:
    """Write the file in opset 19 if nothing but the names of GridSample's modes is newer."""
    samplers = [node for node in model.graph.node if _is_new_grid_sample(node, opset_of(model))]
    newer = [node for node in model.graph.node if _changed_since(node, opset_of(model))]
    if not samplers or any(node.op_type != "GridSample" for node in newer):
        return  # the check names what stands in the way
    for node in newer:
        for attribute in node.attribute:
            if attribute.name == "mode" and attribute.s in _OLD_MODES:
                attribute.s = _OLD_MODES[attribute.s].encode()
        if not any(attribute.name == "mode" for attribute in node.attribute):
            node.attribute.append(helper.make_attribute("mode", "bilinear"))
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = _LAST_OLD_GRID_SAMPLE


def _changed_since(node: onnx.NodeProto, opset: int) -> bool:
    """Return whether an operator is not what it was in opset 19."""
    if node.domain:
        return False
    if not onnx.defs.has(node.op_type, _LAST_OLD_GRID_SAMPLE, ""):
        return True
    versions = (
        onnx.defs.get_schema(node.op_type, version, "").since_version
        for version in (opset, _LAST_OLD_GRID_SAMPLE)
    )
    return len(set(versions)) > 1


def _is_new_grid_sample(node: onnx.NodeProto, opset: int) -> bool:
    """Return whether a node is a GridSample that the parser takes for another mode."""
    if node.domain or node.op_type != "GridSample" or opset <= _LAST_OLD_GRID_SAMPLE:
        return False
    mode = next(
        (attribute.s for attribute in node.attribute if attribute.name == "mode"), b"linear"
    )
    return mode in _OLD_MODES


def _file_problems(model: onnx.ModelProto) -> Iterator[str]:
    defined = sorted({f.name for f in model.functions if f.domain == DOMAIN})
    if defined:
        yield f"it defines {', '.join(defined)}, which are plugins. Convert it with `for_tensorrt`"
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if any(_plugins(model)) and versions.get(DOMAIN) != VERSION:
        yield f"it must import version {VERSION} of the domain `{DOMAIN}`"
    inputs = {value.name for value in model.graph.input}
    defaults = [tensor.name for tensor in model.graph.initializer if tensor.name in inputs]
    if defaults:
        yield f"the inputs {', '.join(defaults)} have defaults, which the parser makes constants"


def _plugin_problems(node: onnx.NodeProto) -> Iterator[str]:
    for reason, remedy in plugin_problems(node):
        yield f"node `{node.name}` ({node.op_type}) {reason}{f'. {remedy}' if remedy else ''}"
