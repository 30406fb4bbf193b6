"""The OpenVINO backend: the same answers as onnxruntime's, in every form of graph and of call."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")
pytest.importorskip("openvino")

import onnx
import openvino

import edgecv
from edgecv.errors import InputError
from edgecv.images import read_image
from edgecv.output_spec import RowsOutput
from edgecv.runtime import openvino as backend
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.runtime.openvino import OpenvinoSession
from edgecv.runtime.session import Hint, open_session
from edgecv.spec import InputSpec, ModelSpec, ProposalsSpec

Make = Callable[..., Path]

# The sums of a convolution come in another order: far fewer than 2**10 roundings of 2**-24 each,
# of values that the layers after it stretch a little.
RELATIVE = 1e-4


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[NDArray[np.uint8]]:
    return [read_image(path) for path in sorted((scenes / "val").glob("*.png"))[:3]]


def batch_of(model: edgecv.Model, images: list[NDArray[np.uint8]]) -> NDArray[Any]:
    return np.concatenate([model.fit(image, format="rgb24")[0] for image in images])


@pytest.mark.parametrize("head", ["raw", "fused"])
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_it_answers_as_onnxruntime_does(
    exported: Path, images: list[NDArray[np.uint8]], head: str, hint: Hint
) -> None:
    path = exported / f"{head}.onnx"
    scalars = {"score_threshold": 0.02, "iou_threshold": 0.4} if head == "fused" else None
    model = edgecv.load(path, "cpu", threads=1, backend="openvino", hint=hint)
    assert model.session.backend.startswith("openvino cpu")
    assert model.answers_later == (hint == "throughput")
    reference = OnnxruntimeSession(path, "cpu", threads=1)
    counts = set()
    for given in (images, images[:1]):
        batch = batch_of(model, given)
        wanted = reference.run(batch, scalars)
        found = model.session.run(batch, scalars)
        assert list(found) == list(wanted)
        assert len(found) == len(wanted)
        for name, values in wanted.items():
            assert found[name].dtype == values.dtype
            atol = RELATIVE * float(np.abs(values).max())
            np.testing.assert_allclose(found[name], values, rtol=0, atol=atol)
        counts.update(wanted.get("num_detections", np.zeros(1)).tolist())
    model.session.warm_up()
    model.close()
    assert head == "raw" or max(counts) > 0


def test_thresholds_are_inputs_with_the_defaults_of_the_graph(
    exported: Path, images: list[NDArray[np.uint8]]
) -> None:
    path = exported / "fused.onnx"
    session, reference = OpenvinoSession(path, "cpu"), OnnxruntimeSession(path, "cpu")
    batch = batch_of(edgecv.Model(session), images)
    counts = []
    for scalars in ({}, {"score_threshold": 0.0}, {"score_threshold": 0.99}):
        found = session.run(batch, scalars)["num_detections"]
        np.testing.assert_array_equal(found, reference.run(batch, scalars)["num_detections"])
        counts.append(int(found.sum()))
    assert counts[1] > counts[2] == 0


def test_answers_that_nobody_looked_at_do_not_block(
    exported: Path, images: list[NDArray[np.uint8]]
) -> None:
    """More calls than requests: the oldest is waited for, and each keeps its own values."""
    session = OpenvinoSession(exported / "raw.onnx", "cpu", threads=1, hint="throughput")
    batches = [batch_of(edgecv.Model(session), [image]) for image in images]
    wanted = [dict(session.run(batch)) for batch in batches]
    count = 3 * (session.num_requests + 1)
    pending = [session.run(batches[index % 3]) for index in range(count)]
    for _ in range(count):
        session.run(batches[0])
    for index in reversed(range(count)):
        for name, values in wanted[index % 3].items():
            np.testing.assert_array_equal(pending[index][name], values)
    pending.append(session.run(batches[1]))
    session.close()
    np.testing.assert_array_equal(pending[-1]["logits"], wanted[1]["logits"])


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_calls_of_several_threads_do_not_mix(
    exported: Path, images: list[NDArray[np.uint8]], hint: Hint
) -> None:
    session = OpenvinoSession(exported / "raw.onnx", "cpu", threads=1, hint=hint)
    batches = [batch_of(edgecv.Model(session), [image]) for image in images]
    wanted = [session.run(batch)["logits"] for batch in batches]
    matched: list[bool] = []

    def work(index: int) -> None:
        for _ in range(8):
            found = session.run(batches[index])["logits"]
            matched.append(np.array_equal(found, wanted[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert matched == [True] * 24


def test_an_error_of_a_request_is_raised_where_its_outputs_are_looked_at(
    make_onnx: Make,
) -> None:
    session = OpenvinoSession(make_onnx(), "cpu", hint="throughput")
    batch = np.zeros((1, 3, 64, 64), np.float32)
    request = session._program(1).request()

    class Failing:
        def start_async(self, feeds: object, *, share_inputs: bool) -> None:
            del feeds, share_inputs

        def wait(self) -> None:
            raise RuntimeError("out of memory")

    program = session._program(1)
    for _ in range(2):
        answer = backend._Answer(Failing(), {}, ["output"], None, program)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="out of memory"):
                _ = answer["output"]
        assert isinstance(program.idle.get(), Failing)  # it was given back
    program.idle.put(request)
    assert session.run(batch)["output"].shape == (1, 84, 7)


def test_a_fixed_batch_is_filled_up_and_cut(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "fixed.onnx", batch=2)
    session, reference = OpenvinoSession(path, "cpu"), OnnxruntimeSession(path, "cpu")
    batch = np.full((1, 3, 4, 6), 2.0, np.float32)
    boxes = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    wanted = reference.run(batch, proposals=boxes)["rows"]
    assert wanted.shape == (1, 3, 6)
    np.testing.assert_array_equal(session.run(batch, proposals=boxes)["rows"], wanted)


def test_proposals_and_any_number_of_images(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "free.onnx", batch="B")
    session, reference = OpenvinoSession(path, "cpu"), OnnxruntimeSession(path, "cpu")
    rng = np.random.default_rng(0)
    for count in (3, 1, 2, 3):
        batch = rng.random((count, 3, 4, 6), np.float32)
        boxes = rng.random((count, 3, 4), np.float32)
        wanted = reference.run(batch, proposals=boxes)["rows"]
        found = session.run(batch, proposals=boxes)["rows"]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    session.warm_up()


def test_half_precision_goes_in_and_float32_comes_out(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "half.onnx", batch=1, half=True)
    session = OpenvinoSession(path, "cpu")
    batch = np.full((1, 3, 4, 6), 0.5, np.float16)
    found = session.run(batch, proposals=np.zeros((1, 3, 4), np.float32))["rows"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[..., 4:], 0.5)


def test_a_read_only_batch_is_taken(make_onnx: Make) -> None:
    batch = np.zeros((1, 3, 64, 64), np.float32)
    batch.flags.writeable = False
    strided = np.zeros((1, 64, 64, 3), np.float32).transpose(0, 3, 1, 2)
    session = OpenvinoSession(make_onnx(), "cpu")
    for given in (batch, strided):
        assert session.run(given)["output"][0, 26, 4] == np.float32(0.9)


def test_a_closed_session_refuses(make_onnx: Make) -> None:
    session = OpenvinoSession(make_onnx(), "cpu")
    session.close()
    session.close()
    with pytest.raises(ValueError, match=r"OpenvinoSession.run: the session is closed. Open it"):
        session.warm_up()


def test_float32_is_kept_where_the_cpu_has_bf16(
    exported: Path, images: list[NDArray[np.uint8]]
) -> None:
    """By itself OpenVINO would compute in bf16, which is off by a percent."""
    path = exported / "raw.onnx"
    reference = OnnxruntimeSession(path, "cpu")
    session = OpenvinoSession(path, "cpu", precision="fp32")
    batch = batch_of(edgecv.Model(session), images[:1])
    wanted = reference.run(batch)["logits"]
    largest = float(np.abs(wanted).max())
    assert session.backend == "openvino cpu"
    exact = float(np.abs(session.run(batch)["logits"] - wanted).max()) / largest
    assert exact < RELATIVE
    if not backend.has_fast_bf16():
        with pytest.raises(InputError, match=r"`precision` is 'bf16', but OpenVINO computes in fp"):
            OpenvinoSession(path, "cpu", precision="bf16")
        return
    rough = OpenvinoSession(path, "cpu", precision="bf16")
    assert rough.backend == "openvino cpu bf16"
    assert exact < float(np.abs(rough.run(batch)["logits"] - wanted).max()) / largest < 0.2


def test_a_precision_that_would_be_replaced_is_refused(
    make_onnx: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_onnx()

    class Plain:
        available_devices = ("CPU",)

        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    monkeypatch.setattr(backend, "_core", Plain)
    for precision in ("bf16", "fp16"):
        with pytest.raises(
            InputError, match=rf"is '{precision}', but OpenVINO computes in fp32 on this CPU"
        ):
            OpenvinoSession(path, "cpu", precision=precision)
    assert not backend.has_fast_bf16()
    assert backend.available_devices() == ["cpu"]


def test_devices(make_onnx: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_onnx()
    assert backend.available_devices()[0] == "cpu"
    with pytest.raises(InputError, match=r"`device` of OpenVINO must be one of .*npu, got 'cuda'"):
        OpenvinoSession(path, "cuda")

    class OfBoth:
        available_devices = ("CPU", "GPU.0", "GPU.1")

    monkeypatch.setattr(backend, "_core", OfBoth)
    assert backend.available_devices() == ["cpu", "gpu"]
    with pytest.raises(InputError, match=r"is 'npu', but OpenVINO .* finds only cpu, gpu.*driver"):
        OpenvinoSession(path, "npu")


def test_a_gpu_computes_in_what_openvino_chooses(
    make_onnx: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options handed over, with a core that records them and compiles for the CPU."""
    given: list[tuple[str, dict[str, Any]]] = []
    real = backend._core()

    class Recording:
        available_devices = ("CPU", "GPU")

        def get_property(self, *names: str) -> Any:
            return ["FP32", "FP16"] if names[0] == "GPU" else real.get_property(*names)

        def read_model(self, content: bytes) -> Any:
            return real.read_model(content)

        def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Any:
            given.append((device, options))
            return real.compile_model(model, "CPU")

    monkeypatch.setattr(backend, "_core", Recording)
    path = make_onnx()
    assert OpenvinoSession(path, "gpu", threads=3).backend == "openvino gpu"
    assert OpenvinoSession(path, "gpu", precision="fp16").backend == "openvino gpu fp16"
    OpenvinoSession(path, "cpu", threads=3, hint="throughput")
    half, single = openvino.Type.f16, openvino.Type.f32
    assert given == [
        ("GPU", {"PERFORMANCE_HINT": "LATENCY"}),
        ("GPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": half}),
        (
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": single,
                "INFERENCE_NUM_THREADS": 3,
            },
        ),
    ]


