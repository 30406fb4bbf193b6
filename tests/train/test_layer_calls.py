"""What a pass of a network calls: the layers that its export has, in their surroundings."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgecv.models import Network, build_model  # noqa: E402
from edgecv.models.classifier import Classifier, ClassifierTrunk  # noqa: E402
from edgecv.train.fake_quantisation import is_quantised  # noqa: E402
from edgecv.train.layer_calls import Call, layer_calls  # noqa: E402

SIZE_HW = (64, 96)


class Block(nn.Module):
    """Convolutions whose results go different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.cut = nn.Conv2d(8, 8, 1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.read_twice = nn.Conv2d(8, 8, 1)
        self.late_norm = nn.BatchNorm2d(8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.normed(images))
        y = torch.relu(self.cut(x))
        y += self.shared(x) + self.shared(y)
        z = self.read_twice(y)
        return (torch.nn.functional.relu(self.late_norm(z)) + z).mean((2, 3))


def block() -> Classifier:
    return Classifier(ClassifierTrunk("block", Block(), SIZE_HW), 4)


def test_layers_are_found_with_what_surrounds_them() -> None:
    found = layer_calls(block(), SIZE_HW)
    name = "trunk.trunk."
    assert [(c.call, c.num_before, c.result, c.is_cut) for c in found] == [
        (Call(f"{name}normed"), 0, Call(f"{name}norm"), False),
        (Call(f"{name}cut"), 1, Call(f"{name}cut"), True),
        (Call(f"{name}shared"), 1, Call(f"{name}shared"), False),
        (Call(f"{name}shared", 1), 2, Call(f"{name}shared", 1), False),
        (Call(f"{name}read_twice"), 3, Call(f"{name}read_twice"), False),
        (Call("head"), 4, Call("head"), False),
    ]


@pytest.mark.parametrize("was_training", [True, False])
def test_a_network_is_left_as_it_was(*, was_training: bool) -> None:
    network = block().train(was_training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    layer_calls(network, SIZE_HW)
    assert network.training == network.trunk.trunk.norm.training == was_training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


def assert_same_layers(network: Network, size_hw: tuple[int, int], graph: Any) -> None:
    """Compare, for both targets, the weights that are rounded and those that are not."""
    ir = pytest.importorskip("onnx_ir")
    from edgecv.export.precisions.layers import kept_float, layers_of, prepared, weight_of

    opened = ir.from_proto(prepared(graph)).graph
    nodes = {str(node.name): node for node in opened}
    calls = layer_calls(network, size_hw)

    def exported(names: Iterable[str]) -> Counter[tuple[int, ...]]:
        return Counter(weight_of(nodes[name]).shape for name in names)

    def trained(precision: Any, *, is_rounded: bool) -> Counter[tuple[int, ...]]:
        return Counter(
            tuple(call.layer.weight.shape)
            for call in calls
            if is_quantised(call, precision) == is_rounded
        )

    for target in ("cpu", "tensorrt"):
        precision = f"int8-{target}"
        kept = [layer.name for layer in kept_float(opened, target)]
        assert kept
        assert exported(kept) == trained(precision, is_rounded=False)
        assert exported(layers_of(graph, target)) == trained(precision, is_rounded=True)


def test_the_layers_of_an_ssd_are_rounded_as_in_its_export(
    exported: Path, trained_run: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    from edgecv.train.checkpoint import load_trained

    trained = load_trained(trained_run / "best.pt")
    graph = onnx.load(exported / "raw.onnx")
    assert_same_layers(trained.network, trained.config.size_hw, graph)


@pytest.mark.slow
def test_the_layers_of_a_yolo_are_rounded_as_in_its_export() -> None:
    pytest.importorskip("onnx")
    from edgecv.export.to_onnx import ExportOptions, _build
    from edgecv.spec import InputSpec, ModelSpec

    network = build_model("yolo_n", 3, SIZE_HW, backbone="csp_n")
    wanted = InputSpec("images", SIZE_HW)
    spec = ModelSpec("detect", ("a", "b", "c"), wanted, network.output_spec())
    graph, _ = _build(network.eval(), spec, ExportOptions(head="raw"))
    assert_same_layers(network, SIZE_HW, graph)
