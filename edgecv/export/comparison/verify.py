"""Do two forms of a model do the same? Outputs, results, accuracy, latency and size of both."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.bench import latencies_in_turns
from edgecv.data import AnyDataset
from edgecv.errors import EdgeCVError, InputError
from edgecv.evaluation import accuracy_of
from edgecv.export.comparison.divergence import LIMITS, Divergence, find_divergence
from edgecv.export.comparison.pairs import ONNX, Opened
from edgecv.export.comparison.parity import TOLERANCES, ParityReport, Tolerance, compare
from edgecv.export.comparison.tensors import Graph
from edgecv.export.graphs.model_file import read_onnx
from edgecv.images import read_image
from edgecv.metrics.latency import LatencyStatistics
from edgecv.output_spec import FusedOutput
from edgecv.precision import PRECISIONS, Precision
from edgecv.progress import Follow, unfollowed
from edgecv.proposals import Proposals, as_input, sliding_windows
from edgecv.records import finite
from edgecv.runtime.model import Model
from edgecv.spec import ModelSpec

if TYPE_CHECKING:
    from edgecv.train.checkpoint import Trained

_OF_OBJECTS = ("detect", "instance", "keypoints")
_IMAGES_OF_LAYERS = 2  # on which layers are compared: the worst and the first
_OPSETS = (19, 20)  # that a checkpoint can be exported with


@dataclass(frozen=True)
class Limits:
    """What two models may differ by; what is None is not judged.

    Args:
        max_drop: of the task's figure, reference less candidate; negative asks for a gain.
        relative: of an output, the largest difference over its largest magnitude.
        unmatched: fraction of the results that only one of the two reports.

    """

    max_drop: float | None = None
    relative: float | None = None
    unmatched: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is judged."""
        return self.max_drop is None and self.relative is None and self.unmatched is None


