"""int8 of exported detectors: float32, onnxruntime's own quantisation and edgecv's, in one run.

Usage: python benchmarks/quantised.py MODEL.onnx... --data bccd [--split val] [--images 48]
                                      [--method min-max] [--keep NODE...] [--iou 0.65]
                                      [--threads 1] [--repeat 20] [--json FILE]

`int8 onnxruntime` is `quantize_static` as its documentation recommends for convolutional networks
on x86: the QDQ form, convolutions, activations unsigned, weights signed and per channel. `int8-cpu`
is `edgecv.export.precisions.quantise`. Both are calibrated on the first training images, fitted as
the model asks; onnxruntime by minimum and maximum. All files take turns on one image of noise, so
that a busy machine slows them alike: the latency is the median of the network alone, the gain that
of float32 over it.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgecv.data import open_dataset
from edgecv.evaluation import evaluate
from edgecv.export.graphs.model_file import read_onnx, write_onnx
from edgecv.export.precisions.calibration import calibrate, image_feeds
from edgecv.export.precisions.layers import prepared
from edgecv.export.precisions.quantise import quantise
from edgecv.export.precisions.ranges import CALIBRATION_METHODS
from edgecv.images import read_image
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.runtime.model import Model, load

_WARM_UP = 3  # turns that do not count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", required=True, help="as `edgecv eval` takes it")
    parser.add_argument("--split", default="val", help="to measure on")
    parser.add_argument("--images", type=int, default=48, help="of the training split")
    parser.add_argument("--method", choices=CALIBRATION_METHODS, default="min-max")
    parser.add_argument("--keep", nargs="*", default=[], help="nodes that stay float32")
    parser.add_argument("--iou", type=float, help="threshold of the suppression")
    parser.add_argument("--threads", type=int, default=1, help="0: one per core")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()

    training = open_dataset(options.data, "train").samples[: options.images]
    measured = open_dataset(options.data, options.split)
    machine = {"cpu": cpu_name(), "threads": options.threads or "one per core"}
    print(f"{machine}, {versions_in_use('onnx', 'onnxruntime')}")
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        models = {}
        for path in options.models:
            images = [sample.image_path for sample in training]
            theirs, ours = (Path(folder) / f"{path.stem}.{name}.onnx" for name in ("ort", "ours"))
            _quantise(path, theirs, images)
            with contextlib.closing(load(path, "cpu", threads=options.threads)) as model:
                whole, feeds = read_onnx(path), image_feeds(model, images)
                table = calibrate(whole, feeds, method=options.method, threads=options.threads)
            write_onnx(quantise(whole, table, "cpu", keep=options.keep).model, ours)
            files = {"float32": path, "int8 onnxruntime": theirs, "int8-cpu": ours}
            for kind, file in files.items():
                model = load(file, "cpu", threads=options.threads)
                models[path.name, kind] = opened.enter_context(contextlib.closing(model))
        times = _taking_turns(models, options.repeat)
        for (name, kind), model in models.items():
            figures = evaluate(model, measured, iou_threshold=options.iou).metrics.summary
            latency_ms = 1e3 * statistics.median(times[name, kind])
            gain = 1e3 * statistics.median(times[name, "float32"]) / latency_ms
            row = {"model": name, "kind": kind, "latency_ms": latency_ms, "gain": gain}
            rows.append(row | {key: figures[key] for key in ("AP", "AP50")})
    print(f"{'model':<24} {'':<16} {'ms':>8} {'gain':>6} {'AP':>7} {'AP50':>7}")
    for row in rows:
        print(
            f"{row['model']:<24} {row['kind']:<16} {row['latency_ms']:8.2f} {row['gain']:5.2f}x "
            f"{row['AP']:7.4f} {row['AP50']:7.4f}"
        )
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, model: Model, images: Sequence[Path]) -> None:
        self._name = model.spec.input.name
        self._batches: Iterator[NDArray[Any]] = (
            model.fit(read_image(path), format="rgb24")[0] for path in images
        )

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def _quantise(path: Path, quantised: Path, images: Sequence[Path]) -> None:
    ready = quantised.with_suffix(".ready.onnx")
    onnx.save(prepared(read_onnx(path)), ready)  # its form per channel needs opset 13
    quant_pre_process(str(ready), str(ready), skip_symbolic_shape=True)
    with contextlib.closing(load(path, "cpu")) as model:
        quantize_static(
            str(ready),
            str(quantised),
            _Calibration(model, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
        )
    described = onnx.load(quantised)
    entries = onnx.load(path, load_external_data=False).metadata_props
    onnx.helper.set_model_props(described, {entry.key: entry.value for entry in entries})
    onnx.save(described, quantised)


def _taking_turns(
    models: dict[tuple[str, str], Model], repeat: int
) -> dict[tuple[str, str], list[float]]:
    rng = np.random.default_rng(0)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in models}
    batches = {
        key: rng.random((1, 3, *model.spec.input.size_hw), np.float32)
        for key, model in models.items()
    }
    for turn in range(repeat + _WARM_UP):
        for key, model in models.items():
            start = time.perf_counter()
            model.infer(batches[key])
            if turn >= _WARM_UP:
                times[key].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
