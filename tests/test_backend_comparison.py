"""Comparing backends: what is measured of each, and what may be exchanged for speed alone."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from edgecv import backend_comparison
from edgecv.backend_comparison import Comparison, Row, compare_backends
from edgecv.errors import InputError
from edgecv.metrics.latency import LatencyStatistics
from edgecv.runtime.contenders import Contender
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.session import RunOptions, Session

Make = Callable[..., Path]
ORT, OPENVINO = Contender("onnxruntime"), Contender("openvino")


class Stand(OnnxruntimeSession):
    """A backend whose outputs are a quarter off."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return {name: value * 1.25 for name, value in super().run(*args, **kwargs).items()}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[RunOptions]:
    """OpenVINO stood in for; returns how each session was asked for."""
    asked: list[RunOptions] = []

    def stand_in(path: Path, options: RunOptions) -> Session:
        asked.append(options)
        kind = Stand if options.backend == "openvino" else OnnxruntimeSession
        return kind(path, "cpu", threads=options.threads)

    monkeypatch.setattr(backend_comparison, "open_as", stand_in)
    return asked


def test_each_is_measured_and_tuned_for_what_is_measured(
    make_onnx: Make, opened: list[RunOptions], tmp_path: Path
) -> None:
    steps: list[str] = []
    options = RunOptions("cpu", threads=1, cache=tmp_path)
    found = compare_backends(make_onnx(), [ORT, OPENVINO], options, repeat=4, on_step=steps.append)
    first, second = found.rows
    assert (first.contender, second.contender) == (ORT, OPENVINO)
    assert first.difference is None
    assert second.difference == pytest.approx(0.25)  # of the largest value
    assert first.latency.count == second.latency.count == 4
    assert min(first.per_second, second.per_second) > 0
    assert found.machine["threads"] == 1
    assert [(each.backend, each.hint, each.cache) for each in opened] == [
        ("onnxruntime", None, None),
        ("openvino", None, tmp_path),
        ("onnxruntime", "throughput", None),
        ("openvino", "throughput", tmp_path),
    ]
    assert steps[:3] == ["opening onnxruntime", "opening openvino", "latency, in turns"]
    assert found.exchangeable_ms == {ORT: first.latency.median_ms}


def row(contender: Contender, median_ms: float, difference: float | None) -> Row:
    return Row(contender, "x", LatencyStatistics.of([median_ms]), 1.0, difference, None)


def test_only_what_computes_the_same_may_be_exchanged() -> None:
    rough = Contender("openvino", "bf16")
    rows = (row(ORT, 3.0, None), row(OPENVINO, 2.0, 1e-6), row(rough, 1.0, 0.02))
    found = Comparison({}, "fp32", rows, {})
    assert found.exchangeable_ms == {ORT: 3.0, OPENVINO: 2.0}
    assert replace(found, precision="int8-cpu").exchangeable_ms == {}


def test_where_none_can_run_it_the_first_says_why(make_onnx: Make) -> None:
    asked = [Contender("onnxruntime-tensorrt"), Contender("onnxruntime", "fp16")]
    with pytest.raises(InputError, match="has no TensorrtExecutionProvider"):
        compare_backends(make_onnx(), asked, RunOptions("cuda"), repeat=1)


def test_callers_run_at_once_and_their_errors_are_raised() -> None:
    together = threading.Barrier(3)

    def meets() -> object:
        return together.wait(timeout=30)  # it would break if they came one after the other

    assert backend_comparison._per_second(meets, callers=3, calls=5) > 0

    def fails() -> object:
        raise RuntimeError("lost the device")

    with pytest.raises(RuntimeError, match="lost the device"):
        backend_comparison._per_second(fails, callers=2, calls=3)


def test_difference_is_of_the_largest_value() -> None:
    class Open:
        class spec:  # noqa: N801  # stands in for an attribute
            output = None

    wanted = {"a": np.array([0.0, -4.0]), "b": np.zeros(2), "c": np.array([1, 2])}
    found = {"a": np.array([1.0, -4.0]), "b": np.array([0.0, 0.125]), "c": np.array([9, 9])}
    assert backend_comparison._difference(Open, wanted, found) == 0.25  # type: ignore[arg-type]
