"""The accuracy gate on made-up graphs of known accuracy: what it returns, and when it ends."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from edgecv.export.precisions.gate import Attempt, Verdict, pass_gate  # noqa: E402
from edgecv.export.precisions.noise import LayerCost  # noqa: E402

REFERENCE = 0.8


@dataclass
class Graph:
    """Its layers lose accuracy, each so much; the name of its graph says which are in float32."""

    drops: dict[str, float]
    keep: tuple[str, ...] = ()
    asked: list[tuple[str, ...]] = field(default_factory=list)
    num_rankings: int = 0

    @property
    def model(self) -> "onnx.ModelProto":
        model = onnx.ModelProto()
        model.graph.name = ",".join(self.keep)
        return model

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(name for name in self.drops if name not in self.keep)

    @property
    def kept(self) -> tuple[()]:
        return ()

    def convert(self, keep: Collection[str]) -> "Graph":
        self.asked.append(tuple(keep))
        return Graph(self.drops, tuple(keep))

    def accuracy(self, model: "onnx.ModelProto") -> float:
        kept = model.graph.name.split(",")
        return REFERENCE - sum(drop for name, drop in self.drops.items() if name not in kept)

    def rank(self, _lower: object, layers: Sequence[str]) -> list[LayerCost]:
        self.num_rankings += 1
        costs = [LayerCost(name, self.drops[name]) for name in layers]
        return sorted(costs, key=lambda cost: -cost.noise)


def through(graph: Graph, max_drop: float) -> Verdict:
    return pass_gate(
        {"": graph.convert}, graph.accuracy, graph.rank, reference=REFERENCE, max_drop=max_drop
    )


def test_what_is_accurate_enough_passes_at_once() -> None:
    graph = Graph({"a": 0.004, "b": 0.004})
    found = through(graph, 0.01)
    assert found.has_passed
    assert found.returned == ()
    assert found.costs == ()
    assert graph.num_rankings == 0
    assert found.attempts == (Attempt("", 0, pytest.approx(0.792), pytest.approx(0.008)),)


def test_the_layers_that_cost_most_return_until_it_passes() -> None:
    graph = Graph({f"layer{index}": 0.001 * index for index in range(12)})
    found = through(graph, 0.05)
    # All: 0.066. Without the worst: 0.055. Without the two worst: 0.045.
    assert found.has_passed
    assert [attempt.num_returned for attempt in found.attempts] == [0, 1, 2]
    assert found.returned == ("layer11", "layer10")
    assert found.drop == pytest.approx(0.045)
    assert found.attempts[-1].value == pytest.approx(REFERENCE - 0.045)
    assert found.converted.layers == tuple(f"layer{index}" for index in range(10))
    assert graph.num_rankings == 1


def test_it_fails_before_half_the_layers_are_float_and_tells_what_each_costs() -> None:
    graph = Graph(dict.fromkeys("abcdefghij", 0.1))
    found = through(graph, 0.01)
    assert not found.has_passed
    assert [attempt.num_returned for attempt in found.attempts] == [0, 1, 2, 4]
    assert [cost.name for cost in found.costs] == list("abcdefghij")


def test_an_accuracy_that_is_not_a_number_does_not_pass() -> None:
    graph = Graph({"a": math.nan, "b": 0.0})
    found = through(graph, 1.0)
    assert found.has_passed  # once the layer that makes it has returned
    assert math.isnan(found.attempts[0].drop)
    assert found.returned == ("a",)


def test_another_variant_is_tried_before_layers_return() -> None:
    first, second = Graph({"a": 0.3, "b": 0.0}), Graph({"a": 0.001, "b": 0.0})
    variants = {"one": first.convert, "two": second.convert, "three": first.convert}
    graphs = iter((first, second))
    found = pass_gate(
        variants,
        lambda model: next(graphs).accuracy(model),
        first.rank,
        reference=REFERENCE,
        max_drop=0.01,
    )
    assert found.has_passed
    assert found.variant == "two"
    assert [attempt.variant for attempt in found.attempts] == ["one", "two"]
    assert first.num_rankings == 0


def test_layers_return_to_the_best_variant() -> None:
    graphs = {"one": Graph({"a": 0.3, "b": 0.0}), "two": Graph({"a": 0.1, "b": 0.0})}
    seen = []

    def convert(name: str, keep: Collection[str]) -> Graph:
        seen.append(name)
        return graphs[name].convert(keep)

    found = pass_gate(
        {name: partial(convert, name) for name in graphs},
        lambda model: graphs[seen[-1]].accuracy(model),  # noqa: PLW0108  # seen grows
        graphs["two"].rank,
        reference=REFERENCE,
        max_drop=0.01,
    )
    assert found.has_passed
    assert found.variant == "two"
    assert found.returned == ("a",)


@given(
    drops=st.lists(st.floats(0, 0.1), min_size=1, max_size=40),
    max_drop=st.floats(0, 0.3),
)
def test_a_verdict_is_always_true(drops: list[float], max_drop: float) -> None:
    graph = Graph({f"layer{index}": drop for index, drop in enumerate(drops)})
    found = through(graph, max_drop)
    assert found.has_passed == (found.drop <= max_drop)
    assert all(attempt.drop > max_drop for attempt in found.attempts[:-1])
    assert len(found.returned) <= max(1, len(drops)) / 2
    dropped = [graph.drops[name] for name in found.returned]
    others = [graph.drops[name] for name in graph.drops if name not in found.returned]
    assert not dropped or min(dropped) >= max(others)
