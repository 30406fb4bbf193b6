"""Engines of TensorRT against the other backends of one GPU, from the decoder to the result.

Usage: python benchmarks/tensorrt.py [--models yolo_s,faster_rcnn] [--precisions fp32,fp16,int8]
                                     [--source VIDEO] [--size 640] [--recipe workstation]
                                     [--turns 300] [--frames 600] [--device cuda] [--json FILE]

It needs an NVIDIA GPU, TensorRT, edgecv with its plugins, PyTorch and onnxruntime-gpu. `--device
cpu` measures what runs without them, to try the script. Models are named and get random weights:
how long they take does not depend on them, but for the regions of two-stage detectors, which are
always as many as there can be.

`network` is `infer` on an image that was fitted before: median and 95th percentile of `--turns`
calls, in which all backends take part one after the other; inputs and results cross the bus. The
L2 cache is not flushed, as a stream does not flush it either: the upload and the fitting of the
next frame pass through it. Engines and PyTorch run as CUDA graphs; onnxruntime launches each
kernel. `stream` is `edgecv run` without sinks, from the decoded frame, or from the decoder with
`--source`, to the result: frames a second over `--frames`, and the latency of a frame. `trtexec`,
where it is installed, times the same engine file by its own method: GPU time of graph replays
without transfers.

The Faster R-CNN of NVIDIA/TensorRT issue 4248 is torchvision's: 13.3 ms an image and 53.5 ms for
four in TensorRT 10, 7.8 ms and 22.8 ms in PyTorch, on a GeForce RTX 4090. The issue says neither
how large the images are nor in which precision; torchvision's usual one is ResNet-50 with a pyramid
in float32, and it makes 800x1088 of COCO's usual 480x640. Ours has that trunk and that size.
Without `--json` the figures go to benchmarks/results/tensorrt-<device>.json.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from gpu_stream import Repeated, noise
from numpy.typing import NDArray
from PIL import Image

from edgecv.bench import latencies_in_turns
from edgecv.bundle.machine import find_gpu
from edgecv.errors import EdgeCVError
from edgecv.export.comparison.parity import Tolerance
from edgecv.export.engine.build import build_engine
from edgecv.export.engine.source import BuildJob
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.precisions.calibration import calibrate, image_feeds
from edgecv.export.precisions.fp16 import to_fp16
from edgecv.export.precisions.quantise import quantise
from edgecv.export.to_onnx import ExportOptions, export_onnx
from edgecv.metrics.latency import LatencyStatistics
from edgecv.models import Network, build_model
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.runtime.model import Model, load
from edgecv.runtime.plugin_file import find_plugins
from edgecv.runtime.tensorrt_module import import_tensorrt
from edgecv.runtime.torch import open_network, why_no_gpu
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.run import run_stream

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("edgecv", "tensorrt", "torch", "onnxruntime", "onnxruntime-gpu", "openvino")
CLASSES = tuple(f"class {index}" for index in range(80))
BATCHES = (1, 4)
ISSUE_MS = {"tensorrt": (13.3, 53.5), "torch": (7.8, 22.8)}  # for so many images
ISSUE_GPU = "NVIDIA GeForce RTX 4090"
_GPU_TIME = re.compile(
    r"GPU Compute Time: .*?median = ([\d.]+) ms.*?percentile\(95%\) = ([\d.]+) ms"
)

# This file has the name of TensorRT's package, which is imported later and would be found here.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != HERE]


@dataclass(frozen=True)
class Subject:
    """One network at one size.

    Args:
        name: of the model.
        size_hw: of its input, pixels.
        backbone: None for the model's own.
        is_issue: whether it stands for that of the issue, which is measured in batches too.

    """

    name: str
    size_hw: tuple[int, int]
    backbone: str | None = None
    is_issue: bool = False


@dataclass(frozen=True)
class Row:
    """What was measured of one backend with one network in one precision."""

    model: str
    size: str
    precision: str
    contender: str
    backend: str
    network: dict[str, Any]
    batches_ms: dict[int, float]
    stream_fps: float | None = None
    stream: dict[str, Any] | None = None


def main() -> int:
    """Print the table."""
    options = _options()
    reasons = missing(options.device)
    if reasons:
        print(f"benchmarks/tensorrt.py: nothing is measured: {'; '.join(reasons)}")
        return 2
    device = device_name(options.device)
    machine = {"device": device, "cpu": cpu_name(), "versions": versions_in_use(*PACKAGES)}
    print(f"{device}; {machine['versions']}; ms: median, 95th percentile")
    print(_line("model", "size", "precision", "by", ("network", "p95", "stream", "p95"), "fps"))
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for subject in subjects(options.models, options.size, options.rcnn_size):
        for precision in options.precisions:
            with tempfile.TemporaryDirectory() as folder:
                made, failed = measure(subject, precision, options, Path(folder))
            failures |= failed
            rows += made
            for row in made:
                print(row_line(row), flush=True)
    for name, reason in failures.items():
        print(f"{name}: not measured: {reason}")
    for sentence in against_the_issue(rows, device):
        print(sentence)
    path = options.json or RESULTS / f"tensorrt-{re.sub(r'[^a-z0-9]+', '-', device.lower())}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        "machine": machine,
        "method": __doc__,
        "turns": options.turns,
        "frames": options.frames,
        "source": options.source or "noise, 1920x1080 yuv420p, decoded before",
        "rows": [asdict(row) for row in rows],
        "failures": failures,
        "issue_4248": {"gpu": ISSUE_GPU, "ms_of_1_and_4_images": ISSUE_MS},
    }
    path.write_text(json.dumps(plain, indent=1) + "\n")
    print(f"{len(rows)} rows; written to {path}")
    return 0


def missing(device: str) -> list[str]:
    """Return what is needed to measure and is not here."""
    if device == "cpu":
        return []

    def lacks(find: Callable[[], object]) -> str | None:
        try:
            find()
        except EdgeCVError as error:
            return str(error)
        return None

    gpu = None if find_gpu() is not None else "CUDA finds no GPU"
    reasons = (gpu, lacks(import_tensorrt), lacks(find_plugins), why_no_gpu())
    return [reason for reason in reasons if reason is not None]


def device_name(device: str) -> str:
    """Return what the figures are of."""
    gpu = None if device == "cpu" else find_gpu()
    return cpu_name() if gpu is None else gpu.name


def subjects(names: Sequence[str], side: int, rcnn_hw: tuple[int, int]) -> list[Subject]:
    """Return the networks that are named, `faster_rcnn` as the issue has it."""
    return [
        Subject(name, rcnn_hw, "resnet50", is_issue=True)
        if name == "faster_rcnn"
        else Subject(name, (side, side))
        for name in names
    ]


def measure(
    subject: Subject, precision: str, options: argparse.Namespace, folder: Path
) -> tuple[list[Row], dict[str, str]]:
    """Measure all backends with a network, and say why those that could not be were not."""
    network, spec = _network(subject)
    path = exported(network, spec, precision, folder)
    engine = folder / "model.engine"
    openers: dict[str, Callable[[], Model]] = {}
    if options.device == "cuda":
        openers["tensorrt"] = lambda: _engine(path, engine, precision, options)
    if precision != "int8":
        openers["torch"] = lambda: Model(open_network(network, spec, options.device, precision))
    openers["onnxruntime"] = lambda: load(path, options.device, backend="onnxruntime")
    if options.device == "cpu" and find_spec("openvino") is not None:
        openers["openvino"] = lambda: load(path, "cpu", backend="openvino")
    failures: dict[str, str] = {}
    frames = noise()
    with ExitStack() as stack:
        opened: dict[str, Model] = {}
        for name, opener in openers.items():
            model = _opened(opener)
            if isinstance(model, Model):
                opened[name] = stack.enter_context(model)
            else:
                failures[f"{subject.name} {precision} {name}"] = model
        pixels = np.random.default_rng(0).integers(0, 256, (*subject.size_hw, 3), np.uint8)
        latencies = latencies_in_turns([*opened.values()], pixels, repeat=options.turns)
        size = "x".join(map(str, subject.size_hw))
        rows = []
        for (name, model), latency in zip(opened.items(), latencies, strict=True):
            batches = batch_medians(model, pixels, options.turns) if subject.is_issue else {}
            source: Any = options.source or Repeated(frames, options.frames)
            ran = run_stream(source, model)
            rows.append(
                Row(
                    subject.name,
                    size,
                    precision,
                    name,
                    model.session.backend,
                    latency.to_plain(),
                    batches,
                    ran.fps,
                    None if ran.latency is None else ran.latency.to_plain(),
                )
            )
    if "tensorrt" in opened and shutil.which("trtexec") is not None:
        times = trtexec_times(engine, subject, spec.input.name)
        rows.append(Row(subject.name, size, precision, "trtexec", "trtexec", times, {}))
    return rows, failures


def _opened(opener: Callable[[], Model]) -> Model | str:
    """Return a model that is warm, or why there is none: the others are worth measuring then."""
    try:
        model = opener()
    except EdgeCVError as error:
        return str(error)
    model.session.warm_up()
    return model


def _network(subject: Subject) -> tuple[Network, ModelSpec]:
    torch.manual_seed(0)
    network = build_model(subject.name, len(CLASSES), subject.size_hw, backbone=subject.backbone)
    wanted = InputSpec("images", subject.size_hw)
    spec = ModelSpec(network.task, CLASSES, wanted, network.output_spec())
    return network.eval(), spec


def exported(network: Network, spec: ModelSpec, precision: str, folder: Path) -> Path:
    """Return the network's ONNX file of any batch; 8 bits are calibrated on noise."""
    path, image = folder / "model.onnx", folder / "noise.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (*spec.input.size_hw, 3), np.uint8)).save(image)
    anything = Tolerance(*[float("inf")] * 6)  # random weights have no results to agree on
    export_onnx(network, spec, path, [image], options=ExportOptions(), tolerance=anything)
    graph = read_onnx(path)
    if precision == "fp16":
        onnx.save(to_fp16(graph).model, path)
    if precision == "int8":
        with load(path, "cpu", backend="onnxruntime") as model:
            ranges = calibrate(graph, image_feeds(model, [image]), method="min-max")
        onnx.save(quantise(graph, ranges, "tensorrt").model, path)
    return path


