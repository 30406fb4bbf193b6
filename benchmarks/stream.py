"""How much of the network's own speed a whole stream keeps, beside the loops that people write.

Usage: python benchmarks/stream.py [MODEL.onnx ...] [--video FILE] [--threads 0] [--seconds 6]
                                   [--turns 5] [--json FILE]

Without a model three are made that find boxes in 80 classes, with random weights: `yolo_n` at
640x640, the size of YOLOv8n, at 288x288 and at 160x160. Without a video one is made, 1280x720 at 25
frames a second. The floor is onnxruntime's `session.run` by itself, on one fitted frame again and
again; the others read the file, fit each frame, run the same session with the same threads, and
suppress. They are measured in turns, one after the other, and each turn gives a ratio to its own
floor; medians are printed.

`edgecv` is what `edgecv run` does with a file: as many inferences of one thread each as there are
threads, side by side; `edgecv, latency` what it does with a camera: all threads on one inference.

Peers: `loop`, OpenCV's VideoCapture, blobFromImage, `session.run` and NMSBoxes one after the other;
`threaded loop`, the same with a thread that reads ahead, as supervision's and inference's pipelines
do; `cv2.dnn`, the first with OpenCV's own network; and, where it is installed, Ultralytics' loop on
its own YOLOv8n with random weights, with a floor of its own.
"""

import argparse
import json
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgecv.provenance import cpu_name, installed_version
from edgecv.runtime.model import Model, load
from edgecv.stream.opening import open_pipeline

_SIZES = (640, 288, 160)
_SCORE, _IOU = 0.25, 0.45

Loop = Callable[[float], float]


def main() -> None:
    """Measure each model and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each loop in each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = options.video or made_video(Path(folder) / "video.mp4")
        models = options.models or [made_model(Path(folder), size) for size in _SIZES]
        cases = [measured(path, video, options) for path in models]
        if find_spec("ultralytics") is not None:
            cases.append(measured_ultralytics(Path(folder), video, options))
    for case in cases:
        print(f"{case['model']}: session.run alone {case['floor_fps']:.1f} a second")
        for name, ratio in case["ratios"].items():
            print(f"    {name:16} {case['fps'][name]:7.1f} fps, {ratio:.3f} of that")
    if options.json is not None:
        versions = {
            name: installed_version(name)
            for name in ("onnxruntime", "opencv-python-headless", "ultralytics", "av")
        }
        report = {"cpu": cpu_name(), "video": str(video), "versions": versions, "cases": cases}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def measured(path: Path, video: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one model."""
    opened = partial(load, path, "cpu", threads=options.threads, backend="onnxruntime")
    with opened() as model, opened(hint="throughput") as side_by_side:
        model.session.warm_up()
        side_by_side.session.warm_up()
        loops: dict[str, Loop] = {
            "edgecv": lambda seconds: streamed(side_by_side, video, seconds),
            "edgecv, latency": lambda seconds: streamed(model, video, seconds),
            "loop": lambda seconds: looped(model, frames_of(video), seconds),
            "threaded loop": lambda seconds: looped(model, read_ahead(frames_of(video)), seconds),
        }
        net = cv2.dnn.readNetFromONNX(str(path)) if path.stem.startswith("yolo_n") else None
        if net is not None:
            loops["cv2.dnn"] = lambda seconds: looped(model, frames_of(video), seconds, net)
        return {"model": path.stem, **in_turns(lambda s: bare(model, s), loops, options)}


def in_turns(floor: Loop, loops: dict[str, Loop], options: argparse.Namespace) -> dict[str, Any]:
    """Return the medians of turns in which all take part."""
    floors: list[float] = []
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.turns):
        floors.append(floor(options.seconds))
        for name, loop in loops.items():
            rates[name].append(loop(options.seconds))
    return {
        "floor_fps": statistics.median(floors),
        "fps": {name: statistics.median(values) for name, values in rates.items()},
        "ratios": {
            name: statistics.median(rate / own for rate, own in zip(values, floors, strict=True))
            for name, values in rates.items()
        },
        "all": {"floor": floors, **rates},
    }


def bare(model: Model, seconds: float) -> float:
    """Return how often a second the network runs on one fitted frame."""
    batch, _ = model.fit(np.full((720, 1280, 3), 90, np.uint8))
    return rate_of((model.infer(batch) for _ in iter(int, 1)), seconds)


def streamed(model: Model, video: Path, seconds: float) -> float:
    """Return the results a second of edgecv's stream."""
    with open_pipeline(video, model) as pipeline:
        return rate_of(pipeline.results(), seconds)


