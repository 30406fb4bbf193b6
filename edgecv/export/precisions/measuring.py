"""One model in several precisions, each measured beside float32 and let through the gate or not."""

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import onnx

from edgecv.bench import latencies_in_turns
from edgecv.data import AnyDataset
from edgecv.errors import InputError
from edgecv.evaluation import accuracy_of
from edgecv.export.comparison.parity import ParityReport, compare
from edgecv.export.graphs.graph_model import open_graph
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.precisions.calibration import Calibration, Feed, image_feeds
from edgecv.export.precisions.converted import Converted, KeptFloat
from edgecv.export.precisions.fp16 import to_fp16
from edgecv.export.precisions.gate import Attempt, Lower, Verdict, pass_gate
from edgecv.export.precisions.noise import LayerCost, LayerNoise, layer_noise, rank_layers
from edgecv.export.precisions.pictures import both_boxes
from edgecv.export.precisions.quantise import quantise
from edgecv.images import read_image
from edgecv.metrics.accuracy import Accuracy
from edgecv.metrics.latency import LatencyStatistics
from edgecv.precision import Precision
from edgecv.progress import Follow, unfollowed
from edgecv.proposals import Proposals
from edgecv.results import Detections
from edgecv.runtime.model import Model
from edgecv.spec import ModelSpec

_LOOKED_INTO = 4  # images whose layers are compared: their noise settles on few
_INT8: Mapping[str, Literal["cpu", "tensorrt"]] = {"int8-cpu": "cpu", "int8-tensorrt": "tensorrt"}


@dataclass(frozen=True)
class Images:
    """What the precisions are measured on.

    Args:
        compared: image files that results, noise and latency are compared on, at least one.
        held_out: annotated images for the accuracy, None to measure none.
        max_drop: how far the accuracy may lie below that of float32, None for no limit.
        iou_threshold: of the suppression while accuracy is measured; None for the model's own.
        proposals: of all these images, for a model that looks at given regions.
        num_pictures: how many of `compared` are drawn with the objects of both precisions.

    """

    compared: Sequence[Path]
    held_out: AnyDataset | None = None
    max_drop: float | None = None
    iou_threshold: float | None = None
    proposals: Proposals | None = None
    num_pictures: int = 0

    def __post_init__(self) -> None:
        """Refuse a limit on what is not measured."""
        if not self.compared:
            raise InputError("export compares precisions on real images, got none. Name some.")
        if self.max_drop is not None and self.held_out is None:
            raise InputError("`--max-drop` needs annotated images. Name some with `--data`.")
        if self.max_drop is not None and not self.max_drop >= 0:
            raise InputError(f"`--max-drop` must be 0 or more, got {self.max_drop}.")


@dataclass(frozen=True)
class Figures:
    """What was measured of a model in one precision.

    Args:
        precision: what it computes with.
        num_bytes: of the file.
        latency: of the network alone, in turns with the other precisions; None before it is timed.
        accuracy: on the held-out images, None without them.
        drop: how far that is below float32's, None without held-out images.
        has_passed: whether the drop is within the limit; True without a limit.
        num_layers: how many layers compute in this precision.
        kept: the others, and why.
        returned: names of those of them that were returned to float32 for the sake of accuracy.
        attempts: what stood before the gate, in order; empty without held-out images.
        calibration: the method of those tried that it was converted with, empty for none.
        costs: what each layer costs by itself, the highest first; empty unless they were ranked.
        noise: at each layer's output.
        parity: results beside those of float32 on the compared images, None of float32 itself.
        pictures: JPEG files of a detector's boxes beside those of float32.

    """

    precision: Precision
    num_bytes: int
    latency: LatencyStatistics | None = None
    accuracy: Accuracy | None = None
    drop: float | None = None
    has_passed: bool = True
    num_layers: int = 0
    kept: tuple[KeptFloat, ...] = ()
    returned: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    calibration: str = ""
    costs: tuple[LayerCost, ...] = ()
    noise: tuple[LayerNoise, ...] = ()
    parity: ParityReport | None = None
    pictures: tuple[bytes, ...] = ()


