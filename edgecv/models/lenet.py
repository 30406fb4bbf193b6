"""LeNet-5, the classifier of handwritten digits, for small colour images of any subject.

Source:
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
    Proceedings of the IEEE, 1998, section II-B. What differs is what the decades have dropped: C1
    sees three channels; S2 and S4 average without weights of their own; C3 is connected to all of
    S2; the output is a linear layer under cross-entropy in the place of distances to drawn digits.
    Inputs larger than 32x32 are seen by C5 at every place, as in section VII, and what it finds is
    averaged.
"""

import math

import torch
from torch import Tensor, nn

from edgecv.models.classifier import Classifier, ClassifierTrunk
from edgecv.models.registry import register_model

_AMPLITUDE, _SLOPE = 1.7159, 2 / 3  # appendix A
_INITIAL = 2.4  # the weights' range times their number, appendix A


class _ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x), which is 1 at 1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return _AMPLITUDE * torch.tanh(_SLOPE * x)


class _GlobalAverage(nn.Module):
    """The mean over all places; at 32x32 there is one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@register_model
def lenet(
    num_classes: int, size_hw: tuple[int, int], *, label_smoothing: float = 0.0
) -> Classifier:
    """Build LeNet-5 with random weights.

    Args:
        num_classes: C, at least 2.
        size_hw: height and width of the input in pixels, at least 32 each.
        label_smoothing: see `Classifier`.

    """
    trunk = nn.Sequential(
        nn.Conv2d(3, 6, 5),  # C1
        _ScaledTanh(),
        nn.AvgPool2d(2),  # S2
        nn.Conv2d(6, 16, 5),  # C3
        _ScaledTanh(),
        nn.AvgPool2d(2),  # S4
        nn.Conv2d(16, 120, 5),  # C5
        _ScaledTanh(),
        _GlobalAverage(),
        nn.Linear(120, 84),  # F6
        _ScaledTanh(),
    )
    for layer in trunk:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = _INITIAL / math.prod(layer.weight.shape[1:])
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
    return Classifier(
        ClassifierTrunk("lenet", trunk, size_hw), num_classes, label_smoothing=label_smoothing
    )
