"""Engines on a simulated device: what is asked of each version of TensorRT, and what comes of it.

TensorRT is a stand-in whose classes have the attributes of the real ones, see
`tests/tensorrt_stand_in.py`; its engines compute with onnxruntime or NumPy.
"""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.kernels import letterbox
from edgecv.output_spec import LogitsOutput, ProbabilitiesOutput
from edgecv.runtime.model import Model
from edgecv.runtime.tensorrt import TensorrtSession
from edgecv.runtime.tensorrt_engine import LEAN_RUNTIME, Plan
from edgecv.spec import InputSpec, ModelSpec, ProposalsSpec

from ..tensorrt_stand_in import (  # noqa: TID252  # the tests are no package to import from
    PLAN,
    EngineStandIn,
    Script,
    TensorStandIn,
    make_module,
)
from .detector_engine import (
    FREE_IMAGES,
    SIZE_HW,
    SPEC,
    LoadEngine,
    batches,
    detector,
    images,
    kept,
)
from .simulated_device import SimulatedDevice


@pytest.fixture
def at_rest(load_engine: LoadEngine) -> tuple[TensorrtSession, Script, SimulatedDevice]:
    """An engine of up to 4 images, and what was asked of it."""
    script, device = Script(), SimulatedDevice(0)
    session = load_engine(detector(device, (1, 1, 4)), device, script=script)
    return session, script, device


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


def test_results_cross_the_bus_and_nothing_else(load_engine: LoadEngine) -> None:
    device = SimulatedDevice(0)
    session = load_engine(detector(device, (1, 1, 4)), device)
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


def test_sessions_do_not_know_of_each_other(load_engine: LoadEngine) -> None:
    script, devices = Script(), [SimulatedDevice(seed) for seed in range(3)]
    sessions = [load_engine(detector(one, (1, 1, 4)), one, script=script) for one in devices]
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
    load_engine: LoadEngine, caplog: pytest.LogCaptureFixture
) -> None:
    script, device = Script(), SimulatedDevice(0, captures=False)
    session = load_engine(detector(device, (1, 1, 4)), device, script=script)
    for size in (1, 2, 1):
        assert session.run(images(size))["num_detections"].tolist() == [3] * size
    assert [record.message for record in caplog.records] == [
        "the network waits for the device. Its kernels are launched one by one."
    ]
    assert session.backend == "tensorrt simulated without a CUDA graph"
    # A warm-up for each of two shapes, and a launch for each run.
    assert sum("execute_async_v3" in call for call in script.calls) == 2 + 3


def test_a_fixed_batch_is_filled_and_cut(load_engine: LoadEngine) -> None:
    device = SimulatedDevice(0)
    session = load_engine(detector(device), device)
    assert {len(value) for value in session.run(images(1)).values()} == {1}
    outputs = session.run(np.concatenate([images(1, 0.25), images(1, 0.75)]), {"limit": 0.5})
    assert outputs["num_detections"].tolist() == [0, 3]
    assert session.max_batch == 2
    with pytest.raises(ValueError, match=r"`batch` must hold at most 2 images.*got 3"):
        session.run(images(3))


def test_the_profile_that_was_tuned_for_as_many_is_taken(load_engine: LoadEngine) -> None:
    script, device = Script(), SimulatedDevice(0)
    session = load_engine(detector(device, (2, 2, 8), (4, 8, 8)), device, script=script)
    for size in (1, 4, 7):
        assert session.run(images(size))["num_detections"].tolist() == [3] * size
    assert session.max_batch == 8
    chosen = [call for call in script.calls if "set_optimization_profile" in call]
    assert [call.split("(")[1][0] for call in chosen] == ["0", "0", "1"]
    shapes = [call for call in script.calls if "set_input_shape" in call]
    assert (
        f"IExecutionContext.set_input_shape('images', [2, 3, {SIZE_HW[0]}, {SIZE_HW[1]}])" in shapes
    )


def test_a_raw_head_is_left_to_the_processor(load_engine: LoadEngine) -> None:
    spec = ModelSpec("classify", ("r", "g", "b"), InputSpec("images", SIZE_HW), LogitsOutput())
    device = SimulatedDevice(0)
    engine = EngineStandIn(
        {"images": FREE_IMAGES},
        {"logits": TensorStandIn("FLOAT", (-1, 3))},
        batches((1, 1, 1)),
        lambda fed: {"logits": fed["images"].mean(axis=(2, 3))},
        device.submit,
    )
    model = Model(load_engine(engine, device, spec))
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[..., 1] = 255
    result: Any = model(frame, format="rgb24")
    assert result.probabilities.argmax() == 1


def test_regions_are_an_input(load_engine: LoadEngine) -> None:
    spec = replace(SPEC, proposals=ProposalsSpec("regions", 5, None))
    device = SimulatedDevice(0)
    engine = detector(device, (1, 1, 4))
    engine.inputs = {**engine.inputs, "regions": TensorStandIn("FLOAT", (-1, 5, 4))}
    for one in engine.profiles:
        one["regions"] = ((1, 5, 4), (1, 5, 4), (4, 5, 4))  # type: ignore[index]

    def compute(fed: dict[str, Any]) -> dict[str, Any]:
        return kept(fed) | {"boxes": fed["regions"][:, :3]}

    engine.compute = compute
    session = load_engine(engine, device, spec)
    session.warm_up()
    regions = np.arange(40, dtype=np.float32).reshape(2, 5, 4)
    found = session.run(images(2), {"limit": 0.0}, regions)
    np.testing.assert_array_equal(found["boxes"], regions[:, :3])


def test_half_precision_channels_last_images(load_engine: LoadEngine) -> None:
    wanted = InputSpec("images", SIZE_HW, layout="nhwc", dtype="float16")
    spec = ModelSpec("classify", ("r", "g", "b"), wanted, ProbabilitiesOutput())
    device = SimulatedDevice(0)
    engine = EngineStandIn(
        {"images": TensorStandIn("HALF", (1, *SIZE_HW, 3))},
        {"probabilities": TensorStandIn("HALF", (1, 3))},
        compute=lambda fed: {"probabilities": fed["images"].mean(axis=(1, 2))},
        submit=device.submit,
    )
    session = load_engine(engine, device, spec)
    frame = np.full((*SIZE_HW, 3), (51, 102, 204), np.uint8)
    batch, _ = session.stage(frame, format="rgb24", matrix="bt601", range="full")
    np.testing.assert_allclose(session.run(batch)["probabilities"], [[0.2, 0.4, 0.8]], atol=1e-3)
    assert not session.spec.postprocess.max_detections < 1


def test_what_an_engine_needs_is_loaded_first(
    load_engine: LoadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEAN_RUNTIME, "lean.so")
    script, device = Script(num_dla_cores=2), SimulatedDevice(0)
    plan: dict[str, Any] = {"plugins": Path("p.so"), "dla_core": 1, "lean_version": "10.1"}
    load_engine(detector(device), device, script=script, **plan)
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
