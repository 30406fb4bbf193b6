"""Engines on a simulated device: what is asked of each version of TensorRT, and what comes of it.

TensorRT is a stand-in whose classes have the attributes of the real ones, see
`tests/tensorrt_stand_in.py`; its engines compute with onnxruntime or NumPy.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgecv
from edgecv.bundle.machine import Gpu, Machine, find_gpu
from edgecv.bundle.manifest import EngineEntry
from edgecv.bundle.writing import Addition, add, contents_of, read_model
from edgecv.engine_recipe import Recipe
from edgecv.errors import DeviceError, InputError, MissingDependencyError, SpecError
from edgecv.kernels import letterbox
from edgecv.output_spec import FusedOutput, LogitsOutput, ProbabilitiesOutput
from edgecv.results import Detections
from edgecv.runtime import bundled
from edgecv.runtime import tensorrt as backend
from edgecv.runtime.engine_record import EngineRecord, FileIdentity, record_path
from edgecv.runtime.model import Model
from edgecv.runtime.session import FrameSession, RunOptions, open_session
from edgecv.runtime.tensorrt import TensorrtSession, open_engine
from edgecv.runtime.tensorrt_engine import LEAN_RUNTIME, Plan
from edgecv.spec import InputSpec, ModelSpec, ProposalsSpec
from edgecv.stream.run import run_stream

from ..tensorrt_stand_in import (  # noqa: TID252  # the tests are no package to import from
    PLAN,
    EngineStandIn,
    Script,
    TensorStandIn,
    make_module,
)
from .simulated_device import SimulatedDevice

SIZE_HW = (12, 20)
GPU = Gpu("Orin", "8.7", "10.3.0", 8)
SPEC = ModelSpec(
    "detect",
    ("a", "b"),
    InputSpec("images", SIZE_HW),
    FusedOutput(score_threshold="limit", iou_threshold=None),
)
FREE_IMAGES = TensorStandIn("FLOAT", (-1, 3, *SIZE_HW))


def kept(fed: dict[str, Any]) -> dict[str, Any]:
    """The mean of each channel is a score, and those above the limit are kept, in order."""
    scores = np.sort(fed["images"].astype(np.float32).mean(axis=(2, 3)))[:, ::-1]
    is_kept = scores >= fed["limit"]
    boxes = np.tile(np.float32([1, 2, 9, 8]), (*scores.shape, 1))
    return {
        "num_detections": is_kept.sum(axis=1),
        "boxes": np.where(is_kept[..., None], boxes, 0),
        "scores": np.where(is_kept, scores, 0),
        "classes": np.where(is_kept, 1, -1),
    }


def batches(*ranges: tuple[int, int, int]) -> list[dict[str, Any]]:
    return [{"images": tuple((size, 3, *SIZE_HW) for size in one)} for one in ranges]


def detector(device: SimulatedDevice, *ranges: tuple[int, int, int], **has: Any) -> EngineStandIn:
    """An engine of one threshold; of a fixed batch of 2 where no profile is given."""
    size = -1 if ranges else 2
    engine = EngineStandIn(
        {
            "images": TensorStandIn("FLOAT", (size, 3, *SIZE_HW)),
            "limit": TensorStandIn("FLOAT", ()),
        },
        {
            "num_detections": TensorStandIn("INT32", (size,)),
            "boxes": TensorStandIn("FLOAT", (size, 3, 4)),
            "scores": TensorStandIn("HALF", (size, 3)),
            "classes": TensorStandIn("INT32", (size, 3)),
        },
        batches(*ranges),
        kept,
        device.submit,
        scratch_bytes=1000,
    )
    return replace(engine, **has)


Load = Callable[..., TensorrtSession]


@pytest.fixture
def load(known: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load an engine on a device, in the stand-in of a version."""
    modules: dict[str, Any] = {}

    def put(
        engine: EngineStandIn,
        device: SimulatedDevice,
        spec: ModelSpec = SPEC,
        script: Script | None = None,
        **plan: Any,
    ) -> TensorrtSession:
        script = script or Script()
        script.engine = engine
        device.log = script.freed
        if modules.get("script") is not script:
            modules.update(script=script, module=make_module(known, script))
        monkeypatch.setitem(sys.modules, "tensorrt", modules["module"])
        return TensorrtSession(Plan("m.engine", PLAN, **plan), spec, device)

    return put


