"""ONNX files made by hand, for tests that look at graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Node = onnx.NodeProto


def tensor(
    name: str, shape: Sequence[int | str | None] | None, dtype: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    """Return a typed input or output."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(  # a graph has so many parts
    nodes: Sequence[Node],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    opset: int = 20,
    ir_version: int = 10,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Return a file of these nodes."""
    stored = [
        numpy_helper.from_array(np.asarray(values), name)
        for name, values in (constants or {}).items()
    ]
    graph = helper.make_graph(list(nodes), "by hand", list(inputs), list(outputs), stored)
    domains = {node.domain for node in nodes} - {""}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=ir_version, functions=list(functions)
    )


def of(
    op_type: str,
    shapes: Sequence[Sequence[int]],
    result: Sequence[int | None],
    *,
    constants: Mapping[int, NDArray[Any]] | None = None,
    opset: int = 20,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a file of one node whose inputs are float32 of `shapes`, or constants by index."""
    stored = {f"in{index}": values for index, values in (constants or {}).items()}
    count = len(shapes) + len(stored)
    names = [f"in{index}" for index in range(count)]
    free = iter(shapes)
    inputs = [tensor(name, next(free)) for name in names if name not in stored]
    node = helper.make_node(op_type, names, ["out"], "it", **attributes)
    return model([node], inputs, [tensor("out", list(result))], stored, opset=opset)
