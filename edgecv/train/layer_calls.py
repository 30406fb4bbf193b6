"""Which layers of a network compute what: one pass of it, watched from the images to the results.

A layer that several feature maps share is called several times in a pass, and what it reads has
other values each time. Nothing about a network is assumed but that its layers are modules of
PyTorch's kinds; it need not be one that a tracer can take apart.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from edgecv.models import Network
from edgecv.models.fused import fused
from edgecv.spec import PostprocessSpec

_KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_PRODUCTS = frozenset({"conv2d", "conv_transpose2d", "linear"})
_CUTS = frozenset(
    f"{name}{inplace}" for name in ("relu", "relu6", "hardtanh", "clamp") for inplace in ("", "_")
)


@dataclass(frozen=True)
class Call:
    """A module at work: its name in the network, and how often it was called before in the pass."""

    name: str
    index: int = 0


@dataclass(frozen=True)
class LayerCall:
    """A layer at work.

    Args:
        call: which layer, and for the how manieth time.
        layer: the module itself, one with a `weight`.
        num_before: layers on the longest way to it from the images.
        result: whose output an export computes in one go: the layer's own, or that of the batch
            norm which alone reads it.
        is_cut: a ReLU or a clip alone reads that output.

    """

    call: Call
    layer: nn.Module
    num_before: int
    result: Call
    is_cut: bool


def layer_calls(network: Network, size_hw: tuple[int, int]) -> list[LayerCall]:
    """Return the layers in the order in which one pass calls them, to the very results.

    Args:
        network: run once in evaluation mode, and left as it was.
        size_hw: of its input in pixels.

    """
    device = next(network.parameters()).device
    inputs = [torch.zeros((1, 3, *size_hw), device=device)]
    whole, limits = fused(network, PostprocessSpec()), PostprocessSpec()
    inputs += [torch.tensor(getattr(limits, name), device=device) for name in whole.scalar_names]
    regions = network.proposals_spec()
    if regions is not None:
        height, width = size_hw
        image = torch.tensor([0.0, 0.0, width, height], device=device)
        inputs.append(image.expand(1, regions.count, 4).contiguous())
    watch = _Watch(network)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), watch:
            whole(*inputs)
    finally:
        network.train(was_training)
    return watch.layer_calls()


@dataclass
class _Value:
    """A tensor on its way; holding it keeps its id from being given to another."""

    tensor: Tensor
    num_layers: int
    of_layer: int | None = None
    readers: list[str] = field(default_factory=list)


@dataclass
class _Seen:
    """A layer's call with its output, and the batch norm that read it, with its own."""

    call: Call
    num_before: int
    value: _Value
    norm: tuple[Call, _Value] | None = None

    def result(self) -> tuple[Call, _Value]:
        """Return what an export computes in one go; it folds a norm that reads alone."""
        if self.norm is not None and self.value.readers == ["batch_norm"]:
            return self.norm
        return self.call, self.value


class _Watch(TorchFunctionMode):
    """Follows tensors through every function of PyTorch that a network calls."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._modules = dict(network.named_modules())
        self._layers = {
            id(module.weight): name
            for name, module in self._modules.items()
            if isinstance(module, _KINDS)
        }
        self._norms = {
            id(module.running_mean): name
            for name, module in self._modules.items()
            if isinstance(module, _BatchNorm)
        }
        self._values: dict[int, _Value] = {}
        self._counts: Counter[str] = Counter()
        self._seen: list[_Seen] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401  # as torch calls it
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the function returns
        del types
        result = func(*args, **(kwargs or {}))
        made = list(_tensors(result))
        if made:  # and not a shape or a type
            self._follow(getattr(func, "__name__", ""), list(_tensors((args, kwargs))), made)
        return result

    def _follow(self, function: str, read: list[Tensor], made: list[Tensor]) -> None:
        values = [self._values[id(tensor)] for tensor in read if id(tensor) in self._values]
        for value in values:
            value.readers.append(function)
        deepest = max((value.num_layers for value in values), default=0)
        if function in _PRODUCTS:
            layer = _named(self._layers, read)
            if layer is not None:
                call, value = self._called(layer), _Value(made[0], deepest + 1, len(self._seen))
                self._seen.append(_Seen(call, deepest, value))
                self._values[id(made[0])] = value
                return
        norm = _named(self._norms, read) if function == "batch_norm" else None
        if norm is not None:
            call, value = self._called(norm), _Value(made[0], deepest)
            normed = values[0].of_layer if values else None
            if normed is not None:
                self._seen[normed].norm = call, value
            self._values[id(made[0])] = value
            return
        for tensor in made:
            self._values[id(tensor)] = _Value(tensor, deepest)

    def _called(self, name: str) -> Call:
        call = Call(name, self._counts[name])
        self._counts[name] += 1
        return call

    def layer_calls(self) -> list[LayerCall]:
        """Return what was seen."""
        found = []
        for seen in self._seen:
            result, value = seen.result()
            is_cut = len(value.readers) == 1 and value.readers[0] in _CUTS
            layer = self._modules[seen.call.name]
            found.append(LayerCall(seen.call, layer, seen.num_before, result, is_cut))
        return found


def _named(names: dict[int, str], tensors: list[Tensor]) -> str | None:
    """Return the name that one of the tensors has."""
    return next((names[id(tensor)] for tensor in tensors if id(tensor) in names), None)


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401  # arguments and results of any kind
    """Yield the tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