@pytest.fixture
def at_rest(load: Load) -> tuple[TensorrtSession, Script, SimulatedDevice]:
    """An engine of up to 4 images, and what was asked of it."""
    script, device = Script(), SimulatedDevice(0)
    session = load(detector(device, (1, 1, 4)), device, script=script)
    return session, script, device


def images(size: int, value: float = 0.5) -> Any:
    return np.full((size, 3, *SIZE_HW), value, np.float32)


def test_what_is_asked_of_each_version(
    at_rest: tuple[TensorrtSession, Script, SimulatedDevice],
) -> None:
    session, script, device = at_rest
    shape = [1, 3, *SIZE_HW]
    dict(session.run(images(1)))
    dict(session.run(images(1), {"limit": 0.9}))
    handle = device.handle(device.streams[2])
    asked = [call for call in script.calls if not call.startswith("ICudaEngine.get_tensor")]
    addresses = [call for call in asked if "set_tensor_address" in call]
    assert [call.split("(")[1].split(",")[0] for call in addresses] == [
        "'images'",
        "'limit'",
        "'num_detections'",
        "'boxes'",
        "'scores'",
        "'classes'",
    ]
    others = [call for call in asked if "set_tensor_address" not in call]
    memory = next(call for call in others if "set_device_memory" in call)
    assert memory.endswith(", 1000)")
    assert others == [
        "Runtime",
        "Runtime.engine_host_code_allowed = False",
        "Runtime.deserialize_cuda_engine(bytes)",
        "ICudaEngine.create_execution_context(USER_MANAGED)",
        f"IExecutionContext.set_input_shape('images', {shape})",
        "IExecutionContext.infer_shapes()",
        "IExecutionContext.update_device_memory_size_for_shapes()",
        memory,
        *[f"IExecutionContext.get_tensor_shape('{name}')" for name in _OUTPUTS],
        # Once as it is, which settles the new shape, once taken down, and never again.
        *[f"IExecutionContext.execute_async_v3({handle})"] * 2,
    ]


_OUTPUTS = ("num_detections", "boxes", "scores", "classes")


def test_each_number_of_images_has_a_context_and_a_warm_up_of_its_own(
    at_rest: tuple[TensorrtSession, Script, SimulatedDevice],
) -> None:
    session, script, device = at_rest
    for size in (1, 3, 1, 3, 2):
        outputs = session.run(images(size))
        assert outputs["boxes"].shape == (size, 3, 4)
    made = [call for call in script.calls if "create_execution_context" in call]
    runs = [call for call in script.calls if "execute_async_v3" in call]
    assert (len(made), len(runs)) == (3, 6)
    # Layers work in one piece of memory: 2 images do with that of 3.
    assert [size for size in device.num_bytes_taken if size % 1000 == 0] == [1000, 3000]


