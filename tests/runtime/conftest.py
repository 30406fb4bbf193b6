"""What the tests of sessions share."""

import sys
from typing import Any

import pytest

from edgecv.runtime.tensorrt import TensorrtSession
from edgecv.runtime.tensorrt_engine import Plan
from edgecv.spec import ModelSpec

from ..tensorrt_fixtures import bindings, known, plugins  # noqa: TID252  # the tests are no package
from ..tensorrt_stand_in import PLAN, EngineStandIn, Script, make_module  # noqa: TID252
from .detector_engine import SPEC, LoadEngine
from .simulated_device import SimulatedDevice

__all__ = ["bindings", "known", "plugins"]  # fixtures of another place


@pytest.fixture
def load_engine(known: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> LoadEngine:
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
