"""Shapes in a graph: inferred through operators of edgecv, refused where nobody can know them."""

import onnx
import onnx_ir as ir

from edgecv.errors import InputError
from edgecv.export.operators.edge_nms import DOMAIN
from edgecv.export.operators.schemas import register_schemas

# Their outputs have as many rows as the data happens to give.
_COUNTED_FROM_DATA = frozenset(
    {"Compress", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"}
)
# Of these operators, the inputs that set the shape of the output by their values.
_SHAPE_INPUTS = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
_OF_IMAGES = frozenset(
    {"AveragePool", "Conv", "ConvTranspose", "DepthToSpace", "MaxPool", "Resize", "SpaceToDepth"}
)
_SPATIAL = slice(2, None)  # of [B, C, H, W]


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with the type and shape of every value, as far as they can be known.

    Nodes of the domain `edgecv` are passed through by their attributes, whether or not the file
    defines them.

    Raises:
        InputError: if the types or shapes of the graph contradict each other.

    """
    register_schemas()
    try:
        return onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the graph's types or shapes contradict each other: {reason}. "
            "Export it again from its project."
        ) from error


def refuse_unknowable_shapes(model: onnx.ModelProto) -> None:
    """Refuse a graph whose feature maps have a rank, height or width that depends on the data.

    A free batch, height or width of the graph's input is none of these; neither is a number of
    regions found by the graph, as long as each has a fixed height and width.

    Args:
        model: with shapes, see `infer_shapes`.

    Raises:
        InputError: naming the first node whose input cannot be known before the graph runs.

    """
    graph = ir.from_proto(model).graph
    of_data: set[ir.Value] = set(graph.inputs)  # values that the data decides
    shaped_by_data: set[ir.Value] = set()  # values whose shape the data decides
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        _refuse_node(node, shaped_by_data)
        if node.op_type not in ("Shape", "Size"):
            if any(value in of_data for value in inputs):
                of_data.update(node.outputs)
        elif any(value in shaped_by_data for value in inputs):
            of_data.update(node.outputs)
        if _shape_depends_on_data(node, of_data, shaped_by_data):
            shaped_by_data.update(value for value in node.outputs if not _is_fixed(value))


def _refuse_node(node: ir.Node, shaped_by_data: set[ir.Value]) -> None:
    if node.op_type not in _OF_IMAGES or node.domain or node.inputs[0] is None:
        return
    maps = node.inputs[0]
    place = f"the graph cannot be worked on: node `{node.name or node.op_type}` ({node.op_type})"
    remedy = "Export it again with a fixed input size."
    if maps not in shaped_by_data:
        return
    if maps.shape is None:
        raise InputError(f"{place} has an input whose rank depends on the data. {remedy}")
    if not all(isinstance(side, int) for side in maps.shape.dims[_SPATIAL]):
        raise InputError(
            f"{place} has an input whose height or width depends on the data. {remedy}"
        )


def _shape_depends_on_data(
    node: ir.Node, of_data: set[ir.Value], shaped_by_data: set[ir.Value]
) -> bool:
    if node.domain == DOMAIN or node.op_type in ("Shape", "Size"):
        return False
    if node.op_type in _COUNTED_FROM_DATA:
        return any(value in of_data for value in node.inputs)
    if any(
        index < len(node.inputs) and node.inputs[index] in of_data
        for index in _SHAPE_INPUTS.get(node.op_type, ())
    ):
        return True
    return any(value in shaped_by_data for value in node.inputs)


def _is_fixed(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(side, int) for side in value.shape.dims)