def test_results_cross_the_bus_and_nothing_else(load: Load) -> None:
    device = SimulatedDevice(0)
    session = load(detector(device, (1, 1, 4)), device)
    session.warm_up()
    device.num_copied = dict.fromkeys(device.num_copied, 0)
    frame = np.zeros((32, 64, 3), np.uint8)
    batch, _ = session.stage(frame, format="rgb24", matrix="bt601", range="full")
    outputs = session.run(batch)
    assert outputs["scores"].dtype == np.float32  # the engine's are float16
    assert device.num_copied["up"] == frame.nbytes
    # Each output begins at a multiple of 256 bytes, as TensorRT wants it.
    assert device.num_copied["down"] == 3 * 256 + 3 * 4


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), captures=st.booleans())
def test_frames_thresholds_and_results_keep_together(
    bindings: Path,
    seed: int,
    captures: bool,  # noqa: FBT001
) -> None:
    """On a device that does its work late, and in any order that its events allow."""
    rng = np.random.default_rng(seed)
    device = SimulatedDevice(seed, captures=captures)
    script = Script(engine=detector(device, (1, 1, 2), (2, 3, 4)))
    surface = json.loads((bindings / "surface.json").read_text())
    logging.disable(logging.WARNING)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "tensorrt", make_module(surface, script))
        session = TensorrtSession(Plan("m.engine", PLAN), SPEC, device)
        pending: list[tuple[Any, Any]] = []
        for _ in range(10):
            limit = float(np.float32(rng.choice([0.3, 0.45, 0.6])))
            frames = [
                rng.integers(0, 256, (*rng.integers(4, 30, 2), 3), np.uint8)
                for _ in range(rng.integers(1, 5))
            ]
            inputs = np.stack([letterbox(one, SIZE_HW, format="rgb24")[0] for one in frames])
            colours: Any = {"format": "rgb24", "matrix": "bt601", "range": "limited"}
            batch: Any = inputs
            if rng.random() < 0.7:
                batch = [session.stage(one, **colours)[0] for one in frames]
            expected = kept({"images": inputs, "limit": np.float32(limit)})
            pending.append((session.run(batch, {"limit": limit}), expected))
            del batch
            while len(pending) > rng.integers(0, 4):
                _same(*pending.pop(0))
        for one in pending:
            _same(*one)
        session.close()
    logging.disable(logging.NOTSET)


def _same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)  # of float16
    for name in ("num_detections", "classes", "boxes"):
        np.testing.assert_array_equal(found[name], expected[name])


def test_everything_is_given_back_in_order(
    at_rest: tuple[TensorrtSession, Script, SimulatedDevice],
) -> None:
    session, script, _ = at_rest
    pending = session.run(images(2))
    session.run(images(1))
    session.close()
    session.close()
    assert script.freed[:4] == ["~Context", "~Context", "~Engine", "~Runtime"]
    assert set(script.freed[4:]) == {"~memory"}
    assert pending["num_detections"].tolist() == [3, 3]  # what was on its way arrives
    with pytest.raises(ValueError, match=r"TensorrtSession\.run: the session is closed"):
        session.run(images(1))


def test_sessions_do_not_know_of_each_other(load: Load) -> None:
    script, devices = Script(), [SimulatedDevice(seed) for seed in range(3)]
    sessions = [load(detector(one, (1, 1, 4)), one, script=script) for one in devices]
    pending = [
        (session.run(images(1, value), {"limit": 0.5}), value)
        for value in (0.25, 0.75)
        for session in sessions
    ]
    sessions[1].close()
    for outputs, value in reversed(pending):
        assert outputs["num_detections"].tolist() == [3 if value > 0.5 else 0]
    assert sessions[0].run(images(2))["num_detections"].tolist() == [3, 3]


