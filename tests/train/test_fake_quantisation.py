"""Fake quantisation: the grids of the export, gradients straight through, and nothing left behind.

The grids are compared with their definition in NumPy and with those that the export writes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

torch = pytest.importorskip("torch")
pytest.importorskip("torchao")

from torch import Tensor, nn  # noqa: E402

from edgecv.data.batches import Batch  # noqa: E402
from edgecv.errors import InputError, MissingDependencyError  # noqa: E402
from edgecv.models.classifier import Classifier, ClassifierTrunk  # noqa: E402
from edgecv.train import fake_quantisation  # noqa: E402
from edgecv.train.config import TrainConfig  # noqa: E402
from edgecv.train.distributed import Ranks  # noqa: E402
from edgecv.train.fake_quantisation import FakeQuantisation, rounded_weight  # noqa: E402
from edgecv.train.optimisation import Optimisation  # noqa: E402

SIZE_HW = (16, 16)
PRECISIONS = ["int8-cpu", "int8-tensorrt"]
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(3, 4, 2),
    "transposed": lambda: nn.ConvTranspose2d(3, 4, 2),
    "linear": lambda: nn.Linear(5, 4),
}


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def small(*, num_classes: int = 2) -> Classifier:
    """Two convolutions with 16 channels or more, the second after a norm and a ReLU."""
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 16, 7),  # 147 products: no stem
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        Mean(),
    )
    trunk[1].running_mean.uniform_(-1, 1)
    trunk[1].running_var.uniform_(0.5, 2)
    nn.init.uniform_(trunk[1].weight, -2, 2)
    return Classifier(ClassifierTrunk("small", trunk, SIZE_HW), num_classes)


def weight_rounded_by_definition(weight: Any, axis: int) -> Any:
    others = tuple(place for place in range(weight.ndim) if place != axis)
    scale = (np.abs(weight).max(axis=others, keepdims=True) / np.float32(127)).astype(np.float32)
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.float32) * scale, scale


@given(
    name=st.sampled_from(sorted(LAYERS)),
    values=arrays.arrays(np.float32, 60, elements=st.floats(-8, 8, width=16)),
)
def test_a_weight_is_rounded_by_channel_around_zero(name: str, values: Any) -> None:
    layer = LAYERS[name]()
    count = layer.weight.numel()
    weight = np.resize(values, count).reshape(layer.weight.shape)
    layer.weight.data = torch.from_numpy(weight.copy())
    found = rounded_weight(layer).detach().numpy()
    expected, scale = weight_rounded_by_definition(weight, 1 if name == "transposed" else 0)
    # Where a quotient is within its rounding of a half, either neighbour is right.
    halves = np.abs(np.abs(weight / scale % 1) - 0.5) < 1e-4
    assert np.all(np.abs(found - expected) <= np.where(halves, 1.001 * scale, 1e-6 * scale * 127))


@given(st.lists(st.integers(-6, 6), min_size=4, max_size=4), st.sampled_from([-1.0, 1.0]))
def test_a_factor_on_a_channel_commutes_with_the_rounding(
    exponents: list[int], sign: float
) -> None:
    """Why no batch norm is folded; powers of two, so that the factor itself is exact."""
    torch.manual_seed(1)
    plain, scaled = nn.Conv2d(3, 4, 2), nn.Conv2d(3, 4, 2)
    factor = sign * torch.tensor([2.0**e for e in exponents])[:, None, None, None]
    scaled.weight.data = plain.weight.data * factor
    assert torch.equal(rounded_weight(scaled), rounded_weight(plain) * factor)


def test_a_norm_behind_a_rounded_layer_is_that_layer_with_its_folded_weight_rounded() -> None:
    network = small().eval()
    conv, norm = network.trunk.trunk[0], network.trunk.trunk[1]
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = nn.Conv2d(3, 16, 7)
    folded.weight.data = conv.weight * factor[:, None, None, None]
    folded.weight.data = rounded_weight(folded).detach()
    folded.bias.data = (conv.bias - norm.running_mean) * factor + norm.bias
    conv.weight.data = rounded_weight(conv).detach()
    images = torch.randn(2, 3, *SIZE_HW)
    # Sums of 147 products in another order.
    torch.testing.assert_close(norm(conv(images)), folded(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "values", [[0.0, 1.0, 3.0], [-2.0, 1.0, 3.0], [-4.0, 3.0], [-5.0, -1.0], [2.0, 3.0], [0.0]]
)
def test_an_activation_has_the_grid_of_the_export(precision: Any, values: list[float]) -> None:
    pytest.importorskip("onnx_ir")
    from edgecv.export.precisions.quantise import grid_of
    from edgecv.export.precisions.ranges import TensorRange

    range_ = fake_quantisation._range_factory(precision)()
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    x = torch.tensor([*values, 0.3, 0.7])[: len(values)]
    found = range_(x).numpy()
    target = precision.removeprefix("int8-")
    grid = grid_of(TensorRange(low, high, max(-low, high)), target)
    if any(values):
        assert float(range_.scale) == pytest.approx(float(grid.scale), rel=1e-6)
        assert int(range_.zero_point) == int(grid.zero_point)
    least, most = (0, 255) if target == "cpu" else (-127, 127)
    codes = np.clip(np.rint(x.numpy() / grid.scale) + int(grid.zero_point), least, most)
    np.testing.assert_allclose(found, (codes - int(grid.zero_point)) * grid.scale, rtol=1e-5)


def rounding(network: Classifier, precision: Any = "int8-cpu") -> FakeQuantisation:
    ranges = FakeQuantisation(network, precision, SIZE_HW)
    ranges.attach(network)
    return ranges


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("int8-cpu", ["0/0/input", "3/0/input", "head/0/input", "head/0/result"]),
        ("int8-tensorrt", ["3/0/input"]),  # 3 channels and 2 are too few for its kernels
    ],
)
def test_what_is_rounded_where(precision: Any, expected: list[str]) -> None:
    ranges = FakeQuantisation(small(), precision, SIZE_HW)
    found = [key.removeprefix("trunk/trunk/") for key in ranges.ranges]
    assert found == expected


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_keeps_its_weights_and_their_names(precision: Any) -> None:
    network = small().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    parameters = dict(network.named_parameters())
    images = torch.randn(2, 3, *SIZE_HW)
    (plain,) = network(images)
    ranges = rounding(network, precision)
    ranges.observe(is_on=True)
    (rounded,) = network(images)
    assert not torch.equal(plain, rounded)
    torch.testing.assert_close(plain, rounded, rtol=0, atol=0.1 * float(plain.detach().abs().max()))
    with pytest.raises(RuntimeError):
        network(torch.randn(2, 3, 4, 4))  # too small for the first layer
    assert network.state_dict().keys() == before.keys()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    for key, value in network.named_parameters():
        assert value is parameters[key]
    fresh = small().eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(images)[0], plain)


def test_gradients_go_straight_through_to_what_is_in_range() -> None:
    network = small().eval()
    ranges = rounding(network)
    ranges.observe(is_on=True)
    network(torch.rand(1, 3, *SIZE_HW) * 2 - 1)
    ranges.observe(is_on=False)
    layer = network.trunk.trunk[0]
    images = torch.zeros(1, 3, *SIZE_HW)
    images[0, 0, 8, 8] = 5.0  # beyond the range
    images.requires_grad_()
    (network(images)[0] * torch.tensor([1.0, -1.0])).sum().backward()
    assert images.grad[0, 0, 8, 8] == 0
    assert images.grad[0, 1, 8, 8] != 0
    assert layer.weight.grad.abs().sum() > 0
    layer.weight.grad = None
    rounded_weight(layer).sum().backward()
    assert torch.equal(layer.weight.grad, torch.ones_like(layer.weight))


def test_a_range_follows_as_a_moving_average_until_it_is_held() -> None:
    network = small().eval()
    ranges = rounding(network)
    first = ranges.ranges["trunk/trunk/0/0/input"].activation_post_process
    ranges.observe(is_on=True)
    network(torch.full((1, 3, *SIZE_HW), 2.0))
    network(torch.full((1, 3, *SIZE_HW), 4.0))
    assert float(first.max_val) == pytest.approx(0.99 * 2 + 0.01 * 4)
    ranges.observe(is_on=False)
    with torch.inference_mode():
        network(torch.full((1, 3, *SIZE_HW), 9.0))
    assert float(first.max_val) == pytest.approx(0.99 * 2 + 0.01 * 4)


def test_what_was_never_seen_is_not_rounded_while_ranges_are_held() -> None:
    network = small().eval()
    images = torch.randn(1, 3, *SIZE_HW)
    for layer in (network.trunk.trunk[0], network.trunk.trunk[3], network.head):
        layer.weight.data = rounded_weight(layer).detach()  # which rounding leaves alone
    (plain,) = network(images)
    ranges = rounding(network)
    ranges.observe(is_on=False)
    torch.testing.assert_close(network(images)[0], plain)


class Twice(nn.Module):
    """One layer on values of two magnitudes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 7)
        self.shared = nn.Conv2d(16, 16, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        return (self.shared(x) + self.shared(100 * x)).mean((2, 3))


def test_a_shared_layer_has_a_range_for_each_call_in_every_pass() -> None:
    network = Classifier(ClassifierTrunk("twice", Twice(), SIZE_HW), 2).eval()
    ranges = rounding(network)
    ranges.observe(is_on=True)
    images = torch.randn(1, 3, *SIZE_HW)
    network(images)
    network.trunk.trunk.first(images)
    network.trunk.trunk.shared(torch.zeros(1, 16, 4, 4))  # a pass that ends too early
    network(images)
    small_, large = (
        ranges.ranges[f"trunk/trunk/shared/{index}/input"].activation_post_process
        for index in range(2)
    )
    assert float(large.max_val) > 50 * float(small_.max_val)


def test_a_layer_without_anything_to_look_at_passes() -> None:
    network = small().eval()
    ranges = rounding(network)
    ranges.observe(is_on=True)
    assert network.head(torch.zeros(0, 32)).shape == (0, 2)


def test_a_network_without_a_layer_for_8_bits_is_refused() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3), Mean())
    network = Classifier(ClassifierTrunk("narrow", trunk, SIZE_HW), 2)
    with pytest.raises(InputError, match="keeps every layer of this network in float32"):
        FakeQuantisation(network, "int8-tensorrt", SIZE_HW)