def _variants(
    reference: onnx.ModelProto,
    spec: ModelSpec,
    precision: Precision,
    calibrations: Mapping[str, Calibration],
    *,
    reduce_range: bool,
) -> Mapping[str, Lower]:
    """Return the ways to convert a graph, by name.

    Raises:
        InputError: if 8 bits are wanted without a calibration.

    """

    def described(converted: Converted) -> Converted:
        provenance = replace(spec.provenance, precision=precision)
        write_spec(converted.model, replace(spec, provenance=provenance))
        return converted

    if precision == "fp16":
        return {"": lambda keep: described(to_fp16(reference, keep=keep))}
    if not calibrations:
        raise InputError(
            f"{precision} needs images to calibrate with. Name some with `--calibration`."
        )
    target = _INT8[precision]

    def lower(table: Calibration, keep: Collection[str]) -> Converted:
        return described(quantise(reference, table, target, keep=keep, reduce_range=reduce_range))

    return {name: partial(lower, table) for name, table in calibrations.items()}


@dataclass(frozen=True)
class InPrecisions:
    """A model in several precisions.

    Args:
        graphs: by precision, float32 among them; also of what did not pass.
        figures: of each, float32 first, then in the order asked for.

    """

    graphs: Mapping[Precision, onnx.ModelProto]
    figures: tuple[Figures, ...]

    @property
    def failed(self) -> tuple[Figures, ...]:
        """Those that did not pass the gate."""
        return tuple(entry for entry in self.figures if not entry.has_passed)


def in_precisions(
    reference: onnx.ModelProto,
    spec: ModelSpec,
    precisions: Sequence[Precision],
    images: Images,
    *,
    calibrations: Mapping[str, Calibration] = MappingProxyType({}),
    reduce_range: bool = False,
    threads: int = 0,
    repeat: int = 30,
    follow: Follow = unfollowed,
) -> InPrecisions:
    """Convert a float32 graph and measure each result beside it.

    Args:
        reference: after `edgecv.export.graphs.simplify.simplify`.
        spec: its description.
        precisions: those wanted; `fp32` is measured in any case.
        images: what to measure on.
        calibrations: the ranges of its tensors by the name of the method, for 8 bits; they are
            tried in their order until one passes.
        reduce_range: see `edgecv.export.precisions.quantise.quantise`.
        threads: of onnxruntime, 0 for one per core.
        repeat: calls of each that are timed.
        follow: told the name of a step and the number of its parts, returns what to call after
            each part.

    Raises:
        InputError: if 8 bits are wanted without a calibration, an image cannot be read, or the
            held-out images do not suit the model.

    """
    with contextlib.ExitStack() as opened:
        bench = _Bench(opened, reference, images, threads, follow)
        models, found = [bench.original], [bench.original_figures()]
        graphs: dict[Precision, onnx.ModelProto] = {"fp32": reference}
        for precision in dict.fromkeys(precisions):
            if precision != "fp32":
                variants = _variants(
                    reference, spec, precision, calibrations, reduce_range=reduce_range
                )
                judged = bench.judge(variants, precision, found[0].accuracy)
                models.append(bench.open(judged.converted.model))
                found.append(bench.figures(models[-1], precision, judged))
                graphs[precision] = judged.converted.model
        pixels, advance = read_image(images.compared[0]), follow("timing", repeat)
        latencies = latencies_in_turns(models, pixels, repeat=repeat, on_turn=advance)
    pairs = zip(found, latencies, strict=True)
    return InPrecisions(graphs, tuple(replace(entry, latency=each) for entry, each in pairs))


@dataclass(frozen=True)
class _Judged:
    """A converted graph and how it was converted; without held-out images no more is known."""

    converted: Converted
    variant: str
    verdict: Verdict | None = None
    accuracy: Accuracy | None = None