def looped(model: Model, frames: Iterator[np.ndarray], seconds: float, net: Any = None) -> float:  # noqa: ANN401
    """Return the frames a second of a loop over OpenCV, on the session or on OpenCV's network."""
    height, width = model.spec.input.size_hw

    def results() -> Iterator[object]:
        for frame in frames:
            side = max(frame.shape[:2])
            square = np.full((side, side, 3), 114, np.uint8)
            square[: frame.shape[0], : frame.shape[1]] = frame
            blob = cv2.dnn.blobFromImage(square, 1 / 255, (width, height), swapRB=True)
            if net is None:
                head = next(iter(model.session.run(blob).values()))[0]
            else:
                net.setInput(blob)
                head = net.forward()[0]
            yield suppressed(head)

    try:
        return rate_of(results(), seconds)
    finally:
        if hasattr(frames, "close"):
            frames.close()


def suppressed(head: np.ndarray) -> Any:  # noqa: ANN401
    """Return the kept rows of a head [4 + classes, N] of centres and sizes, or its transpose."""
    rows = head.T if head.shape[0] < head.shape[1] else head
    scores = rows[:, 4:].max(axis=1)
    passed = scores > _SCORE
    boxes = rows[passed, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    return cv2.dnn.NMSBoxes(boxes.tolist(), scores[passed].tolist(), _SCORE, _IOU)


def frames_of(video: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a file as OpenCV reads them."""
    capture = cv2.VideoCapture(str(video))
    try:
        while True:
            is_there, frame = capture.read()
            if not is_there:
                return
            yield frame
    finally:
        capture.release()


def read_ahead(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield frames that a thread has read before they are asked for."""
    waiting: queue.Queue[np.ndarray | None] = queue.Queue(4)
    is_over = threading.Event()

    def read() -> None:
        for frame in frames:
            waiting.put(frame)
            if is_over.is_set():
                break
        waiting.put(None)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        while (frame := waiting.get()) is not None:
            yield frame
    finally:
        is_over.set()
        while thread.is_alive():
            with suppress(queue.Empty):  # it may wait for room
                waiting.get(timeout=0.01)
        thread.join()


def rate_of(results: Iterator[object], seconds: float) -> float:
    """Return how many come in a second; the first few are not counted."""
    for _, _ in zip(range(5), results, strict=False):
        pass
    begin_s = end_s = time.perf_counter()
    count = 0
    for _ in results:
        count += 1
        end_s = time.perf_counter()
        if end_s - begin_s >= seconds:
            break
    return count / (end_s - begin_s) if count else 0.0


def made_model(folder: Path, size: int) -> Path:
    """Return a detector of 80 classes with random weights, with a raw head."""
    import torch  # noqa: PLC0415  # only where no model is given

    from edgecv.export.comparison.parity import Tolerance  # noqa: PLC0415
    from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: PLC0415
    from edgecv.models import build_model  # noqa: PLC0415
    from edgecv.spec import InputSpec, ModelSpec  # noqa: PLC0415

    torch.manual_seed(0)
    size_hw = (size, size)
    network = build_model("yolo_n", 80, size_hw).eval()
    classes = tuple(f"class {number}" for number in range(80))
    spec = ModelSpec(network.task, classes, InputSpec("images", size_hw), network.output_spec())
    path, picture = folder / f"yolo_n {size}.onnx", folder / "picture.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8))
    export_onnx(
        network, spec, path, [picture], options=ExportOptions(head="raw"), tolerance=Tolerance()
    )
    return path


def made_video(path: Path) -> Path:
    """Return a video of moving noise, 720p at 25 frames a second for 40 seconds."""
    import av  # noqa: PLC0415  # only where no video is given

    tile = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    picture = cv2.resize(tile, (1280, 720), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index in range(1000):
            moved = np.roll(picture, (index * 3, index * 5), (0, 1))
            for packet in stream.encode(av.VideoFrame.from_ndarray(moved, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def measured_ultralytics(folder: Path, video: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of Ultralytics' own loop on its own export of YOLOv8n."""
    import onnxruntime  # noqa: PLC0415
    from ultralytics import YOLO  # noqa: PLC0415  # where somebody has installed it

    path = Path(YOLO("yolov8n.yaml").export(format="onnx", imgsz=640, simplify=False))
    path = path.rename(folder / "yolov8n.onnx")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    batch = np.full((1, 3, 640, 640), 0.35, np.float32)
    name = session.get_inputs()[0].name
    theirs = YOLO(str(path), task="detect")

    def loop(seconds: float) -> float:
        results = theirs.predict(str(video), stream=True, verbose=False, conf=_SCORE, iou=_IOU)
        return rate_of(iter(results), seconds)

    def floor(seconds: float) -> float:
        return rate_of((session.run(None, {name: batch}) for _ in iter(int, 1)), seconds)

    return {"model": "Ultralytics YOLOv8n", **in_turns(floor, {"Ultralytics": loop}, options)}


if __name__ == "__main__":
    main()
