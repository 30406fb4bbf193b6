"""An engine that finds objects, for the tests that load, run and refuse engines."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgecv.bundle.machine import Gpu
from edgecv.output_spec import FusedOutput
from edgecv.runtime.tensorrt import TensorrtSession
from edgecv.spec import InputSpec, ModelSpec

from ..tensorrt_stand_in import (  # noqa: TID252  # the tests are no package to import from
    EngineStandIn,
    TensorStandIn,
)
from .simulated_device import SimulatedDevice

LoadEngine = Callable[..., TensorrtSession]

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


def images(size: int, value: float = 0.5) -> Any:
    return np.full((size, 3, *SIZE_HW), value, np.float32)
