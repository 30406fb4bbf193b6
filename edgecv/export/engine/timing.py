"""Timings of kernels, kept for each kind of device and version, so that builds are quick and alike.

Builds of several processes may end at once: each adds what it timed to what the file holds by then.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgecv.bundle.lock import locked
from edgecv.bundle.machine import Gpu
from edgecv.files import cache_folder, replacing

if TYPE_CHECKING:
    import tensorrt as trt


def timing_file(gpu: Gpu, version: str) -> Path:
    """Return where the timings of a device and a version of TensorRT are kept."""
    device = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    name = f"{device}-sm{gpu.capability.replace('.', '')}-{gpu.multiprocessors}mp"
    return cache_folder() / "tensorrt" / f"{name}-tensorrt-{version}.timing"


def use_timings(config: "trt.IBuilderConfig", path: Path) -> bool:
    """Let a build start from the timings of a file, or from none.

    Returns:
        False if there is a file, and its timings are of another device or version.

    """
    known = path.read_bytes() if path.is_file() else b""
    if config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
        return True
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return False


def keep_timings(config: "trt.IBuilderConfig", path: Path) -> None:
    """Add what a build timed to the file.

    Raises:
        OutputError: if it cannot be written.

    """
    timed = config.get_timing_cache()
    if timed is None:
        return
    with locked(path):
        if path.is_file():  # by now it may hold more than the build began with
            timed.combine(config.create_timing_cache(path.read_bytes()), ignore_mismatch=False)
        with replacing(path) as partial:
            partial.write_bytes(bytes(cast("Any", timed.serialize())))