def _engine(path: Path, engine: Path, precision: str, options: argparse.Namespace) -> Model:
    """Build an engine for up to four images, and open it."""
    recipe = path.with_suffix(".toml")
    profiles = f"profiles = [{{ batch = [1, 1, {max(BATCHES)}] }}]"
    recipe.write_text(f'extends = "{options.recipe}-{precision}"\n{profiles}\n')
    begin = time.perf_counter()
    build_engine(BuildJob(path, engine, str(recipe)))
    print(f"built {engine.name} of {precision} in {time.perf_counter() - begin:.0f} s", flush=True)
    return load(engine)


def batch_medians(model: Model, pixels: NDArray[np.uint8], turns: int) -> dict[int, float]:
    """Return the median milliseconds of a call with as many images as the issue's."""
    batch, _ = model.fit(pixels, format="rgb24")
    found = {}
    for count in BATCHES:
        is_array = isinstance(batch, np.ndarray)  # else a frame that was fitted on the device
        images = np.repeat(batch, count, axis=0) if is_array else [batch] * count
        samples_ms = []
        for turn in range(-max(1, turns // 10), turns):
            begin = time.perf_counter()
            dict(model.infer(images))  # outputs may be on their way until they are looked at
            if turn >= 0:
                samples_ms.append((time.perf_counter() - begin) * 1e3)
        found[count] = LatencyStatistics.of(samples_ms).median_ms
    return found


def trtexec_times(engine: Path, subject: Subject, name: str) -> dict[str, Any]:
    """Return what trtexec says of an engine."""
    height, width = subject.size_hw
    words = ["trtexec", f"--loadEngine={engine}", f"--shapes={name}:1x3x{height}x{width}"]
    words += ["--useCudaGraph", "--noDataTransfers", f"--dynamicPlugins={find_plugins()}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    return read_trtexec(done.stdout)


def read_trtexec(log: str) -> dict[str, Any]:
    """Return the median and the 95th percentile that trtexec printed, empty if it failed."""
    found = _GPU_TIME.search(log)
    return {} if found is None else {"median_ms": float(found[1]), "p95_ms": float(found[2])}


def against_the_issue(rows: Sequence[Row], device: str) -> list[str]:
    """Return how our Faster R-CNN stands to the issue's figures."""
    sentences = []
    for row in rows:
        for index, count in enumerate(BATCHES):
            theirs = ISSUE_MS["tensorrt"][index]
            if row.contender == "tensorrt" and count in row.batches_ms:
                ours = row.batches_ms[count]
                sentences.append(
                    f"Faster R-CNN, {row.precision}, {count} at once: {ours:.1f} ms on {device}; "
                    f"issue 4248: {theirs} ms on {ISSUE_GPU}, {theirs / ours:.2f} times that"
                )
    return sentences


def row_line(row: Row) -> str:
    """Return a row of the table."""
    stream = row.stream or {}
    figures = [*map(row.network.get, ("median_ms", "p95_ms"))]
    figures += map(stream.get, ("median_ms", "p95_ms"))
    shown = tuple("--" if value is None else f"{value:.2f}" for value in figures)
    fps = "--" if row.stream_fps is None else f"{row.stream_fps:.1f}"
    return _line(row.model, row.size, row.precision, row.backend, shown, fps)


def _line(model: str, size: str, precision: str, by: str, figures: Sequence[str], fps: str) -> str:
    lead = f"{model:<16} {size:<10} {precision:<10} {by[:34]:<34}"
    return f"{lead} {' '.join(f'{figure:>9}' for figure in figures)} {fps:>8}"


def _size(text: str) -> tuple[int, int]:
    height, width = (int(side) for side in text.split("x"))
    return height, width


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--models", type=names, default=["yolo_s", "faster_rcnn"])
    parser.add_argument("--precisions", type=names, default=["fp32", "fp16", "int8"])
    parser.add_argument("--source", help="a video or pictures; without, noise")
    parser.add_argument("--size", type=int, default=640, help="side of the input")
    parser.add_argument("--rcnn-size", type=_size, default=(800, 1088), help="of faster_rcnn")
    parser.add_argument("--recipe", default="workstation", help="its name without the precision")
    parser.add_argument("--turns", type=int, default=300, help="calls of each that are timed")
    parser.add_argument("--frames", type=int, default=600, help="of the stream")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    unknown = set(options.precisions) - {"fp32", "fp16", "int8"}
    if unknown:
        parser.error(f"--precisions must be of fp32, fp16, int8, got {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