def test_torchao_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchao.quantization.pt2e", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecv\[qat\]'"):
        FakeQuantisation(small(), "int8-cpu", SIZE_HW)


def optimisation_of(network: Classifier, **changes: Any) -> Optimisation:
    settings = {
        "size_hw": SIZE_HW,
        "weights": "trained.pt",
        "precision": "float32",
        "weight_decay": 0.0,
        "ema_decay": 0.9,
    }
    config = TrainConfig("small", "unused", **(settings | changes))
    return Optimisation(network, config, Ranks(0, 1, torch.device("cpu")))


def stripes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Stripes with noise, [count, 3, 16, 16]: across (0) or upright (1)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    wave = torch.sin(torch.arange(16) * 1.5 + 6.28 * torch.rand(count, 1, generator=generator))
    across = wave[:, None, :, None].expand(count, 3, 16, 16)
    images = torch.where(labels[:, None, None, None] == 0, across, across.transpose(2, 3))
    return images + 2 * torch.randn(count, 3, 16, 16, generator=generator), labels


def steps(optimisation: Optimisation, count: int, *, seed: int = 0, observes: bool = True) -> None:
    optimisation.begin_epoch(None, observes=observes)
    for step in range(count):
        optimisation.step(Batch(*stripes(32, seed + step)), 1.0, where="here")


