"""Noise at layers and what layers cost, against noise that was put there on purpose."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgecv.errors import InputError
from edgecv.export.precisions.calibration import Calibration, calibrate, image_feeds
from edgecv.export.precisions.layers import layers_of
from edgecv.export.precisions.noise import feature_noise, layer_noise, rank_layers
from edgecv.export.precisions.quantise import quantise
from edgecv.runtime.model import load

FEEDS = [{"x": np.random.default_rng(seed).random((1, 4, 5, 5), np.float32)} for seed in range(2)]


def model(first: float = 1.0, second: float = 1.0) -> onnx.ModelProto:
    """Two 1x1 Convs, each a multiple of the same weights."""
    graph = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17]>
        net (float[N, 4, 5, 5] x) => (float[N, 4, 5, 5] y) {
            c = Conv(x, w1)
            r = Relu(c)
            y = Conv(r, w2)
        }""")
    for node, name in zip(graph.graph.node, ("first", "between", "second"), strict=True):
        node.name = name
    weight = np.random.default_rng(7).normal(size=(4, 4, 1, 1)).astype(np.float32)
    for name, factor in (("w1", first), ("w2", second)):
        tensor = onnx.numpy_helper.from_array(np.float32(factor) * weight, name)
        graph.graph.initializer.append(tensor)
    return graph


def test_the_ratio_is_that_of_the_definition() -> None:
    found = layer_noise(model(), model(first=0.9), FEEDS, threads=1)
    assert [(layer.name, layer.operator, layer.tensor) for layer in found] == [
        ("first", "Conv", "c"),
        ("second", "Conv", "y"),
    ]
    # A tenth of the signal is missing, and both layers are linear up to a factor.
    assert [layer.snr_db for layer in found] == pytest.approx([20, 20], abs=1e-3)


def test_what_does_not_differ_has_no_noise() -> None:
    found = layer_noise(model(), model(second=1.01), FEEDS, threads=1)
    assert found[0].snr_db == np.inf
    assert found[1].snr_db == pytest.approx(40, abs=1e-2)


def test_a_layer_that_was_joined_with_its_activation_is_measured_after_it() -> None:
    candidate = model()
    candidate.graph.node[0].output[0] = candidate.graph.node[1].input[0] = "joined"
    found = layer_noise(model(), candidate, FEEDS, threads=1)
    assert [layer.tensor for layer in found] == ["r", "y"]


def test_layers_are_ranked_by_what_they_do_to_the_result() -> None:
    errors = {"first": {"first": 0.99}, "second": {"second": 0.9}}
    calls = []
    costs = rank_layers(
        model(),
        lambda name: model(**errors[name]),
        ["first", "second"],
        FEEDS,
        on_layer=lambda: calls.append(1),
        threads=1,
    )
    assert [cost.name for cost in costs] == ["second", "first"]
    assert costs[0].snr_db == pytest.approx(costs[1].snr_db - 20, abs=0.01)
    assert len(calls) == 2


def test_what_follows_a_choice_is_compared_for_the_same_choice() -> None:
    def chooser(sign: float) -> onnx.ModelProto:
        graph = onnx.parser.parse_model("""
            <ir_version: 10, opset_import: ["" : 17]>
            net (float[N, 4, 5, 5] x) => (float[N, K] y) {
                c = Conv(x, w)
                flat = Flatten(c)
                best, places = TopK(flat, count)
                rows = Flatten(x)
                y = GatherElements<axis = 1>(rows, places)
            }""")
        for index, node in enumerate(graph.graph.node):
            node.name = f"node{index}"
        weight = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1) + np.float32(sign * 0.5)
        for name, value in (("w", weight), ("count", np.array([7]))):
            graph.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        return graph

    cost = rank_layers(chooser(1), lambda _: chooser(-1), ["node0"], FEEDS, threads=1)[0]
    # `flat` differs by the sum of the channels; `y` not at all, although the order does.
    x = np.concatenate([feed["x"] for feed in FEEDS]).astype(np.float64)
    total = x.sum(axis=1, keepdims=True)
    wanted = (total**2).mean() / (x + total / 2).var()
    assert cost.noise == pytest.approx(wanted / 2, rel=1e-4)


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        layer_noise(model(), model(), [], threads=1)
    with pytest.raises(InputError, match="no images"):
        rank_layers(model(), lambda _: model(), ["first"], [], threads=1)


def test_another_model_is_refused() -> None:
    other = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17]>
        other (float[N] x) => (float[N] z) { z = Relu(x) }""")
    with pytest.raises(InputError, match="no layer in common"):
        layer_noise(model(), other, FEEDS, threads=1)


def test_a_feature_counts_by_its_own_variance() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(2, 500, 3)).astype(np.float32) * [1, 100, 1] + [0, 0, 1000]
    candidate = reference.copy()
    candidate[..., 1] += 10 * rng.normal(size=(2, 500))  # a hundredth of this feature's power
    wanted = np.mean((candidate - reference)[..., 1] ** 2) / reference[..., 1].var() / 3
    assert feature_noise(reference, candidate) == pytest.approx(wanted)
    swapped = feature_noise(reference.transpose(0, 2, 1), candidate.transpose(0, 2, 1))
    assert swapped == pytest.approx(wanted)


def test_a_graph_that_ends_in_detections_is_measured_before_they_are_chosen(
    exported: Path, scenes: Path
) -> None:
    fused, raw = (onnx.load(exported / f"{head}.onnx") for head in ("fused", "raw"))
    with load(exported / "fused.onnx", "cpu", threads=1) as opened:
        images = list(image_feeds(opened, sorted((scenes / "train").glob("*.png"))[:2]))
    costs = {}
    for name, graph in (("fused", fused), ("raw", raw)):
        table = calibrate(graph, images, method="min-max", threads=1)
        layers = layers_of(graph, "cpu")

        def only(
            layer: str,
            graph: onnx.ModelProto = graph,
            table: Calibration = table,
            layers: tuple[str, ...] = layers,
        ) -> onnx.ModelProto:
            return quantise(graph, table, "cpu", keep=[one for one in layers if one != layer]).model

        found = rank_layers(graph, only, layers[:3], images, threads=1)
        costs[name] = [layers.index(cost.name) for cost in found]
        assert all(0 < cost.noise < 0.1 for cost in found)
    assert len(costs["fused"]) == len(costs["raw"]) == 3