@dataclass(frozen=True)
class Side:
    """One of the two models, and what was measured of it.

    Args:
        path: its file.
        backend: what ran it, such as `onnxruntime cpu`.
        precision: what its description says that it computes with.
        num_bytes: of the file and those with its weights; of a checkpoint that is more than the
            network, of a server's model it is None.
        latency: of the network alone, in turns with the other's.
        metrics: on the data, empty where none were given.

    """

    path: str
    backend: str
    precision: Precision
    num_bytes: int | None
    latency: LatencyStatistics
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Verification:
    """What came out of comparing two models.

    Args:
        reference: the one that is right.
        candidate: the one that is questioned.
        parity: how far outputs and results are apart.
        metric: name of the task's figure, empty where no data were given.
        drop: of that figure, reference less candidate; None without data.
        divergence: the first layer that diverges, None where it was not looked for.
        no_divergence: why it could not be looked for, empty where it was or need not be.
        is_judged: whether any limit held.
        violations: the limits that were exceeded, one phrase each.
        notes: what else to know of the comparison.

    """

    reference: Side
    candidate: Side
    parity: ParityReport
    metric: str
    drop: float | None
    divergence: Divergence | None
    no_divergence: str
    is_judged: bool
    violations: tuple[str, ...]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers; what is not finite is None."""
        plain = asdict(self)
        for key, side in (("reference", self.reference), ("candidate", self.candidate)):
            plain[key] |= {"latency": side.latency.to_plain(), "metrics": dict(side.metrics)}
        if self.divergence is not None:
            plain["divergence"] = {**self.divergence.to_plain(), "text": str(self.divergence)}
        plain["passed"] = not self.violations
        found: dict[str, Any] = finite(plain)
        return found


def verify(
    reference: Opened,
    candidate: Opened,
    images: Sequence[Path],
    *,
    dataset: AnyDataset | None = None,
    limits: Limits,
    search: bool = False,
    repeat: int = 30,
    proposals: Proposals | None = None,
    follow: Follow = unfollowed,
) -> Verification:
    """Compare two models.

    Without a limit, they must agree as far as their precisions allow, see `TOLERANCES`; 8 bits are
    not judged. Layers are compared when a limit is exceeded, or `search` asks for it.

    Args:
        reference: the one that is right.
        candidate: the one that is questioned.
        images: files to compare outputs and results on, at least one.
        dataset: ground truth to measure both on, None for no figures.
        limits: what they may differ by.
        search: compare layers in any case.
        repeat: calls of each that are timed.
        proposals: of the images, for models that look at given regions; None for windows.
        follow: told the name of a step and the number of its parts, returns what to call after
            each part.

    Raises:
        InputError: if an image cannot be read, or the data do not suit the models.

    """
    if not images:
        raise InputError("verify compares on real images, got none. Name some with `--images DIR`.")
    left = reference.model if proposals is None else reference.model.with_proposals(proposals)
    right, notes = _aligned(candidate.model, left.spec)
    notes += _origins(reference, candidate)
    right = right if proposals is None else right.with_proposals(proposals)
    parity = compare(
        left, right, images, proposals=proposals, on_image=follow("comparing", len(images))
    )
    latencies = latencies_in_turns(
        (left, right), read_image(images[0]), repeat=repeat, on_turn=follow("timing", repeat)
    )
    accuracies = [
        accuracy_of(model, dataset, on_image=follow("measuring", len(dataset.samples)))
        for model in (left, right)
        if dataset is not None
    ]
    metric = accuracies[0].metric if accuracies else ""
    drop = accuracies[0].value - accuracies[1].value if accuracies else None
    metrics = [accuracy.figures for accuracy in accuracies] or [{}, {}]
    precisions = [entry.precision for entry in (reference, candidate)]
    precision = max(precisions, key=PRECISIONS.index)
    rounding = max((reference.rounding, candidate.rounding), key=PRECISIONS.index)
    violations, is_judged = _violations(parity, limits, metric, drop, rounding)
    divergence: Divergence | None = None
    excuse = ""
    if violations or search:
        looked_at = [images[index] for index in sorted({parity.worst_image, 0})]
        limit = LIMITS[precision] if limits.relative is None else limits.relative
        try:
            divergence = _divergence(
                ((reference, left), (candidate, right)),
                looked_at[:_IMAGES_OF_LAYERS],
                limit=limit,
                proposals=proposals,
                follow=follow,
            )
        except EdgeCVError as error:  # what was measured stands all the same
            excuse = str(error)
    sides = [
        Side(
            str(entry.path),
            entry.model.session.backend,
            own,
            entry.num_bytes,
            latency,
            figures,
        )
        for entry, own, latency, figures in zip(
            (reference, candidate), precisions, latencies, metrics, strict=True
        )
    ]
    return Verification(
        sides[0],
        sides[1],
        parity,
        metric,
        drop,
        divergence,
        excuse,
        is_judged,
        tuple(violations),
        tuple(notes),
    )


def _origins(reference: Opened, candidate: Opened) -> list[str]:
    """Return notes on engines that were built of another file than they are compared with."""
    notes = []
    for opened, other in ((reference, candidate), (candidate, reference)):
        record = opened.record
        if record is not None and other.record is None and opened.is_made_of(other) is False:
            notes.append(
                f"`{opened.path}` was built of `{record.onnx.name}`, which is not `{other.path}`: "
                "what was done between the two counts too."
            )
    return notes


def _aligned(model: Model, wanted: ModelSpec) -> tuple[Model, list[str]]:
    """Return the model with the thresholds of `wanted`, and a note where that is impossible."""
    own, limits = model.spec.postprocess, wanted.postprocess
    if model.spec.task not in _OF_OBJECTS or own == limits:
        return model, []
    try:
        aligned = model.with_thresholds(
            score=limits.score_threshold if own.score_threshold != limits.score_threshold else None,
            iou=limits.iou_threshold if own.iou_threshold != limits.iou_threshold else None,
            max_detections=limits.max_detections,
        )
    except InputError as error:
        return model, [f"the thresholds of the two are not the same: {error}"]
    return aligned, []


def _violations(
    parity: ParityReport, limits: Limits, metric: str, drop: float | None, precision: Precision
) -> tuple[list[str], bool]:
    """Return what exceeds the limits, and whether there were any."""
    if limits.is_empty:
        allowed = TOLERANCES.get(precision)
        return ([], False) if allowed is None else (parity.violations(allowed), True)
    found = []
    if limits.max_drop is not None:
        if drop is None:
            raise InputError("`--max-drop` needs data to measure on. Name some with `--data`.")
        if not drop <= limits.max_drop:  # NaN is a violation too
            found.append(f"{metric} drops by {drop:.4f} (allowed {limits.max_drop:g})")
    nothing = Tolerance(math.inf, math.inf, math.inf, math.inf, math.inf, math.inf)
    relative, unmatched = limits.relative, limits.unmatched
    tolerance = replace(
        nothing,
        relative=math.inf if relative is None else relative,
        mask=math.inf if relative is None else relative,
        unmatched=math.inf if unmatched is None else unmatched,
    )
    if relative is not None and parity.incomparable and not parity.outputs:
        found.append(f"no output to compare: {', '.join(parity.incomparable)} is only in one")
    # Nothing is violated without bounds, but a NaN is: only what was asked for is judged.
    judged = parity if relative is not None else replace(parity, outputs=())
    judged = replace(judged, box_px=0.0, score=0.0, num_strayed=0)
    return found + judged.violations(tolerance), True


def _divergence(
    pair: tuple[tuple[Opened, Model], tuple[Opened, Model]],
    images: Sequence[Path],
    *,
    limit: float,
    proposals: Proposals | None,
    follow: Follow,
) -> Divergence:
    """Compare the layers of both, a checkpoint's in a file that is made for it."""
    for opened, model in pair:
        if not opened.has_graph:
            raise InputError(
                f"the layers of `{opened.path}` are not open to `{model.session.backend}`. "
                "Compare the ONNX file that it was made of."
            )
    with tempfile.TemporaryDirectory() as folder:
        graphs: list[Graph] = []
        for (opened, model), (other, _) in (pair, pair[::-1]):
            own = Path(folder) / str(len(graphs))
            path = opened.graph_file(own)
            if path is None and opened.trained is not None:
                path = own.with_suffix(ONNX)
                _export(opened.trained, model.spec, path, images, other.graph_file(own), proposals)
            if path is None:
                raise TypeError(f"verify: `{opened.path}` has no graph.")  # refused above
            shape = read_onnx(path).graph.input[0].type.tensor_type.shape
            feeds = [_feeds(model, image, proposals, shape.dim[0].dim_value) for image in images]
            graphs.append(Graph(path, feeds))
        advance = follow("comparing layers", len(graphs[0].nodes))
        done = 0

        def on_tensors(count: int, _total: int) -> None:
            nonlocal done
            for _ in range(count - done):
                advance()
            done = count

        return find_divergence(graphs[0], graphs[1], limit=limit, on_tensors=on_tensors)


