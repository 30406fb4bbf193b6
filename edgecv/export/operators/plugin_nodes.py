"""What must hold of a node of edgecv's for TensorRT to find its plugin and to run it."""

from collections.abc import Iterator

import onnx
from onnx import helper

from edgecv.export.operators.schemas import ATTRIBUTES, PLUGIN_ATTRIBUTES

OUTPUTS = {"EdgeNMS": 4, "EdgeRoiAlign": 1, "EdgeRoiPool": 1}
"""How many outputs each plugin has."""


def plugin_problems(node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a node of the domain `edgecv`, and what to do, which may be empty.

    The parser hands attributes to the plugin by name and has no defaults; it looks the plugin up by
    `plugin_version` and `plugin_namespace`; and it drops outputs that have no name.
    """
    if node.op_type not in ATTRIBUTES:
        yield "is no operator of edgecv", ""
        return
    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    missing = [name for name in ATTRIBUTES[node.op_type] if name not in values]
    if missing:
        yield f"lacks the attributes {', '.join(missing)}", "Export the model again"
    for name, value in PLUGIN_ATTRIBUTES.items():
        if name in values and values[name] != value.encode():
            yield f"has `{name}` {values[name]!r}, which must be {value!r}", ""
    if node.overload:
        yield "names an overload, which plugins do not have", ""
    count = OUTPUTS[node.op_type]
    if len(node.output) != count or not all(node.output):
        yield f"must name all of its {count} outputs", ""
