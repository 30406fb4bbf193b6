"""What a graph in a lower precision is, whichever that is."""

from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class KeptFloat:
    """A node that computes in float32.

    Args:
        name: the node's.
        operator: its type, such as `Conv`.
        reason: why, a sentence's second half.

    """

    name: str
    operator: str
    reason: str


@dataclass(frozen=True)
class Converted:
    """A graph in a lower precision.

    Args:
        model: the graph.
        layers: the names of the nodes with weights that compute in the lower precision.
        kept: the nodes that compute in float32 though they could be thought to, and why.

    """

    model: onnx.ModelProto
    layers: tuple[str, ...]
    kept: tuple[KeptFloat, ...]