class _Bench:
    """Opens graphs in the pipeline that `run` uses, and measures them beside float32."""

    def __init__(
        self,
        opened: contextlib.ExitStack,
        reference: onnx.ModelProto,
        images: Images,
        threads: int,
        follow: Follow,
    ) -> None:
        self._opened = opened
        self._reference = reference
        self._images = images
        self._threads = threads
        self._follow = follow
        self.original = self.open(reference)

    def open(self, graph: onnx.ModelProto) -> Model:
        """Return the model, open as long as the bench."""
        return self._opened.enter_context(self._model(graph))

    def original_figures(self) -> Figures:
        """Measure float32 itself; its latency comes later."""
        return Figures(
            "fp32", self._reference.ByteSize(), accuracy=self._accuracy(self.original, "fp32")
        )

    def judge(
        self, variants: Mapping[str, Lower], precision: Precision, wanted: Accuracy | None
    ) -> _Judged:
        """Convert, through the gate where there is one."""
        if wanted is None:
            name, lower = next(iter(variants.items()))
            return _Judged(lower(()), name)
        measured: list[Accuracy] = []

        def accuracy(graph: onnx.ModelProto) -> float:
            with self._model(graph) as model:
                found = self._accuracy(model, precision)
            if found is None:  # `wanted` is of held-out images
                raise TypeError("judge: there is an accuracy to reach and nothing to measure on.")
            measured.append(found)
            return found.value

        def rank(lower: Lower, layers: Sequence[str]) -> tuple[LayerCost, ...]:
            others = frozenset(layers)
            return rank_layers(
                self._reference,
                lambda name: lower(others - {name}).model,
                layers,
                self._feeds(),
                on_layer=self._follow(f"ranking layers for {precision}", len(layers)),
                threads=self._threads,
            )

        limit = math.inf if self._images.max_drop is None else self._images.max_drop
        verdict = pass_gate(variants, accuracy, rank, reference=wanted.value, max_drop=limit)
        return _Judged(verdict.converted, verdict.variant, verdict, measured[-1])

    def figures(self, model: Model, precision: Precision, judged: _Judged) -> Figures:
        """Compare an open model with float32; its latency comes later."""
        compared, verdict = self._images.compared, judged.verdict
        found = Figures(
            precision,
            judged.converted.model.ByteSize(),
            accuracy=judged.accuracy,
            num_layers=len(judged.converted.layers),
            kept=judged.converted.kept,
            calibration=judged.variant,
            noise=layer_noise(
                self._reference, judged.converted.model, self._feeds(), threads=self._threads
            ),
            parity=compare(self.original, model, compared, proposals=self._images.proposals),
            pictures=tuple(self._pictures(model)),
        )
        if verdict is None:
            return found
        return replace(
            found,
            drop=verdict.drop,
            has_passed=verdict.has_passed,
            returned=verdict.returned,
            attempts=verdict.attempts,
            costs=verdict.costs,
        )

    def _accuracy(self, model: Model, precision: Precision) -> Accuracy | None:
        dataset = self._images.held_out
        if dataset is None:
            return None
        return accuracy_of(
            model,
            dataset,
            iou_threshold=self._images.iou_threshold,
            on_image=self._follow(f"measuring {precision}", len(dataset.samples)),
        )

    def _pictures(self, model: Model) -> Iterator[bytes]:
        for path in self._images.compared[: self._images.num_pictures]:
            expected, actual = self.original(path), model(path)
            if isinstance(expected, Detections) and isinstance(actual, Detections):
                yield both_boxes(read_image(path), expected, actual)

    def _feeds(self) -> Iterator[Feed]:
        return image_feeds(self.original, self._images.compared[:_LOOKED_INTO])

    def _model(self, graph: onnx.ModelProto) -> Model:
        return open_graph(graph, threads=self._threads, proposals=self._images.proposals)
