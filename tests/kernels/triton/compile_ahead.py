"""Compile every kernel that the operators launch, for GPUs that need not be there.

Usage: python compile_ahead.py ARCHITECTURE..., without TRITON_INTERPRET. Prints a line of JSON for
each kernel: what was compiled, and what the machine code needs.

The operators run as they are, on CPU tensors that are never read. Triton believes in a device of
the architecture, and each launch ends where the kernel would be handed to it.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from edgecv.kernels import letterbox_batch, roi_align_pyramid
from edgecv.kernels import roi_align as align_one
from edgecv.kernels.triton import arguments, candidates, letterbox, nms, resize_argmax, roi_align

fit = partial(letterbox_batch, implementation="triton")
align = partial(align_one, implementation="triton")
align_levels = partial(roi_align_pyramid, implementation="triton")

Kernel = Any  # triton.compiler.CompiledKernel


class AbsentDevice:
    """The driver of one device of an architecture."""

    def __init__(self, architecture: int) -> None:
        self._target = GPUTarget("cuda", architecture, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return int(self._target.arch)  # kernels are kept for each device by its number

    def get_current_stream(self, _device: int) -> int:
        return 0


def launch_everything() -> None:
    """Call each operator in the variants that compile to code of their own, as models would."""
    half = torch.float16
    for dtype in (torch.float32, half):
        for agnostic, layout in ((False, "nc"), (True, "cn")):
            shape = (4, 8400, 80) if layout == "nc" else (4, 80, 8400)
            nms.edge_nms(
                torch.empty(4, 8400, 4),
                torch.empty(shape, dtype=dtype),
                score_threshold=torch.empty(1),
                iou_threshold=torch.empty(1),
                max_detections=300,
                class_agnostic=agnostic,
                layout=layout,
                box_rows=torch.empty(4, 300, dtype=torch.int32) if agnostic else None,
            )
        for channels_last in (False, True):
            order = torch.channels_last if channels_last else torch.contiguous_format
            levels = [
                torch.empty(2, 256, 160 >> k, 160 >> k, dtype=dtype, memory_format=order)
                for k in range(4)
            ]
            for sampling_ratio in (0, 2):
                align_levels(
                    levels,
                    torch.empty(1000, 4),
                    (7, 7),
                    spatial_scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32),
                    batch_ids=torch.empty(1000, dtype=torch.int32),
                    sampling_ratio=sampling_ratio,
                )
        align(levels[0], torch.empty(2, 9, 4), (14, 14), spatial_scale=0.25, aligned=False)
        logits = torch.empty(2, 21, 135, 240, dtype=dtype)
        confidence = torch.empty(2, 1080, 1920)
        resize_argmax.resize_argmax(logits, (1080, 1920))
        resize_argmax.resize_argmax(logits, (1080, 1920), confidence=confidence)
    for form, shape in (
        ("nv12", (1620, 1920)),
        ("yuv420p", (1620, 1920)),
        ("bgr24", (1080, 1920, 3)),
        ("rgb24", (1080, 1920, 3)),
        ("gray8", (1080, 1920)),
    ):
        frames = torch.empty((2, *shape), dtype=torch.uint8)
        fit(frames, (640, 640), format=form, dtype="float16")
    frames = torch.empty((1, 1620, 1920), dtype=torch.uint8)
    fit(frames, (640, 640), format="nv12", colour="gray")
    frames = torch.empty((1, 1080, 1920, 2), dtype=torch.uint8)
    fit(frames, (640, 640), format="yuyv422", layout="hwc", dtype="uint8")
    # Sides whose sample points take 64 bits.
    frames = torch.empty((1, 1, 10_001, 3), dtype=torch.uint8)
    fit(frames, (640, 640), fit="centre-crop", colour="bgr")


def compiled_kernels(architecture: int) -> list[Kernel]:
    run = JITFunction.run
    found: dict[str, Kernel] = {}

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        assert not warmup
        kernel = run(self, *args, grid=grid, warmup=True, **options)
        found[kernel.hash] = kernel

    triton.runtime.driver.set_active(AbsentDevice(architecture))
    with (
        mock.patch.object(JITFunction, "run", compile_only),
        mock.patch.object(arguments, "check_device"),
        mock.patch.object(letterbox, "check_device"),
    ):
        launch_everything()
    return list(found.values())


def every_kernel() -> Iterator[str]:
    """The names of the kernels in the operators' modules."""
    for module in (candidates, letterbox, nms, resize_argmax, roi_align):
        yield from (
            value.fn.__name__
            for name, value in vars(module).items()
            if isinstance(value, JITFunction) and name.endswith("_kernel")
        )


def resources(kernel: Kernel) -> dict[str, int]:
    """Registers of a thread, and bytes of local memory: where they are spilled, and arrays."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    values = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", report)}
    return {"registers": values["REG"], "local_bytes": values["STACK"] + values["LOCAL"]}


def main() -> None:
    assert Path(knobs.nvidia.cuobjdump.path).is_file()
    kernels = []
    for architecture in sys.argv[1:]:
        compiled = compiled_kernels(int(architecture))
        missing = {*every_kernel()} - {kernel.name for kernel in compiled}
        assert not missing, f"never launched: {missing}"
        kernels += compiled
    for kernel in kernels:
        (target,) = re.findall(r"^\.target (\w+)", kernel.asm["ptx"], flags=re.MULTILINE)
        shared = kernel.metadata.shared
        facts = {"name": kernel.name, "target": target, "cubin": len(kernel.asm["cubin"])}
        facts |= {"warps": kernel.metadata.num_warps, "shared_bytes": shared, **resources(kernel)}
        sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
