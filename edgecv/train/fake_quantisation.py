"""Fake quantisation: a network rounds as its 8-bit export will, and learns to live with it.

Forward, the inputs and weights of layers are rounded to what 8 bits can hold; backward, the
rounding lets gradients straight through, but for values beyond the range.

Source:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, section 3.

Batch norms are not folded here, unlike there: a weight has a scale for each output channel, so
rounding it before or after a factor on that channel is the same. Their statistics stand still, as
they do in the export. The weights come to count on the rounding: without it, in float32, the
network may do worse than before.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgecv.errors import InputError, MissingDependencyError
from edgecv.models import Network
from edgecv.train.config import QuantisedPrecision
from edgecv.train.layer_calls import Call, LayerCall, layer_calls

_LARGEST_CODE = 127  # -128 is left unused: the grid is symmetric
_TINY = torch.finfo(torch.float32).tiny
_AVERAGING = 0.01  # a batch's share in a range's ends, as torchao has it

# What `edgecv.export.precisions.layers` keeps in float32, which see for the reasons.
_NARROW = 16  # channels
_STEM_DEPTH = 3
_STEM_PRODUCTS = 128  # for one output


class FakeQuantisation(nn.Module):
    """The ranges of a network's tensors, and the rounding to them.

    Its state is that of the ranges. The network's own modules, weights and their names stay what
    they are: the rounding hangs on hooks, and a checkpoint of the network is like any other.

    For `int8-cpu`, activations have an unsigned grid with a zero point, and results of layers are
    rounded too, unless an activation that cuts off follows, whose result the next layer rounds.
    For `int8-tensorrt` they have a grid that is symmetric about zero. Not imitated is the rounding
    of what only lies between layers, such as the sigmoid within SiLU.

    Attributes:
        layers: what is rounded.
        num_float: how many calls of layers stay in float32.

    """

    def __init__(
        self, network: Network, precision: QuantisedPrecision, size_hw: tuple[int, int]
    ) -> None:
        """Find the layers of a network; nothing is rounded before `attach`.

        Args:
            network: run once, and left as it was.
            precision: of the export that is imitated.
            size_hw: of the network's input in pixels.

        Raises:
            InputError: if no layer suits 8 bits.
            MissingDependencyError: if torchao is not installed.

        """
        super().__init__()
        calls = layer_calls(network, size_hw)
        self.layers = tuple(call for call in calls if is_quantised(call, precision))
        self.num_float = len(calls) - len(self.layers)
        if not self.layers:
            raise InputError(
                f"`--fake-quantise {precision}`: an export keeps every layer of this network in "
                "float32. Export it as it is."
            )
        self._first = calls[0].call.name
        new_range = _range_factory(precision)
        self._inputs: dict[Call, Any] = {layer.call: new_range() for layer in self.layers}
        self._results: dict[Call, Any] = {
            layer.result: new_range()
            for layer in self.layers
            if precision == "int8-cpu" and not layer.is_cut
        }
        self.ranges = nn.ModuleDict()
        for kind, ranges in (("input", self._inputs), ("result", self._results)):
            for call, range_ in ranges.items():
                self.ranges[f"{call.name.replace('.', '/')}/{call.index}/{kind}"] = range_
        self.to(next(network.parameters()).device)

    def __str__(self) -> str:
        """Say what is rounded, in one line."""
        kept = f", {self.num_float} stay in float32" if self.num_float else ""
        return f"{len(self.layers)} layers are rounded in training and validation{kept}"

    def attach(self, network: Network) -> None:
        """Let a network round from now on: the one that the layers were found in, or its copy."""
        modules = dict(network.named_modules())
        counts: Counter[str] = Counter()
        # Every pass begins with the first layer, whoever calls which part of the network.
        modules[self._first].register_forward_pre_hook(lambda *_: counts.clear())
        rounded = {layer.call.name for layer in self.layers}
        for name in dict.fromkeys([*rounded, *(call.name for call in self._results)]):
            rounding = _Rounding(name, counts, self._inputs, self._results)
            modules[name].register_forward_pre_hook(rounding.before)
            modules[name].register_forward_hook(rounding.after, always_call=True)

    def observe(self, *, is_on: bool) -> None:
        """Let the ranges follow what passes through, or hold them; round in either case.

        What was never seen has no range, and is not rounded while ranges are held.
        """
        for range_ in (*self._inputs.values(), *self._results.values()):
            range_.enable_observer(is_on)
            seen = bool(torch.isfinite(range_.activation_post_process.min_val).all())
            range_.enable_fake_quant(is_on or seen)


def is_quantised(call: LayerCall, precision: QuantisedPrecision) -> bool:
    """Tell whether an export has a layer in 8 bits.

    The rule is that of `edgecv.export.precisions.layers.kept_float`.
    """
    layer, weight = call.layer, _weight(call.layer)
    group = int(getattr(layer, "groups", 1))
    is_transposed = isinstance(layer, nn.ConvTranspose2d)
    if is_transposed and (precision == "int8-cpu" or group > 1):
        return False
    axis = _channel_axis(layer)
    channels = [weight.shape[0], weight.shape[1]]
    channels[1] *= group  # what is summed over, of a convolution; outputs of a transposed one
    if precision == "int8-tensorrt" and min(channels) < _NARROW:
        return False
    products = weight.numel() // weight.shape[axis]
    is_stem = call.num_before < _STEM_DEPTH and products < _STEM_PRODUCTS
    return not (is_stem and isinstance(layer, nn.Conv2d))


def rounded_weight(layer: nn.Module) -> Tensor:
    """Return a layer's weight as 8 bits hold it: a scale for each output channel, none for zero.

    A gradient passes to the weight as if it had not been rounded.
    """
    weight, axis = _weight(layer), _channel_axis(layer)
    others = [place for place in range(weight.ndim) if place != axis]
    scale = (weight.detach().abs().amax(others) / _LARGEST_CODE).clamp(min=_TINY)
    zero_points = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weight, scale, zero_points, axis, -_LARGEST_CODE, _LARGEST_CODE
    )


def hold_norms(network: nn.Module) -> None:
    """Keep the statistics of batch norms; the next `train` of the network lets them go again."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


