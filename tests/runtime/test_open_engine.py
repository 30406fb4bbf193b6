"""Engines as files and in bundles: opened where they fit, refused with the remedy where not."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import edgecv
from edgecv.bundle.machine import Machine, find_gpu
from edgecv.bundle.manifest import EngineEntry
from edgecv.bundle.writing import Addition, add, contents_of, read_model
from edgecv.engine_recipe import Recipe
from edgecv.errors import DeviceError, InputError, MissingDependencyError, SpecError
from edgecv.results import Detections
from edgecv.runtime import bundled
from edgecv.runtime import tensorrt as backend
from edgecv.runtime.engine_record import EngineRecord, FileIdentity, record_path
from edgecv.runtime.model import Model
from edgecv.runtime.session import FrameSession, RunOptions, open_session
from edgecv.runtime.tensorrt import open_engine
from edgecv.stream.run import run_stream

from ..tensorrt_stand_in import (  # noqa: TID252  # the tests are no package to import from
    PLAN,
    EngineStandIn,
    Script,
    TensorStandIn,
    make_module,
)
from .detector_engine import (
    GPU,
    SPEC,
    LoadEngine,
    detector,
)
from .simulated_device import SimulatedDevice


@pytest.fixture
def written(
    tmp_path: Path, known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, EngineRecord]:
    """An engine and its record, of this machine's GPU and version, and a device to run it."""
    device = SimulatedDevice(0)
    script = Script(engine=detector(device, (1, 1, 4)))
    monkeypatch.setitem(sys.modules, "tensorrt", make_module(known, script))
    monkeypatch.setattr(backend, "find_gpu", lambda: replace(GPU, tensorrt=known["version"]))
    monkeypatch.setattr(backend, "open_gpu", lambda: device)
    monkeypatch.setattr(backend, "installed_plugins", lambda: None)
    monkeypatch.setattr(backend, "why_not", lambda: None)
    path = tmp_path / "m.engine"
    path.write_bytes(PLAN)
    record = EngineRecord(
        hashlib.sha256(PLAN).hexdigest(),
        FileIdentity("m.onnx", ""),
        known["version"],
        GPU.name,
        GPU.capability,
        GPU.multiprocessors,
        None,
        Recipe(),
        "edgecv build m.onnx -o m.engine",
        1.0,
        "2026-01-01T00:00:00+00:00",
        spec=SPEC,
    )
    record_path(path).write_text(record.to_json())
    return path, record


def _raise(error: Exception) -> Any:
    raise error


