"""Post-training calibration: what ranges the tensors of a graph have on a user's own images."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.graphs.memory_session import open_in_memory
from edgecv.export.precisions.layers import prepared
from edgecv.export.precisions.placement import plan_cpu, plan_tensorrt
from edgecv.export.precisions.ranges import CalibrationMethod, Histogram, TensorRange
from edgecv.images import image_size_hw, read_image
from edgecv.records import from_plain, to_plain
from edgecv.runtime.model import Model

SCHEMA = 1

Feed = Mapping[str, NDArray[Any]]


class ImageFeed(dict[str, NDArray[Any]]):
    """What a graph is fed with for one image, and which that was."""

    def __init__(self, values: Feed, path: Path) -> None:
        """Take the inputs by name; `path` is for messages."""
        super().__init__(values)
        self.path = path

    def __str__(self) -> str:
        """Return the image's path."""
        return f"`{self.path}`"


@dataclass(frozen=True)
class Calibration:
    """The ranges of a graph's tensors, and how they were found.

    Args:
        method: how outliers were weighed.
        num_images: on how many images.
        ranges: by the tensor's name.

    """

    method: CalibrationMethod
    num_images: int
    ranges: Mapping[str, TensorRange]

    def of(self, name: str) -> TensorRange:
        """Return the range of a tensor.

        Raises:
            InputError: if it was not calibrated.

        """
        found = self.ranges.get(name)
        if found is None:
            raise InputError(
                f"the calibration has no range of the tensor `{name}`: it was made with another "
                "model. Calibrate this one."
            )
        return found

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, strings and numbers: the calibration table of a bundle."""
        return {"schema": SCHEMA, **to_plain(self)}

    @classmethod
    def from_plain(cls, plain: Any) -> "Calibration":  # noqa: ANN401  # parsed JSON
        """Return the calibration that `to_plain` described.

        Raises:
            InputError: if a key is missing, unknown or of the wrong type, or the schema is newer.

        """
        if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
            schema = plain.get("schema") if isinstance(plain, dict) else None
            raise InputError(
                f"a calibration table must have `schema` {SCHEMA}, got {schema!r}. "
                "Calibrate again, or update edgecv."
            )
        rest = {key: value for key, value in plain.items() if key != "schema"}
        found = from_plain(cls, rest, where="calibration")
        for name, range_ in found.ranges.items():
            ends = (range_.low, range_.high, range_.magnitude)
            if not all(map(math.isfinite, ends)) or not range_.low <= 0 <= range_.high:
                raise InputError(
                    f"a calibration table must have finite ranges around zero, got {range_} of "
                    f"`{name}`. Calibrate again."
                )
        return found


def image_feeds(model: Model, paths: Iterable[Path]) -> Iterator[ImageFeed]:
    """Yield what the model's own pipeline would feed its graph with, an image at a time.

    Thresholds that are inputs are left out and keep their defaults.

    Raises:
        InputError: if an image cannot be read.

    """
    wanted = model.spec.input
    for path in paths:
        pixels = read_image(path)
        batch, placement = model.fit(pixels, format="rgb24")
        values = {wanted.name: batch}
        regions = model.propose(pixels, placement, path=path, format="rgb24")
        if model.spec.proposals is not None and regions is not None:
            values[model.spec.proposals.name] = regions
        yield ImageFeed(values, path)


def smaller_than_input(model: Model, paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the images that the network's input is larger than, on both sides.

    Enlarged, they have none of the detail that a camera would show; whoever deploys on such images
    may calibrate with them, and everybody else should be told. Only the files' headers are read.

    Raises:
        InputError: if a file is no image.

    """
    height, width = model.spec.input.size_hw
    sizes = ((path, image_size_hw(path)) for path in paths)
    return tuple(path for path, size_hw in sizes if size_hw[0] < height and size_hw[1] < width)