class _Rounding:
    """What happens before and after a module of one network is called."""

    def __init__(
        self,
        name: str,
        counts: Counter[str],
        inputs: dict[Call, Any],
        results: dict[Call, Any],
    ) -> None:
        self._name = name
        self._counts = counts
        self._inputs = inputs
        self._results = results

    def before(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> Any:  # noqa: ANN401  # torch's
        range_ = self._inputs.get(Call(self._name, self._counts[self._name]))
        self._counts[self._name] += 1
        if range_ is None or arguments[0].numel() == 0:  # a detector may find no region at all
            return None
        # An attribute goes before the parameter of the same name, which stays where it is.
        module.__dict__["weight"] = rounded_weight(module)
        return (range_(arguments[0]), *arguments[1:])

    def after(self, module: nn.Module, _: Any, output: Any) -> Any:  # noqa: ANN401  # torch's
        module.__dict__.pop("weight", None)
        range_ = self._results.get(Call(self._name, self._counts[self._name] - 1))
        if range_ is None or output is None or output.numel() == 0:
            return None
        return range_(output)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"a layer must have a tensor as its weight, got {type(weight).__name__}.")
    return weight


def _channel_axis(layer: nn.Module) -> int:
    """Return the axis of a weight that counts a layer's outputs."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def _range_factory(precision: QuantisedPrecision) -> Callable[[], Any]:
    """Return what makes torchao's fake quantiser of one tensor with one scale.

    Not its fused one, which has a zero point where a symmetric range was never negative.
    """
    try:
        with _quiet("torch.utils._pytree"):
            from torchao.quantization.pt2e import (  # noqa: PLC0415  # takes seconds
                FakeQuantize,
                MovingAverageMinMaxObserver,
            )
    except ImportError as error:
        raise MissingDependencyError(
            "`--fake-quantise` needs torchao. Install it with `pip install 'edgecv[qat]'`."
        ) from error
    make = partial(
        FakeQuantize, MovingAverageMinMaxObserver, averaging_constant=_AVERAGING, eps=_TINY
    )
    if precision == "int8-cpu":
        return partial(
            make, quant_min=0, quant_max=255, dtype=torch.quint8, qscheme=torch.per_tensor_affine
        )
    return partial(
        make,
        quant_min=-_LARGEST_CODE,
        quant_max=_LARGEST_CODE,
        dtype=torch.qint8,
        qscheme=torch.per_tensor_symmetric,
    )


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Silence a logger that tells users of torchao's use of PyTorch's internals."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(level)
