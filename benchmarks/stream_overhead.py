"""What the stream itself costs: Python's share of a frame, with a model that does nothing.

Usage: python benchmarks/stream_overhead.py [--sources 8] [--fps 30] [--model-ms 1] [--seconds 10]
                                            [--batch N] [--every] [--turns 3] [--json FILE]

Each source gives one and the same 1280x720 frame, `--fps` times a second on its own clock, as a
camera does; with `--every` as fast as it is taken, as a file does, and the first source alone. The
model's network sleeps for `--model-ms`, which takes no processor, its fit and its decoder return at
once: what is left is the stream. Its processor time is that of the whole process, divided by the
frames; `busy` is the same as a share of one core. The medians of the turns are printed, and their
spread: on a shared machine caches and switches belong to others too.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.closing import Closing
from edgecv.frame_formats import Pixels
from edgecv.output_spec import YoloOutput
from edgecv.placement import Placement
from edgecv.provenance import cpu_name
from edgecv.results import Detections
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.sources import Frame, Health

_SIZE_HW = (720, 1280)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=8)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--model-ms", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, help="frames of a batch; default: 1")
    parser.add_argument("--every", action="store_true", help="one source, as fast as it goes")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    turns = [measure(options) for _ in range(options.turns)]
    report: dict[str, Any] = {
        "cpu": cpu_name(),
        "options": {key: str(value) for key, value in vars(options).items()},
        **{key: [turn[key] for turn in turns] for key in turns[0]},
    }
    for key in turns[0]:
        values = [turn[key] for turn in turns]
        spread = f"{min(values):10.2f} to {max(values):.2f}"
        print(f"{key:28} {statistics.median(values):10.2f}   {spread}")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one turn."""
    model = NullModel(options.model_ms)
    if options.every:
        num_frames = round(options.seconds * 1e3 / max(options.model_ms, 0.2))
        sources = [Memory("memory", num_frames, None)]
    else:
        num_frames = round(options.seconds * options.fps)
        sources = [
            Memory(f"camera {number}", num_frames, options.fps) for number in range(options.sources)
        ]
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    with Pipeline(sources, model, max_batch=options.batch) as pipeline:  # type: ignore[arg-type]
        num_delivered = sum(1 for _ in pipeline.results())
    cpu_s, wall_s = time.process_time() - begin_cpu_s, time.perf_counter() - begin_s
    latency = pipeline.book.latency()
    return {
        "delivered frames": num_delivered,
        "dropped frames": pipeline.num_dropped,
        "frames a second": num_delivered / wall_s,
        "runs of the network": model.num_runs,
        "processor us a frame": cpu_s / num_delivered * 1e6,
        "busy % of a core": cpu_s / wall_s * 100,
        "latency median ms": 0.0 if latency is None else latency.median_ms,
        "latency p99 ms": 0.0 if latency is None else latency.p99_ms,
    }


class NullModel:
    """A model whose network sleeps and whose other steps take nothing."""

    spec = ModelSpec("detect", ("thing",), InputSpec("images", (8, 8)), YoloOutput())
    answers_later, num_requests = False, 1
    backend = "none"
    max_batch = 16
    prefers_batches = False

    def __init__(self, model_ms: float) -> None:
        """Make one whose network takes so long."""
        self.num_runs = 0
        self._sleep_s = model_ms / 1e3
        self._placement = Placement.of(_SIZE_HW, (8, 8), "letterbox")
        self._nothing = Detections.empty()

    def fit(self, frame: Pixels, *, out: np.ndarray, **_: object) -> tuple[np.ndarray, Placement]:
        """Return what was given."""
        del frame
        return out[None], self._placement

    def stages(self, _format: str) -> bool:
        """Return that nothing is fitted on a device."""
        return False

    def infer(self, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        """Sleep."""
        self.num_runs += 1
        if self._sleep_s:
            time.sleep(self._sleep_s)
        return {"output0": batch}

    def backend_of(self, _outputs: Mapping[str, np.ndarray]) -> str:
        """Return that there is none."""
        return self.backend

    def finish(self, outputs: Mapping[str, np.ndarray], placement: Placement) -> Detections:
        """Find nothing."""
        del outputs, placement
        return self._nothing


class Memory(Closing):
    """One and the same frame, again and again."""

    size_hw: tuple[int, int] | None = _SIZE_HW
    health = Health()

    def __init__(self, name: str, num_frames: int, fps: float | None) -> None:
        """Make one of so many frames, live with a rate."""
        self.name, self.num_frames, self.fps = name, num_frames, fps
        self.is_live = fps is not None
        self._pixels = np.zeros((*_SIZE_HW, 3), np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        """Yield it on the source's own clock, or at once."""
        begin_s = time.perf_counter()
        for index in range(self.num_frames):
            pts_s = index / (self.fps or 1e3)
            if self.fps is not None:
                time.sleep(max(0.0, begin_s + pts_s - time.perf_counter()))
            yield Frame(index, self._pixels, "bgr24", pts_s=pts_s)

    def close(self) -> None:
        """Do nothing."""


if __name__ == "__main__":
    main()