def test_an_engine_is_opened_by_its_ending(
    written: tuple[Path, EngineRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = written
    with edgecv.load(path, backend="tensorrt") as model:
        assert model.session.backend == "tensorrt simulated"
        assert isinstance(model.session, FrameSession)
        found = model(np.full((30, 40, 3), 200, np.uint8))
        assert isinstance(found, Detections)
        assert len(found) == 3
        assert len(model.with_thresholds(score=0.99)(np.zeros((30, 40, 3), np.uint8))) == 0
    monkeypatch.setattr(backend, "why_not", lambda: "edgecv was built without CUDA kernels.")
    with edgecv.load(path) as model:
        assert model.session.backend == "tensorrt simulated, frames fitted on the CPU"
        assert len(model(np.full((30, 40, 3), 200, np.uint8))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, r"runs on the GPU alone: `device` must be auto or cuda, got 'cpu'"),
        ({"backend": "onnxruntime"}, r"is an engine of TensorRT, which onnxruntime cannot open"),
        ({"backend": "torch"}, r"is an engine of TensorRT, which torch cannot open"),
        ({"precision": "fp16"}, r"computes in the precision that it was exported in"),
        ({"cache": Path("c")}, r"with the finished engine.*Leave out `--cache`"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(
    options: dict[str, Any], message: str, written: tuple[Path, EngineRecord]
) -> None:
    with pytest.raises(InputError, match=message):
        open_session(written[0], **options)


def test_another_machine_is_named_with_the_command_that_builds_anew(
    written: tuple[Path, EngineRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, record = written
    for changed, message in (
        (replace(record, tensorrt="9.1.0"), "it was built with TensorRT 9.1.0, and this is"),
        (replace(record, compute_capability="11.0"), r"built for Orin \(compute capability 11.0\)"),
        (replace(record, plugins=FileIdentity("p.so", "00")), "plugins of `p.so`, which are not"),
    ):
        record_path(path).write_text(changed.to_json())
        with pytest.raises(DeviceError, match=f"{message}.*`edgecv build m.onnx -o m.engine`"):
            open_engine(path, RunOptions())
    record_path(path).write_text(replace(record, spec=None).to_json())
    with pytest.raises(SpecError, match=r"built of `m.onnx`, which has no description"):
        open_engine(path, RunOptions())
    monkeypatch.setattr(backend, "find_gpu", lambda: None)
    with pytest.raises(DeviceError, match=r"CUDA finds no GPU here. Check `nvidia-smi`"):
        open_engine(path, RunOptions())


def test_without_tensorrt_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = tmp_path / "m.engine"
    path.touch()
    with pytest.raises(MissingDependencyError, match="TensorRT is not installed"):
        open_session(path)


def test_a_stream_finds_what_onnxruntime_finds(
    load_engine: LoadEngine, exported: Path, scenes: Path, video: Path
) -> None:
    """The whole of `edgecv run`: the engine computes with onnxruntime, on a late device."""
    for head in ("fused", "raw"):
        with edgecv.load(exported / f"{head}.onnx", "cpu", backend="onnxruntime") as graph:
            device = SimulatedDevice(1)
            session = load_engine(_of_graph(exported / f"{head}.onnx", device), device, graph.spec)
            model = Model(session)
            for image in sorted((scenes / "test").glob("*.png"))[:2]:
                found, expected = model(image), graph(image)
                assert isinstance(found, Detections)
                assert isinstance(expected, Detections)
                assert len(found) == len(expected) > 0
                np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
                np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-2)
            streams: list[list[Any]] = [[], []]
            for one, told in zip((model, graph), streams, strict=True):
                run_stream(video, one.with_thresholds(score=0.0), on_result=told.append)
            assert len(streams[0]) == len(streams[1]) == 12
            for here, there in zip(*streams, strict=True):
                # The decoder's yuv420p goes up as it is; its fitting rounds alike on both sides.
                np.testing.assert_allclose(here.result.scores, there.result.scores, atol=1e-5)
            model.close()


def _of_graph(path: Path, device: SimulatedDevice) -> EngineStandIn:
    """An engine of a graph: its defaults are inputs, as the parser has them, its batch is 1."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": "FLOAT", "tensor(int32)": "INT32"}

    def tensors(nodes: Any, shapes: dict[str, Any]) -> dict[str, TensorStandIn]:
        return {one.name: TensorStandIn(kinds[one.type], shapes[one.name]) for one in nodes}

    nodes = [*session.get_inputs(), *session.get_overridable_initializers()]
    shapes = {
        one.name: [side if isinstance(side, int) else 1 for side in one.shape] for one in nodes
    }
    names = [one.name for one in session.get_outputs()]

    def compute(fed: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(names, session.run(names, fed), strict=True))

    zeros = {one.name: np.zeros(shapes[one.name], np.float32) for one in nodes}
    shapes |= {name: value.shape for name, value in compute(zeros).items()}
    outputs = tensors(session.get_outputs(), shapes)
    return EngineStandIn(tensors(nodes, shapes), outputs, (), compute, device.submit)


@pytest.mark.parametrize("kind", ["FLOAT", "HALF"])
def test_a_bundle_opens_the_engine_that_fits_this_machine(
    kind: str,
    known: dict[str, Any],
    make_onnx: Callable[..., Path],
    tmp_path: Path,
    written: tuple[Path, EngineRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version, bundle = written[1].tensorrt, tmp_path / "b.edgecv"
    graph = make_onnx("fp32.onnx")
    add(bundle, read_model(graph, "fp32"))
    names = []
    for gpu in ("Orin", "Other"):
        entry = EngineEntry(gpu, "8.7", version, "fp16", contents_of(PLAN))
        add(bundle, Addition(entry, PLAN))
        names.append(entry.name)
    here = replace(GPU, tensorrt=version)
    machine = Machine("CPU", backends=("tensorrt", "onnxruntime cpu"), gpu=here)
    monkeypatch.setattr(bundled, "this_machine", lambda **_: machine)
    device = SimulatedDevice(0)
    engine = _of_graph(graph, device)
    compute, images_of = engine.compute, next(iter(engine.inputs))
    tensor = replace(engine.inputs[images_of], kind=kind)
    engine.inputs = {**engine.inputs, images_of: tensor}
    engine.compute = lambda fed: compute({name: np.float32(one) for name, one in fed.items()})
    monkeypatch.setattr(backend, "open_gpu", lambda: device)
    monkeypatch.setitem(sys.modules, "tensorrt", make_module(known, Script(engine=engine)))
    frame = np.full((64, 64, 3), 100, np.uint8)
    with edgecv.load(graph, "cpu", backend="onnxruntime") as model:
        expected: Any = model(frame)
    with edgecv.load(bundle) as model:
        assert model.session.backend == f"tensorrt simulated, {names[0]} of b.edgecv"
        assert isinstance(model.session, FrameSession)
        assert model.spec.provenance.precision == "fp16"
        found: Any = model(frame)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    with edgecv.load(bundle, backend="onnxruntime") as model:
        assert model.session.backend == "onnxruntime cpu, fp32 of b.edgecv"
    both = ("tensorrt", "onnxruntime cuda", "onnxruntime cpu")
    machine = Machine("CPU", backends=both, gpu=replace(here, name="Third"))
    with pytest.raises(InputError, match=r"no engine for this machine.*Orin, and this is Third"):
        edgecv.load(bundle, backend="tensorrt")


@pytest.mark.cuda
@pytest.mark.tensorrt
@pytest.mark.skipif(find_gpu() is None, reason="needs an NVIDIA GPU")
def test_a_real_engine_finds_what_onnxruntime_finds(
    exported: Path, scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt")
    from edgecv.export.engine.build import build_engine
    from edgecv.export.engine.source import BuildJob

    model = exported / "raw.onnx"
    engine = tmp_path / "raw.engine"
    build_engine(BuildJob(model, engine, "default"))
    with edgecv.load(engine) as found, edgecv.load(model, "cpu") as expected:
        for image in sorted((scenes / "test").glob("*.png")):
            here, there = found(image), expected(image)
            assert isinstance(here, Detections)
            assert isinstance(there, Detections)
            np.testing.assert_allclose(here.scores, there.scores, atol=0.01)  # of TF32
        assert "without a CUDA graph" not in found.session.backend
