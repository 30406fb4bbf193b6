"""A whole stream on a GPU against the bare network: what the way in and out costs.

Usage: python benchmarks/gpu_stream.py [MODEL] [--source VIDEO] [--precision fp16] [--size 640]
                                       [--frames 600] [--device cuda] [--json FILE]

MODEL is a checkpoint, or the name of a detector, which then gets random weights: how long it takes
does not depend on them. Without a source the frames are noise, 1920x1080 in `yuv420p` as decoders
make them; those of a source are decoded first, at most 64, and come round and round: the decoder
is not what is measured.

`network` is the CUDA graph alone, launched back to back. `one by one` fits, runs and finishes a
frame before it takes the next. `stream` is the pipeline of `edgecv run`: while the network has one
frame, the next is uploaded and the results of the one before come down. All three take turns, and
the medians of the turns are printed. Overlap is complete where `stream` is as fast as `network`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgecv.closing import Closing
from edgecv.models import build_model
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.runtime.model import Model
from edgecv.runtime.torch import TorchSession, open_checkpoint, open_network, why_no_gpu
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.sources import Frame, Health, open_source

_TURNS = 5
_MOST_KEPT = 64
_MB = 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="yolo_s", help="a checkpoint or a name")
    parser.add_argument("--source", help="a video or pictures; without, noise")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp16")
    parser.add_argument("--size", type=int, default=640, help="side of a named model's input")
    parser.add_argument("--frames", type=int, default=600, help="of each turn")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    reason = why_no_gpu() if options.device == "cuda" else None
    if reason is not None:
        sys.exit(f"gpu_stream: nothing was measured, because {reason}")

    frames = noise() if options.source is None else _decoded(options.source)
    with Model(_opened(options)) as model:
        report = measure(model, frames, options.frames)
    _print(report)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def measure(model: Model, frames: Sequence[Frame], num_frames: int) -> dict[str, Any]:
    """Return the frames a second of each way to run, and what crosses the bus."""
    session = model.session
    assert isinstance(session, TorchSession)  # for the type checker
    session.warm_up()
    ways: dict[str, Callable[[], int]] = {
        "network": lambda: _network(session, num_frames),
        "one by one": lambda: _one_by_one(model, frames, num_frames),
        "stream": lambda: _streamed(model, frames, num_frames),
    }
    fps: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, _TURNS):
        for name, run in ways.items():
            start = time.perf_counter()
            done = run()
            if turn >= 0:
                fps[name].append(done / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in fps.items()}
    frame = frames[0]
    planes = frame.pixels if isinstance(frame.pixels, tuple) else (frame.pixels,)
    outputs = dict(model.infer(_fitted(model, frame)[0]))
    return {
        "machine": {"backend": session.backend, "cpu": cpu_name(), **versions_in_use("torch")},
        "model": model.spec.provenance.model,
        "input_hw": model.spec.input.size_hw,
        "frame": f"{frame.size_hw[1]}x{frame.size_hw[0]} {frame.format}",
        "bytes_up": sum(plane.nbytes for plane in planes),
        "bytes_down": sum(value.nbytes for value in outputs.values()),
        "frames": num_frames,
        "turns": _TURNS,
        "fps": medians,
        "stream_of_network": medians["stream"] / medians["network"],
        "overlap_gain": medians["stream"] / medians["one by one"],
    }


def _network(session: TorchSession, num_frames: int) -> int:
    program = session._programs[1]  # noqa: SLF001  # nobody else runs a network without a frame
    for _ in range(num_frames):
        program.run()
    session._device.synchronize()  # noqa: SLF001
    return num_frames


def _one_by_one(model: Model, frames: Sequence[Frame], num_frames: int) -> int:
    for index in range(num_frames):
        frame = frames[index % len(frames)]
        batch, placement = _fitted(model, frame)
        model.finish(dict(model.infer(batch)), placement)
    return num_frames


def _streamed(model: Model, frames: Sequence[Frame], num_frames: int) -> int:
    with Pipeline(Repeated(frames, num_frames), model) as pipeline:
        return sum(1 for _ in pipeline.results())


class Repeated(Closing):
    """Frames that were decoded before, round and round, as a source."""

    name = "memory"
    is_live = False
    fps: float | None = None
    health = Health()

    def __init__(self, frames: Sequence[Frame], num_frames: int) -> None:
        """Hand out `num_frames` of the frames."""
        self._frames = frames
        self.num_frames: int | None = num_frames
        self.size_hw: tuple[int, int] | None = frames[0].size_hw

    def __iter__(self) -> Iterator[Frame]:
        """Yield them one after the other."""
        for index in range(self.num_frames or 0):
            kept = self._frames[index % len(self._frames)]
            yield Frame(index, kept.pixels, kept.format, matrix=kept.matrix, range=kept.range)

    def close(self) -> None:
        """Do nothing: the frames are kept."""


def _fitted(model: Model, frame: Frame) -> tuple[Any, Any]:
    return model.fit(frame.pixels, format=frame.format, matrix=frame.matrix, range=frame.range)


def _opened(options: argparse.Namespace) -> TorchSession:
    if options.model.endswith(".pt"):
        return open_checkpoint(Path(options.model), options.device, precision=options.precision)
    torch.manual_seed(0)
    size_hw = (options.size, options.size)
    classes = tuple(f"class {index}" for index in range(80))
    network = build_model(options.model, len(classes), size_hw)
    spec = ModelSpec(network.task, classes, InputSpec("images", size_hw), network.output_spec())
    return open_network(network, spec, options.device, options.precision)


def _decoded(source: str) -> list[Frame]:
    with open_source(source) as opened:
        return list(islice(opened, _MOST_KEPT))


def noise() -> list[Frame]:
    """Return frames of noise, 1920x1080 as decoders make them."""
    rng = np.random.default_rng(0)
    sizes_hw = (1080, 1920), (540, 960), (540, 960)
    return [
        Frame(0, tuple(rng.integers(0, 256, size, np.uint8) for size in sizes_hw), "yuv420p")
        for _ in range(8)  # more than a cache holds
    ]


def _print(report: dict[str, Any]) -> None:
    machine = report["machine"]
    print(f"{machine['backend']}; {machine['cpu']}; torch {machine['torch']}")
    up, down = report["bytes_up"] / _MB, report["bytes_down"] / _MB
    print(f"{report['frame']}: {up:.2f} MB up and {down:.4f} MB down a frame")
    for name, fps in report["fps"].items():
        print(f"{name:12} {fps:10.1f} frames/s {1e3 / fps:9.3f} ms a frame")
    print(
        f"The stream reaches {report['stream_of_network']:.0%} of the network alone, "
        f"{report['overlap_gain']:.2f} times one by one (medians of {report['turns']} turns of "
        f"{report['frames']} frames)."
    )


if __name__ == "__main__":
    main()
