"""What an engine cannot do, or this machine cannot with it, is said in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import DeviceError, InputError

from ..tensorrt_stand_in import (  # noqa: TID252  # the tests are no package to import from
    EngineStandIn,
    Script,
    TensorStandIn,
)
from .detector_engine import (
    SIZE_HW,
    LoadEngine,
    detector,
    images,
)
from .simulated_device import SimulatedDevice


def test_too_little_memory_is_said_with_size_and_purpose(load_engine: LoadEngine) -> None:
    device = SimulatedDevice(0)
    session = load_engine(detector(device, (1, 1, 4), scratch_bytes=10**6), device)
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
    has: dict[str, Any], plan: dict[str, Any], message: str, load_engine: LoadEngine
) -> None:
    device = SimulatedDevice(0)
    with pytest.raises(DeviceError, match=message) as caught:
        load_engine(detector(device), device, script=Script(**has), **plan)
    assert "\n" not in str(caught.value)


def test_a_run_that_fails_is_an_error_and_no_graph_is_tried(load_engine: LoadEngine) -> None:
    device = SimulatedDevice(0)
    session = load_engine(detector(device), device, script=Script(runs=False))
    with pytest.raises(DeviceError, match="TensorRT could not run the engine and does not say why"):
        dict(session.run(images(1)))
    session = load_engine(detector(device), device, script=Script(contexts_left=0))
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
    change: Callable[[EngineStandIn], Any], message: str, load_engine: LoadEngine
) -> None:
    device = SimulatedDevice(0)
    engine = detector(device)
    change(engine)
    with pytest.raises(InputError, match=message):
        load_engine(engine, device)


def test_profiles_of_other_images_and_sizes_that_data_decides_are_refused(
    load_engine: LoadEngine,
) -> None:
    device = SimulatedDevice(0)
    small = {"images": tuple((size, 3, 8, 8) for size in (1, 1, 4))}
    engine = detector(device, (1, 1, 4))
    engine.inputs["images"] = TensorStandIn("FLOAT", (-1, 3, -1, -1))  # type: ignore[index]
    with pytest.raises(InputError, match=r"no profile of the engine takes images of \(3, 12, 20\)"):
        load_engine(replace(engine, profiles=[small]), device)
    engine = detector(device, (1, 1, 4), depends_on_data=frozenset({"boxes"}))
    session = load_engine(engine, device)
    with pytest.raises(InputError, match=r"the size of the output `boxes` depends on the image"):
        session.run(images(1))
