"""A backbone whose last stage runs on each region: the "C4" design of two-stage detectors."""

from torch import Tensor, fx, nn

from edgecv.errors import InputError
from edgecv.models.backbone import Backbone
from edgecv.models.blocks import CrossStage, PooledContext

_STRIDES = (16, 32)


class SplitBackbone(Backbone):
    """The classifier's trunk up to stride 16, and what comes after it as a module of its own.

    `forward` gives the one map of stride 16; `last` turns [M, channels[0], h, w], a map or bins of
    regions, into [M, `last_channels`, ceil(h / 2), ceil(w / 2)].

    Attributes:
        last: the last stage, `layer4` of a ResNet.
        last_channels: channels of what it gives.

    Source:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, appendix A; there
        the stage is `conv5_x`.

    """

    def __init__(self, name: str) -> None:
        """Build with random weights.

        Args:
            name: see `Backbone`.

        Raises:
            InputError: if there is no such backbone, or its last stage learns nothing or reads
                more than the map of stride 16.

        """
        super().__init__(name, _STRIDES)
        self.trunk, self.last = _split(self.trunk, name)
        self.strides = _STRIDES[:1]
        self.channels, (self.last_channels,) = self.channels[:1], self.channels[1:]

    def parts(self) -> tuple[nn.Module, ...]:
        """Return the trunk and its last stage."""
        return self.trunk, self.last

    def last_stage(self, bins: Tensor) -> Tensor:
        """Map [..., channels[0], h, w] to [..., `last_channels`, ceil(h / 2), ceil(w / 2)]."""
        (found,) = self._maps(self.last, bins.flatten(0, -4))
        return found.view(*bins.shape[:-3], *found.shape[1:])


class _Tracer(fx.Tracer):
    """Takes whole whatever may act otherwise in training, or loops: norms, and our own blocks."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_block = isinstance(m, CrossStage | PooledContext)
        is_layer = not list(m.children()) or list(m.parameters(recurse=False))
        return bool(is_block or is_layer) or super().is_leaf_module(m, module_qualified_name)


def _split(trunk: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """Return the two parts of a trunk that gives two maps, which share nothing."""
    graph = _Tracer().trace(trunk)
    (output,) = (node for node in graph.nodes if node.op == "output")
    found = output.args[0]
    first, last = found.values() if isinstance(found, dict) else found
    before, behind = fx.Graph(), fx.Graph()
    seen: dict[fx.Node, fx.Node] = {}
    for node in _needed(first, graph):
        seen[node] = before.node_copy(node, lambda known: seen[known])
    before.output([seen[first]])
    later = {first: behind.placeholder("bins")}
    for node in _needed(last, graph, known=first):
        if node.op == "placeholder":
            raise InputError(
                f"the last stage of the backbone `{name}` reads more than the map of stride "
                f"{_STRIDES[0]} and cannot run on regions. Choose `features` fpn or single."
            )
        later[node] = behind.node_copy(node, lambda known: later[known])
    behind.output([later[last]])
    parts = fx.GraphModule(trunk, before), fx.GraphModule(trunk, behind)
    if not list(parts[1].parameters()):
        raise InputError(
            f"the backbone `{name}` has no layers with weights behind its map of stride "
            f"{_STRIDES[0]} that could run on regions. Choose `features` fpn or single."
        )
    return parts


def _needed(wanted: fx.Node, graph: fx.Graph, *, known: fx.Node | None = None) -> list[fx.Node]:
    """Return what `wanted` is computed from, itself included, in order; `known` is given."""
    needed: set[fx.Node] = set()
    waiting = [wanted]
    while waiting:
        node = waiting.pop()
        if node is not known and node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return [node for node in graph.nodes if node in needed]
