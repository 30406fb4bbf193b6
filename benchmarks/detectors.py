"""Size, arithmetic and CPU latency of every detector that finds its objects by itself.

Usage: python benchmarks/detectors.py [--only yolo_n,fcos] [--size 320x416] [--threads 0]
                                      [--repeat 30] [--json FILE]

Each model has random weights and three classes; it is exported with raw heads where it has them,
and timed in onnxruntime on one image of noise. All models take turns, so that a busy machine slows
them alike; the figure is the median. Arithmetic counts multiplications and additions as two.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from edgecv.errors import InputError
from edgecv.export.comparison.parity import Tolerance
from edgecv.export.to_onnx import ExportOptions, export_onnx
from edgecv.models import Network, build_model, model_names, model_task, takes_proposals
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.spec import InputSpec, ModelSpec

_CLASSES = ("a", "b", "c")
_WARM_UP = 3  # turns that do not count
_ANYTHING = Tolerance(relative=1.0, unmatched=1.0, box_px=1e9, score=1.0)  # weights are random


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="models, separated by commas")
    parser.add_argument("--size", default="320x416", help="input, HEIGHTxWIDTH")
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    names = options.only.split(",") if options.only else _detectors()

    machine = {"cpu": cpu_name(), "threads": options.threads or "one per core"}
    print(f"{machine}, {options.size}, {versions_in_use('torch', 'onnxruntime')}")
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as sessions:
        opened = {}
        for name in names:
            model = build_model(name, len(_CLASSES), (height, width)).eval()
            path = _export(model, (height, width), Path(folder) / f"{name}.onnx")
            session = OnnxruntimeSession(path, "cpu", threads=options.threads)
            opened[name] = sessions.enter_context(contextlib.closing(session))
            rows.append({"model": name, **_sizes(model, (height, width))})
        times = _taking_turns(opened, (height, width), options.repeat)
    print(f"{'model':<20} {'parameters':>12} {'GFLOP':>8} {'ms':>8}")
    for row in rows:
        row["latency_ms"] = 1e3 * statistics.median(times[row["model"]])
        print(
            f"{row['model']:<20} {row['parameters'] / 1e6:10.2f} M {row['gflop']:8.2f} "
            f"{row['latency_ms']:8.2f}"
        )
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def _detectors() -> list[str]:
    """Return all but those that look at given regions or heed no objects."""
    detects = ("detect", "instance")
    names = (name for name in model_names() if model_task(name) in detects)
    return [name for name in names if not takes_proposals(name)]


def _export(model: Network, size_hw: tuple[int, int], path: Path) -> Path:
    picture = path.with_suffix(".png")
    Image.fromarray(np.zeros((*size_hw, 3), np.uint8)).save(picture)
    spec = ModelSpec(
        task=model.task,
        classes=_CLASSES,
        input=InputSpec(name="images", size_hw=size_hw),
        output=model.output_spec(),
    )
    try:
        options = ExportOptions(head="raw")
        export_onnx(model, spec, path, [picture], options=options, tolerance=_ANYTHING)
    except InputError:  # a model of two stages has no raw head
        options = ExportOptions(head="fused")
        export_onnx(model, spec, path, [picture], options=options, tolerance=_ANYTHING)
    return path


def _sizes(model: Network, size_hw: tuple[int, int]) -> dict[str, float]:
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(torch.zeros(1, 3, *size_hw))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "gflop": counter.get_total_flops() / 1e9}


def _taking_turns(
    sessions: dict[str, OnnxruntimeSession], size_hw: tuple[int, int], repeat: int
) -> dict[str, list[float]]:
    image = np.random.default_rng(0).random((1, 3, *size_hw), np.float32)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(repeat + _WARM_UP):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(image)
            if turn >= _WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