class Observer:
    """Runs a graph on images and counts the values of every tensor that 8 bits could hold.

    What it saw can be asked for at any time and by any method: stopping early loses nothing.
    """

    def __init__(self, model: onnx.ModelProto, *, threads: int = 0) -> None:
        """Open `model` with all those tensors as outputs.

        Args:
            model: the float32 graph.
            threads: of onnxruntime, 0 for one per core.

        Raises:
            InputError: if no layer of it can compute in 8 bits, or onnxruntime cannot run it.

        """
        watched, producers, self._ends = _watched(model)
        if not producers:
            raise InputError(
                "calibration: this graph has no layer that 8 bits suit: no Conv, Gemm or MatMul "
                "with constant float32 weights behind its first layers. Export it as fp32 or fp16."
            )
        self._producers = producers
        self._session = open_in_memory(watched, threads=threads)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._histograms = {name: Histogram() for name in producers}
        self.num_images = 0

    def observe(self, feed: Feed) -> None:
        """Run once and count.

        Args:
            feed: the inputs by name.

        Raises:
            InputError: if a value is infinite or NaN; the message names layer and image.

        """
        computed = [name for name in self._histograms if name not in self._inputs]
        values = {name: feed[name] for name in self._histograms if name in self._inputs}
        values |= zip(computed, self._session.run(computed, dict(feed)), strict=True)
        for name, value in values.items():
            if not (np.isfinite(value.min(initial=0)) and np.isfinite(value.max(initial=0))):
                which = str(feed) if isinstance(feed, ImageFeed) else f"number {self.num_images}"
                raise InputError(
                    f"calibration: {self._producers[name]} makes an infinite or undefined value "
                    f"of image {which}. Leave the image out, or look for what overflows."
                )
        for name, value in values.items():
            self._histograms[name].add(value)
        self.num_images += len(next(iter(feed.values())))

    def calibration(self, method: CalibrationMethod) -> Calibration:
        """Return the ranges that `method` finds in what was seen so far.

        Raises:
            InputError: if nothing was.

        """
        if self.num_images == 0:
            raise InputError(
                "calibration: there are no images to calibrate with. Name a folder or a data set "
                "that has some."
            )
        ranges = {
            # What a score is read from is rare by nature: an object is no outlier.
            name: seen.range("min-max" if name in self._ends else method)
            for name, seen in self._histograms.items()
        }
        return Calibration(method, self.num_images, ranges)


def calibrate(
    model: onnx.ModelProto,
    batches: Iterable[Feed],
    *,
    method: CalibrationMethod,
    on_batch: Callable[[], None] = lambda: None,
    threads: int = 0,
) -> Calibration:
    """Return the ranges of a graph's tensors on images.

    Args:
        model: the float32 graph.
        batches: its inputs by name, such as `image_feeds` makes.
        method: how outliers are weighed.
        on_batch: called after each batch.
        threads: of onnxruntime, 0 for one per core.

    Raises:
        InputError: if there are no batches, onnxruntime cannot run the graph, or a value is
            infinite or NaN; the message names layer and image.

    """
    observer = Observer(model, threads=threads)
    for feed in batches:
        observer.observe(feed)
        on_batch()
    return observer.calibration(method)


def _watched(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str], set[str]]:
    """Return the graph with what 8 bits could hold as outputs; what makes each; the plan's ends."""
    watched = ir.from_proto(prepared(model))
    graph = watched.graph
    plan = plan_cpu(graph, ())
    values = plan.tensors | plan_tensorrt(graph, ()).tensors
    inputs = [value for value in graph.inputs if value.name in values]
    producers = {str(value.name): f"the input `{value.name}`" for value in inputs}
    for node in graph:
        before = node.inputs[0].producer() if node in plan.folded and node.inputs[0] else None
        layer = before or node  # an activation passes on what the layer before it made
        for value in node.outputs:
            if value.name in values:
                producers[str(value.name)] = f"`{layer.name}` ({layer.op_type})"
                if not value.is_graph_output():
                    graph.outputs.append(value)
    return ir.to_proto(watched), producers, plan.ends