def _export(
    trained: "Trained",
    spec: ModelSpec,
    path: Path,
    images: Sequence[Path],
    other: Path | None,
    proposals: Proposals | None,
) -> None:
    """Write the graph of a checkpoint, as much like the other file as can be."""
    from edgecv.export.graphs.model_file import opset_of  # noqa: PLC0415
    from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: PLC0415  # torch

    opset = _OPSETS[-1] if other is None else opset_of(read_onnx(other))
    is_fused = isinstance(spec.output, type(trained.network.fused_output()))
    export_onnx(
        trained.network,
        trained.spec,
        path,
        images,
        options=ExportOptions(
            head="fused" if is_fused else "raw",
            opset=opset if opset in _OPSETS else _OPSETS[-1],
            max_detections=spec.postprocess.max_detections,
        ),
        tolerance=Tolerance(),
        proposals=proposals,
    )


def _feeds(
    model: Model, image: Path, proposals: Proposals | None, batch_size: int
) -> dict[str, NDArray[Any]]:
    """Return what goes into the graph of a model for one image, the image first."""
    spec = model.spec
    batch, placement = model.fit(read_image(image), format="rgb24")
    rows = max(batch_size, 1)
    feeds: dict[str, NDArray[Any]] = {spec.input.name: np.repeat(batch, rows, axis=0)}
    if spec.proposals is not None:
        count, frame_hw = spec.proposals.count, placement.frame_hw
        boxes = (
            sliding_windows(frame_hw, count) if proposals is None else proposals.of(image, frame_hw)
        )
        feeds[spec.proposals.name] = np.repeat(as_input(boxes, placement, count), rows, axis=0)
    if isinstance(spec.output, FusedOutput):
        limits = spec.postprocess
        for name, value in (
            (spec.output.score_threshold, limits.score_threshold),
            (spec.output.iou_threshold, limits.iou_threshold),
        ):
            if name is not None:
                feeds[name] = np.array(value, np.float32)
    return feeds