def test_norms_stand_still_and_what_is_averaged_rounds_too() -> None:
    network = small()
    before = {key: value.clone() for key, value in network.named_buffers()}
    optimisation = optimisation_of(network, fake_quantise="int8-cpu", learning_rate=1e-3)
    steps(optimisation, 2)
    for key, value in network.named_buffers():
        assert torch.equal(value, before[key]), key
    validated = optimisation.validated().eval()
    plain = small().eval()
    plain.load_state_dict(validated.state_dict())
    images, _ = stripes(4, 9)
    with torch.inference_mode():
        assert not torch.equal(validated(images)[0], plain(images)[0])


def test_steps_continue_exactly_from_their_state() -> None:
    changes = {"fake_quantise": "int8-tensorrt", "learning_rate": 1e-3}
    whole, first, second = (optimisation_of(small(), **changes) for _ in range(3))
    steps(whole, 2)
    steps(whole, 2, seed=2, observes=False)
    steps(first, 2)
    second.restore(first.state())
    steps(second, 2, seed=2, observes=False)
    expected, found = whole.state(), second.state()
    assert any("min_val" in key for key in found["fake_quantisation"])
    for part in ("detector", "averaged", "fake_quantisation"):
        for key, value in expected[part].items():
            assert torch.equal(value, found[part][key]), key


def accuracy(network: Classifier) -> float:
    images, labels = stripes(400, 10_000)
    with torch.inference_mode():
        return float((network(images)[0].argmax(1) == labels).double().mean())


def test_fine_tuning_gets_back_what_a_badly_scaled_channel_costs() -> None:
    """A channel of large values makes the others' steps coarse, and changes nothing in float."""
    network = small()
    trained = optimisation_of(network, learning_rate=5e-3)
    steps(trained, 60)
    network.eval()
    norm, behind = network.trunk.trunk[1], network.trunk.trunk[3]
    with torch.no_grad():
        norm.weight[0] *= 400
        norm.bias[0] *= 400
        behind.weight[:, 0] /= 400
    assert accuracy(network) > 0.95

    tuned = optimisation_of(network, fake_quantise="int8-cpu", learning_rate=5e-3)
    tuned.begin_epoch(None)
    with torch.no_grad():
        network(stripes(64, 0)[0])  # ranges of post-training quantisation
    rounded = accuracy(tuned.validated().eval())
    assert rounded < 0.8
    steps(tuned, 40)
    steps(tuned, 20, seed=40, observes=False)
    assert accuracy(tuned.validated().eval()) > 0.9
