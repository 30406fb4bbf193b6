"""A node as the rules about TensorRT's parser look at it, and what they say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Verdict = Literal["supported", "limited", "plugin", "unsupported"]
Version = tuple[int, int]


@dataclass(frozen=True)
class Remark:
    """What is to be said of one node: why it is not simply supported, and what to do."""

    verdict: Verdict
    reason: str
    remedy: str = ""


class Operand:
    """A node as the rules look at it."""

    def __init__(self, node: ir.Node, version: Version, opset: int) -> None:
        """Look at `node` as the parser of `version` does, in a file of `opset`."""
        self.node = node
        self.version = version
        self.opset = opset

    def attribute(self, name: str, default: Any) -> Any:  # noqa: ANN401  # what ONNX allows
        """Return an attribute's value."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def has(self, index: int) -> bool:
        """Tell whether an input is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def writes(self, index: int) -> bool:
        """Tell whether an output is read by anyone."""
        if index >= len(self.node.outputs):
            return False
        value = self.node.outputs[index]
        return bool(value.name) and (bool(value.uses()) or value.is_graph_output())

    def constant(self, index: int) -> NDArray[Any] | None:
        """Return an input's values, None where they are computed or not given."""
        value = self.node.inputs[index] if self.has(index) else None
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        if tensor is None:
            return None
        try:
            return np.asarray(tensor.numpy())
        except (ValueError, TypeError):  # a large tensor whose values were left out
            return None

    def is_constant(self, index: int) -> bool:
        """Tell whether an input is stored in the file."""
        value = self.node.inputs[index] if self.has(index) else None
        return value is not None and ir.convenience.get_const_tensor(value) is not None

    def dtype(self, index: int) -> str:
        """Return the name of an input's type, empty where it is unknown."""
        value = self.node.inputs[index] if self.has(index) else None
        return "" if value is None or value.dtype is None else value.dtype.name

    def rank(self, index: int) -> int | None:
        """Return the number of sides of an input, None where it is unknown."""
        shape = self.shape(index)
        return None if shape is None else len(shape)

    def shape(self, index: int) -> tuple[int | None, ...] | None:
        """Return the sides of an input, None where they are unknown."""
        value = self.node.inputs[index] if self.has(index) else None
        if value is None or value.shape is None:
            return None
        return tuple(side if isinstance(side, int) else None for side in value.shape)


Rule = Callable[[Operand], list[Remark | None]]


def no(condition: object, reason: str, remedy: str = "") -> Remark | None:
    """Return that it is unsupported if `condition` holds."""
    return Remark("unsupported", reason, remedy) if condition else None


def but(condition: object, reason: str, remedy: str = "") -> Remark | None:
    """Return that it is limited if `condition` holds."""
    return Remark("limited", reason, remedy) if condition else None