def test_what_cannot_be_captured_runs_and_is_said_once(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    script, device = Script(), SimulatedDevice(0, captures=False)
    session = load(detector(device, (1, 1, 4)), device, script=script)
    for size in (1, 2, 1):
        assert session.run(images(size))["num_detections"].tolist() == [3] * size
    assert [record.message for record in caplog.records] == [
        "the network waits for the device. Its kernels are launched one by one."
    ]
    assert session.backend == "tensorrt simulated without a CUDA graph"
    # A warm-up for each of two shapes, and a launch for each run.
    assert sum("execute_async_v3" in call for call in script.calls) == 2 + 3


def test_a_fixed_batch_is_filled_and_cut(load: Load) -> None:
    device = SimulatedDevice(0)
    session = load(detector(device), device)
    assert {len(value) for value in session.run(images(1)).values()} == {1}
    outputs = session.run(np.concatenate([images(1, 0.25), images(1, 0.75)]), {"limit": 0.5})
    assert outputs["num_detections"].tolist() == [0, 3]
    assert session.max_batch == 2
    with pytest.raises(ValueError, match=r"`batch` must hold at most 2 images.*got 3"):
        session.run(images(3))


def test_the_profile_that_was_tuned_for_as_many_is_taken(load: Load) -> None:
    script, device = Script(), SimulatedDevice(0)
    session = load(detector(device, (2, 2, 8), (4, 8, 8)), device, script=script)
    for size in (1, 4, 7):
        assert session.run(images(size))["num_detections"].tolist() == [3] * size
    assert session.max_batch == 8
    chosen = [call for call in script.calls if "set_optimization_profile" in call]
    assert [call.split("(")[1][0] for call in chosen] == ["0", "0", "1"]
    shapes = [call for call in script.calls if "set_input_shape" in call]
    assert (
        f"IExecutionContext.set_input_shape('images', [2, 3, {SIZE_HW[0]}, {SIZE_HW[1]}])" in shapes
    )


def test_a_raw_head_is_left_to_the_processor(load: Load) -> None:
    spec = ModelSpec("classify", ("r", "g", "b"), InputSpec("images", SIZE_HW), LogitsOutput())
    device = SimulatedDevice(0)
    engine = EngineStandIn(
        {"images": FREE_IMAGES},
        {"logits": TensorStandIn("FLOAT", (-1, 3))},
        batches((1, 1, 1)),
        lambda fed: {"logits": fed["images"].mean(axis=(2, 3))},
        device.submit,
    )
    model = Model(load(engine, device, spec))
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[..., 1] = 255
    result: Any = model(frame, format="rgb24")
    assert result.probabilities.argmax() == 1


def test_regions_are_an_input(load: Load) -> None:
    spec = replace(SPEC, proposals=ProposalsSpec("regions", 5, None))
    device = SimulatedDevice(0)
    engine = detector(device, (1, 1, 4))
    engine.inputs = {**engine.inputs, "regions": TensorStandIn("FLOAT", (-1, 5, 4))}
    for one in engine.profiles:
        one["regions"] = ((1, 5, 4), (1, 5, 4), (4, 5, 4))  # type: ignore[index]

    def compute(fed: dict[str, Any]) -> dict[str, Any]:
        return kept(fed) | {"boxes": fed["regions"][:, :3]}

    engine.compute = compute
    session = load(engine, device, spec)
    session.warm_up()
    regions = np.arange(40, dtype=np.float32).reshape(2, 5, 4)
    found = session.run(images(2), {"limit": 0.0}, regions)
    np.testing.assert_array_equal(found["boxes"], regions[:, :3])


def test_half_precision_channels_last_images(load: Load) -> None:
    wanted = InputSpec("images", SIZE_HW, layout="nhwc", dtype="float16")
    spec = ModelSpec("classify", ("r", "g", "b"), wanted, ProbabilitiesOutput())
    device = SimulatedDevice(0)
    engine = EngineStandIn(
        {"images": TensorStandIn("HALF", (1, *SIZE_HW, 3))},
        {"probabilities": TensorStandIn("HALF", (1, 3))},
        compute=lambda fed: {"probabilities": fed["images"].mean(axis=(1, 2))},
        submit=device.submit,
    )
    session = load(engine, device, spec)
    frame = np.full((*SIZE_HW, 3), (51, 102, 204), np.uint8)
    batch, _ = session.stage(frame, format="rgb24", matrix="bt601", range="full")
    np.testing.assert_allclose(session.run(batch)["probabilities"], [[0.2, 0.4, 0.8]], atol=1e-3)
    assert not session.spec.postprocess.max_detections < 1


def test_too_little_memory_is_said_with_size_and_purpose(load: Load) -> None:
    device = SimulatedDevice(0)
    session = load(detector(device, (1, 1, 4), scratch_bytes=10**6), device)
    device.num_bytes_left = 50_000
    message = r"no room for 1000000 bytes of what the layers of `m.engine` work in: it has \d+ left"
    with pytest.raises(DeviceError, match=message):
        session.run(images(1))
    device.num_bytes_left = None
    assert session.run(images(1))["num_detections"].tolist() == [3]  # and it recovers


@pytest.mark.parametrize(
    ("has", "plan", "message"),
    [
        ({"num_dla_cores": 1}, {"dla_core": 1}, r"accelerator 1, and this machine has 1"),
        ({"plugins_load": False}, {"plugins": Path("p.so")}, r"cannot load the plugins of `p.so`"),
        (
            {"plan": None, "errors": ("no memory for weights",)},
            {},
            r"TensorRT cannot load the engine of 6 bytes: no memory for weights\. Close",
        ),
        ({}, {"lean_version": "10.1"}, r"lean runtime of 10\.1.*\$EDGECV_LEAN_RUNTIME"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    has: dict[str, Any], plan: dict[str, Any], message: str, load: Load
) -> None:
    device = SimulatedDevice(0)
    with pytest.raises(DeviceError, match=message) as caught:
        load(detector(device), device, script=Script(**has), **plan)
    assert "\n" not in str(caught.value)


def test_what_an_engine_needs_is_loaded_first(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEAN_RUNTIME, "lean.so")
    script, device = Script(num_dla_cores=2), SimulatedDevice(0)
    plan: dict[str, Any] = {"plugins": Path("p.so"), "dla_core": 1, "lean_version": "10.1"}
    load(detector(device), device, script=script, **plan)
    asked = [call for call in script.calls if call.startswith(("Runtime", "IPluginRegistry"))]
    assert asked == [
        "Runtime",
        "Runtime.load_runtime('lean.so')",
        "Runtime",
        "Runtime.engine_host_code_allowed = False",
        "Runtime.DLA_core = 1",
        "Runtime.get_plugin_registry()",
        "IPluginRegistry.load_library('p.so')",
        "Runtime.deserialize_cuda_engine(bytes)",
    ]


def test_a_run_that_fails_is_an_error_and_no_graph_is_tried(load: Load) -> None:
    device = SimulatedDevice(0)
    session = load(detector(device), device, script=Script(runs=False))
    with pytest.raises(DeviceError, match="TensorRT could not run the engine and does not say why"):
        dict(session.run(images(1)))
    session = load(detector(device), device, script=Script(contexts_left=0))
    with pytest.raises(DeviceError, match="no memory for another context"):
        session.run(images(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda one: one.inputs.update(odd=TensorStandIn("FLOAT", (2,))),
            r"wants an input `odd`, of which its description says nothing",
        ),
        (
            lambda one: one.inputs.update(limit=TensorStandIn("FLOAT", (3,))),
            r"`limit` must be one float32, got tensor\(float\) \(3,\)",
        ),
        (lambda one: one.inputs.pop("limit"), r"`output.score_threshold` names `limit`"),
        (
            lambda one: one.inputs.update(images=TensorStandIn("UINT8", (2, 3, *SIZE_HW))),
            r"`input` describes float32",
        ),
        (
            lambda one: one.outputs.update(boxes=TensorStandIn("BF16", (2, 3, 4))),
            r"`boxes` is BF16, which NumPy does not have",
        ),
        (
            lambda one: setattr(one, "on_host", frozenset({"limit"})),
            r"`limit` holds a shape, which the engine keeps on the host",
        ),
    ],
)
def test_an_engine_that_its_description_contradicts_is_refused(
    change: Callable[[EngineStandIn], Any], message: str, load: Load
) -> None:
    device = SimulatedDevice(0)
    engine = detector(device)
    change(engine)
    with pytest.raises(InputError, match=message):
        load(engine, device)


def test_profiles_of_other_images_and_sizes_that_data_decides_are_refused(load: Load) -> None:
    device = SimulatedDevice(0)
    small = {"images": tuple((size, 3, 8, 8) for size in (1, 1, 4))}
    engine = detector(device, (1, 1, 4))
    engine.inputs["images"] = TensorStandIn("FLOAT", (-1, 3, -1, -1))  # type: ignore[index]
    with pytest.raises(InputError, match=r"no profile of the engine takes images of \(3, 12, 20\)"):
        load(replace(engine, profiles=[small]), device)
    engine = detector(device, (1, 1, 4), depends_on_data=frozenset({"boxes"}))
    session = load(engine, device)
    with pytest.raises(InputError, match=r"the size of the output `boxes` depends on the image"):
        session.run(images(1))


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
    load: Load, exported: Path, scenes: Path, video: Path
) -> None:
    """The whole of `edgecv run`: the engine computes with onnxruntime, on a late device."""
    for head in ("fused", "raw"):
        with edgecv.load(exported / f"{head}.onnx", "cpu", backend="onnxruntime") as graph:
            device = SimulatedDevice(1)
            session = load(_of_graph(exported / f"{head}.onnx", device), device, graph.spec)
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
