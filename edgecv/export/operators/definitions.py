"""The operators of the domain `edgecv` in an exported graph and their definitions in the file.

The definitions are for a runtime that does not know the operators. Nothing here needs PyTorch.
"""

import onnx
from onnx import helper

from edgecv.export.operators.edge_nms import DOMAIN, VERSION, EdgeNMS
from edgecv.export.operators.edge_roi import EdgeRoiAlign, EdgeRoiPool


def define_operators(model: onnx.ModelProto) -> None:
    """Append the definition of every `edgecv` node to the file, in place.

    A definition is written for a node's attributes. Where nodes of one operator differ in theirs,
    each variant has an overload of its own, "1", "2" and so on, that its nodes name.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    variants: dict[str, list[EdgeNMS | EdgeRoiAlign | EdgeRoiPool]] = {}
    nodes = [node for node in model.graph.node if node.domain == DOMAIN]
    for node in nodes:
        known = variants.setdefault(node.op_type, [])
        operator = operator_of(node)
        if operator not in known:
            known.append(operator)
    for node in nodes:
        known = variants[node.op_type]
        if len(known) > 1:
            node.overload = str(1 + known.index(operator_of(node)))
    for known in variants.values():
        for index, operator in enumerate(known):
            function = operator.function(opset=opset)
            function.overload = str(1 + index) if len(known) > 1 else ""
            model.functions.append(function)
    domains = {entry.domain for entry in model.opset_import}
    if nodes and DOMAIN not in domains:
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))


def redefine_operators(model: onnx.ModelProto) -> None:
    """Replace the definitions of `edgecv` operators that the file has by today's, in place.

    Those of files that an older edgecv exported take features of float32 alone.
    """
    defined = [function for function in model.functions if function.domain == DOMAIN]
    if not defined:
        return
    others = [function for function in model.functions if function.domain != DOMAIN]
    del model.functions[:]
    model.functions.extend(others)
    for node in model.graph.node:
        if node.domain == DOMAIN:
            node.overload = ""
    define_operators(model)


def operator_of(node: onnx.NodeProto) -> EdgeNMS | EdgeRoiAlign | EdgeRoiPool:
    """Return the operator of a node of the domain `edgecv`, with its attributes."""
    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "EdgeNMS":
        return EdgeNMS(
            values["max_detections"], bool(values["class_agnostic"]), values["background_class"]
        )
    size_hw = values["output_height"], values["output_width"]
    if node.op_type == "EdgeRoiAlign":
        return EdgeRoiAlign(
            size_hw,
            tuple(values["spatial_scales"]),
            values["sampling_ratio"],
            bool(values["aligned"]),
            values["canonical_level"],
            values["canonical_size"],
        )
    if node.op_type == "EdgeRoiPool":
        return EdgeRoiPool(size_hw, values["spatial_scale"])
    raise ValueError(f"operator_of: the domain `{DOMAIN}` has no operator {node.op_type}.")
