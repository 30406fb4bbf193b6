"""A model of a server: the same results as of its file, and every way in which a server fails.

The server is a stand-in that speaks the protocol from its specification; the model that it serves
runs in onnxruntime.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnxruntime
from numpy.typing import NDArray

import edgecv
from edgecv.errors import InputError, ServerError, SpecError
from edgecv.output_spec import FusedOutput
from edgecv.results import Detections
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.session import open_session
from edgecv.runtime.triton import TritonSession
from edgecv.spec import ModelSpec

from .kserve_server import Server

FRAME = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)


def configured(spec: ModelSpec) -> dict[str, Any]:
    return {"name": "model", "parameters": {"edgecv.spec": {"string_value": spec.to_json()}}}


@pytest.fixture
def served(make_onnx: Callable[..., Path]) -> Iterator[Any]:
    """The small detector on a server."""
    path = make_onnx()
    spec = OnnxruntimeSession(path, "cpu").spec
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    metadata = {
        "name": "model",
        "inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 3, 64, 64]}],
        "outputs": [{"name": "output", "datatype": "FP32", "shape": [1, 84, 7]}],
    }
    server = Server(
        configured(spec),
        metadata,
        lambda inputs: {"output": session.run(None, {"images": inputs["images"]})[0]},
        path,
    )
    server.start()
    yield server
    server.stop()


def test_results_are_those_of_the_file(served: Any) -> None:
    with edgecv.load(served.path) as local, edgecv.load(served.url) as remote:
        expected, found = local(FRAME), remote(FRAME)
        assert isinstance(expected, Detections)
        assert isinstance(found, Detections)
        assert len(expected) == 1
        np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert remote.spec == local.spec
        assert remote.session.backend == f"triton 127.0.0.1:{served.server_address[1]}/model"


def test_an_address_may_be_a_path_and_name_a_version(served: Any) -> None:
    with edgecv.load(Path(served.url)) as model:  # which turns `//` into `/`
        model(FRAME)
    with edgecv.load(f"{served.url}/3") as model:
        model(FRAME)
    assert [request["path"] for request in served.requests] == [
        "/v2/models/model/infer",
        "/v2/models/model/versions/3/infer",
    ]


def test_a_connection_is_kept_and_a_session_closes(served: Any) -> None:
    session = open_session(served.url)
    session.warm_up()
    for _ in range(20):
        session.warm_up()
    assert served.connections == 1
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.warm_up()


@pytest.mark.parametrize("fault", ["hang up", "goodbye"])
def test_a_server_may_close_an_idle_connection(served: Any, fault: str) -> None:
    with edgecv.load(served.url) as model:
        served.fault = fault
        for _ in range(3):
            model(FRAME)
    assert served.connections >= 3


def test_threads_share_a_session(served: Any) -> None:
    session = open_session(served.url)
    compute, gate = served.compute, threading.Barrier(4, timeout=30)

    def together(inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        gate.wait()  # all four are on the server at once, or none gets further
        return {"output": compute(inputs)["output"] + inputs["images"].mean()}

    served.compute = together
    found: dict[int, list[float]] = {index: [] for index in range(4)}

    def work(index: int) -> None:
        batch = np.full((1, 3, 64, 64), index, np.float32)
        for _ in range(10):
            found[index].append(float(session.run(batch)["output"][0, 0, 0]))

    threads = [threading.Thread(target=work, args=(index,)) for index in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {index: [float(index)] * 10 for index in range(4)}
    assert served.connections == 4
    session.close()


def test_outputs_may_be_kept_and_written(served: Any) -> None:
    with edgecv.load(served.url) as model:
        batch = np.zeros((1, 3, 64, 64), np.float32)
        first = model.session.run(batch)["output"]
        kept = first.copy()
        second = model.session.run(batch)["output"]
        second[:] = 7
        np.testing.assert_array_equal(first, kept)
        assert first.flags.aligned
        assert first.flags.writeable


def test_outputs_as_lists_will_do(served: Any) -> None:
    with edgecv.load(served.url) as model:
        expected = model.session.run(np.zeros((1, 3, 64, 64), np.float32))["output"]
        served.fault = "lists"
        found = model.session.run(np.zeros((1, 3, 64, 64), np.float32))["output"]
        np.testing.assert_array_equal(found, expected)


FAULTS = {
    "drop": "cannot be reached or broke off",
    "garbage": "cannot be reached or broke off",
    "cut": "its answer lacks [0-9]+ bytes",
    "fail": "answers 500: out of memory",
    "page": "answers 502: Bad Gateway",
    "json": "what should be JSON is not",
    "array": r"what should be a JSON object is \[\]",
    "outputs": "no list of outputs",
    "header": "Inference-Header-Content-Length is '1000000000'",
    "number": "Inference-Header-Content-Length is '-1'",
    "size": "`output` has 2348 bytes for ",
    "bytes": "`output` is cut off, 2348 of 2352 bytes",
    "more": "4 bytes follow the last output",
    "shape": "an output is described as",
    "kind": "an output is described as",
    "name": "it sent no output output",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_is_an_error_and_no_more(served: Any, fault: str) -> None:
    with edgecv.load(served.url) as model:
        model(FRAME)
        served.fault = fault
        for _ in range(2):
            with pytest.raises(ServerError, match=FAULTS[fault]):
                model(FRAME)
        served.fault = ""
        assert len(model(FRAME)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_a_server_that_keeps_one_waiting_is_given_up(served: Any, fault: str) -> None:
    session = TritonSession(served.url, timeout_s=1)
    served.fault = fault
    with pytest.raises(ServerError, match=r"did not answer within 1 s"):
        session.warm_up()
    served.fault = ""
    session.warm_up()
    session.close()


def test_what_the_server_refuses_is_bad_input(served: Any) -> None:
    with edgecv.load(served.url) as model:
        served.fault = "refuse"
        with pytest.raises(InputError, match="answers 400: unexpected shape for input"):
            model(FRAME)


def test_nobody_there(served: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerError, match="cannot be reached or broke off: Connection refused"):
        edgecv.load(f"triton://127.0.0.1:{port}/model")
    with pytest.raises(ServerError, match="cannot be reached"):
        edgecv.load("triton://no.such.host.invalid/model")
    unknown = served.url.replace("/model", "/other")
    with pytest.raises(InputError, match=r"`other` cannot be used: .* unknown model: 'other'"):
        edgecv.load(unknown)


@pytest.mark.parametrize(
    "url",
    [
        "triton://",
        "triton://host",
        "triton://host:80x/model",
        "triton://host:0/model",
        "triton://host:65536/model",
        "triton://ho st/model",
        "triton://host/model/version",
        "triton://[::1/model",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError, match="is no address of a model"):
        edgecv.load(url)


def test_the_server_decides_where_it_runs(served: Any) -> None:
    with pytest.raises(InputError, match="the server decides"):
        edgecv.load(served.url, "cuda")
    with pytest.raises(InputError, match="the server decides"):
        edgecv.load(served.url, threads=2)


@pytest.mark.parametrize(
    ("config", "kind", "why"),
    [
        ({}, SpecError, "no parameter `edgecv.spec`"),
        ({"parameters": {"edgecv.spec": {"string_value": "{"}}}, SpecError, "is not JSON"),
        ({"parameters": {"edgecv.spec": {}}}, ServerError, "is not understood"),
        ({"parameters": {"edgecv.spec": {"string_value": 3}}}, ServerError, "is not understood"),
        ({"parameters": []}, ServerError, "is not understood"),
    ],
)
def test_a_configuration_without_a_description(
    served: Any, config: dict[str, Any], kind: type[Exception], why: str
) -> None:
    served.config = config
    with pytest.raises(kind, match=why):
        edgecv.load(served.url)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, "names `images`"),
        ({"outputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, "names `output`"),
        (
            {"inputs": [{"name": "images", "datatype": "FP16", "shape": [1, 3, 64, 64]}]},
            r"FP32 \[B, 3, 64, 64\], but the server's `images` is FP16",
        ),
        (
            {"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 3, 64, 32]}]},
            r"`images` is FP32 \[1, 3, 64, 32\]",
        ),
        ({"inputs": [{"name": "images", "datatype": "FP32", "shape": [3, 64, 64]}]}, "is FP32"),
        ({"inputs": None}, "is not understood"),
        ({"outputs": [{}]}, "is not understood"),
    ],
)
def test_a_server_that_contradicts_the_description(
    served: Any, changes: dict[str, Any], why: str
) -> None:
    served.metadata = {**served.metadata, **changes}
    with pytest.raises((InputError, ServerError), match=why):
        edgecv.load(served.url)


def fused(spec: ModelSpec) -> ModelSpec:
    return replace(spec, output=FusedOutput())


FUSED_OUTPUTS = {
    "num_detections": np.array([1], np.int32),
    "boxes": np.array([[[8, 8, 24, 24]]], np.float32),
    "scores": np.array([[0.5]], np.float32),
    "classes": np.array([[1]], np.int32),
}


@pytest.mark.parametrize("shape", [[1], [-1, 1], []])
def test_thresholds_go_to_a_server_that_takes_them(served: Any, shape: list[int]) -> None:
    served.config = configured(fused(open_session(served.path).spec))
    names = ("score_threshold", "iou_threshold")
    served.metadata = {
        "inputs": [
            *served.metadata["inputs"],
            *({"name": name, "datatype": "FP32", "shape": shape} for name in names),
        ],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [1, -1]} for name in FUSED_OUTPUTS],
    }
    given = []

    def compute(inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        given.append({name: inputs[name].tolist() for name in names})
        return FUSED_OUTPUTS

    served.compute = compute
    with edgecv.load(served.url) as model:
        found = model.with_thresholds(score=0.25, iou=0.5)(FRAME)
    assert isinstance(found, Detections)
    assert found.class_ids.tolist() == [1]
    sides = tuple(abs(side) for side in shape)
    expected = {"score_threshold": 0.25, "iou_threshold": 0.5}
    assert given == [{name: np.full(sides, value).tolist() for name, value in expected.items()}]


def test_thresholds_that_a_server_does_not_take_are_fixed(served: Any) -> None:
    served.config = configured(fused(open_session(served.path).spec))
    served.metadata = {
        **served.metadata,
        "outputs": [{"name": name, "datatype": "FP32", "shape": [1]} for name in FUSED_OUTPUTS],
    }
    # Triton gives the count as a column where it batches.
    served.compute = lambda _: FUSED_OUTPUTS | {"num_detections": np.array([[1]], np.int32)}
    with edgecv.load(served.url) as model:
        assert len(model(FRAME)) == 1  # type: ignore[arg-type]
        with pytest.raises(InputError, match="the score threshold is fixed"):
            model.with_thresholds(score=0.5)
    assert [each["name"] for each in served.requests[0]["inputs"]] == ["images"]


def test_a_batch_of_the_servers_size(served: Any) -> None:
    served.metadata["inputs"][0]["shape"] = [4, 3, 64, 64]
    served.compute = lambda inputs: {"output": inputs["images"].mean((1, 2, 3)).reshape(4, 1, 1)}
    with edgecv.load(served.url) as model:
        batch = np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1) * np.ones((1, 3, 64, 64))
        found = model.session.run(batch.astype(np.float32))["output"]
    assert found.ravel().tolist() == [0, 1]
    assert served.requests[0]["inputs"][0]["shape"] == [4, 3, 64, 64]
    assert json.dumps(served.requests[0]["outputs"]) == (
        '[{"name": "output", "parameters": {"binary_data": true}}]'
    )