SIGNALLED = """
import faulthandler, os, signal, sys
from edgecv.runtime.openvino import OpenvinoSession
faulthandler.enable()  # gives the thread a stack for signals
first, second = (OpenvinoSession(sys.argv[1], "cpu", threads=1) for _ in range(2))
for session in (first, second):
    session.warm_up()
    session.close()
del first, second, session
signal.signal(signal.SIGINT, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_signals_are_heard_after_sessions_that_are_closed(make_onnx: Make, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(make_onnx())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_a_compiled_network_is_kept(exported: Path, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    path = exported / "raw.onnx"
    first = OpenvinoSession(path, "cpu", cache=cache)
    kept = {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert kept
    second = OpenvinoSession(path, "cpu", cache=cache)
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == kept
    batch = np.zeros((1, 3, *first.spec.input.size_hw), np.float32)
    for name, values in first.run(batch).items():
        np.testing.assert_array_equal(second.run(batch)[name], values)


def test_files_that_it_cannot_open(make_onnx: Make, exported: Path, tmp_path: Path) -> None:
    from edgecv.export.graphs.model_file import read_onnx, write_onnx
    from edgecv.export.graphs.target import for_tensorrt

    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(make_onnx().read_bytes()[:-40])
    foreign = make_onnx("foreign.onnx", operator=("nobody", "Add"))
    plugins = tmp_path / "plugins.onnx"
    write_onnx(for_tensorrt(read_onnx(exported / "fused.onnx")), plugins)
    for path, message in (
        (damaged, r"damaged.onnx` cannot be read as ONNX: .*copied whole"),
        (foreign, r"cannot be opened by OpenVINO 20\S+: .*nobody.Add.*`--backend onnxruntime`"),
        (plugins, r"its operator EdgeNMS is a plugin there.*OpenVINO could run.*--target tensorrt"),
    ):
        with pytest.raises(InputError, match=message):
            open_session(path, "cpu", backend="openvino")


def test_a_description_of_another_graph_is_refused(make_onnx: Make) -> None:
    from edgecv.export.graphs.metadata import write_spec

    path = make_onnx()
    model = onnx.load(path)
    with edgecv.load(path, "cpu", backend="openvino") as opened:
        spec = opened.spec
    other = ModelSpec(
        "detect",
        spec.classes,
        input=InputSpec(name="images", size_hw=(32, 64)),
        output=spec.output,
        provenance=spec.provenance,
    )
    write_spec(model, other)
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"`input` describes float32 \[B, 3, 32, 64\].*is tensor"):
        OpenvinoSession(path, "cpu")


def test_a_bundle_runs_on_it_too(make_onnx: Make, tmp_path: Path) -> None:
    from edgecv.bundle.writing import add, read_model

    path = tmp_path / "b.edgecv"
    for weight, precision in ((0.9, "fp32"), (0.8, "fp16")):
        add(path, read_model(make_onnx(f"{precision}.onnx", weight=weight), precision))
    batch = np.zeros((1, 3, 64, 64), np.float32)
    for name, weight in (("b.edgecv", 0.9), ("b.edgecv#fp16", 0.8)):
        with edgecv.load(tmp_path / name, backend="openvino", hint="throughput") as model:
            assert model.session.backend.startswith("openvino cpu throughput")
            assert model.answers_later
            assert model.session.run(batch)["output"][0, 26, 4] == np.float32(weight)
    with edgecv.load(path) as model:
        assert not model.answers_later


def write_graph(path: Path, *, batch: int | str, half: bool = False) -> Path:
    """Write rows of a box, a score and a class: the proposals, and twice the image's mean."""
    from edgecv.export.graphs.metadata import write_spec

    helper = onnx.helper
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean", "last"], ["column"]),
        helper.make_node("Expand", ["column", "rows_of_mean"], ["columns"]),
        helper.make_node("Concat", ["regions", "columns"], ["wide"], axis=2),
        helper.make_node("Cast", ["wide"], ["rows"], to=kind),
    ]
    numpy_helper = onnx.numpy_helper
    graph = helper.make_graph(
        nodes,
        "rows",
        [
            helper.make_tensor_value_info("images", kind, [batch, 3, 4, 6]),
            helper.make_tensor_value_info("regions", onnx.TensorProto.FLOAT, [batch, 3, 4]),
        ],
        [helper.make_tensor_value_info("rows", kind, [batch, 3, 6])],
        [
            numpy_helper.from_array(np.array([3], np.int64), "last"),
            numpy_helper.from_array(np.array([1, 3, 2], np.int64), "rows_of_mean"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec(
        "detect",
        ("cat", "dog"),
        input=InputSpec(name="images", size_hw=(4, 6), dtype="float16" if half else "float32"),
        output=RowsOutput(rows="rows"),
        proposals=ProposalsSpec(name="regions", count=3),
    )
    write_spec(model, spec)
    onnx.save(model, path)
    return path
