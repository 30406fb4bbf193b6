"""What the outputs of a third-party graph may mean: every reading that their shapes allow."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.export.adoption import evidence
from edgecv.export.adoption.conventions import Project
from edgecv.export.adoption.evidence import Finding, verdict
from edgecv.export.adoption.grid_formats import grid_heads
from edgecv.export.adoption.reading import (
    ANCHORS_A_CELL,
    LEVELS,
    Format,
    Reading,
    num_cells,
    only_output,
)
from edgecv.export.adoption.third_party import ThirdPartyGraph
from edgecv.output_spec import (
    AnchorLayer,
    ClassMapOutput,
    DetrOutput,
    FusedOutput,
    LogitsOutput,
    ObjectsOutput,
    ProbabilitiesOutput,
    RowsOutput,
    SSDOutput,
)
from edgecv.spec import Task

_MOST_OBJECTS = 1000  # more rows than that are anchors, not queries or what a graph has selected


def readings(graph: ThirdPartyGraph, layers: tuple[AnchorLayer, ...]) -> tuple[Reading, ...]:
    """Return every meaning that the shapes of the outputs allow, with what the values say of it.

    Args:
        graph: with the values of the probes.
        layers: anchors of an SSD, empty where there are none.

    """
    found = [reading for reader in _READERS for reading in reader(graph)]
    found += _box_and_score_heads(graph, layers)
    return tuple(
        reading for reading in found if reading.num_classes is None or reading.num_classes >= 1
    )


def wanted_shape(
    format: Format,  # noqa: A002  # the option's name
    num_classes: int,
    size_hw: tuple[int, int],
    layers: tuple[AnchorLayer, ...],
) -> str:
    """Return in words what outputs a format with so many classes has."""
    cells, count = num_cells(size_hw, LEVELS[0]), num_classes
    rows = sum(math.prod(layer.grid_hw) * len(layer.shapes_wh) for layer in layers)
    return {
        "yolo": f"one output [B, {4 + count}, {cells}] or [B, {cells}, {4 + count}]",
        "yolov5": f"one output [B, {ANCHORS_A_CELL * cells}, {5 + count}]",
        "yolov10": "one output [B, K, 6] with at most 1000 rows",
        "yolox": f"one output [B, {cells}, {5 + count}]",
        "nanodet": f"one output [B, {num_cells(size_hw, LEVELS[1])}, {32 + count}]",
        "ssd": f"offsets [B, {rows}, 4] and logits [B, {rows}, {1 + count}]",
        "detr": f"boxes [B, Q, 4] in 0..1 and logits [B, Q, {count}] or [B, Q, {count + 1}], or "
        f"one output [B, Q, {4 + count}]",
        "torchvision": "boxes [N, 4], labels [N] int64 and scores [N]",
        "efficientnms": "a count [B, 1], boxes [B, K, 4], scores [B, K] and classes [B, K] int32",
        "logits": f"one output [B, {count}] or [B, {count}, h, w]",
        "probabilities": f"one output [B, {count}] or [B, {count}, h, w]",
        "class-map": "one output [B, h, w] of whole numbers",
    }[format]


def _row_heads(graph: ThirdPartyGraph) -> Iterator[Reading]:
    """Yield the readings of one output with few rows: those of selected objects, and queries."""
    (name, probes), *others = graph.probes.items()
    if others or any(value.ndim != 3 or value.dtype.kind != "f" for value in probes):  # noqa: PLR2004
        return
    if probes[-1].shape[1] > _MOST_OBJECTS or {value.shape[2] for value in probes} != {
        probes[-1].shape[2]
    }:
        return
    rows = np.concatenate([value[0] for value in probes])
    shown, columns = list(probes[-1].shape), rows.shape[1]
    if columns == 6:  # noqa: PLR2004  # x1, y1, x2, y2, score, class
        findings = [
            evidence.are_fractions(rows[:, 4], "scores"),
            evidence.are_whole(rows[:, 5], "class ids"),
            evidence.are_sizes(rows[:, 2:4] - rows[:, :2], "x2 - x1 and y2 - y1"),
        ]
        words = f"one output {shown}: rows of x1, y1, x2, y2, score, class"
        finding = verdict(findings)
        yield Reading("yolov10", RowsOutput(rows=name), None, words, finding, "ultralytics")
    if columns > 4:  # noqa: PLR2004
        is_grid = shown[1] == num_cells(graph.size_hw, LEVELS[0])  # no round number of queries
        findings = [
            Finding(False if is_grid else None, "there are as many rows as cells"),
            evidence.are_fractions(rows[:, :4], "boxes"),
            evidence.are_fractions(rows[:, 4:], "class columns"),
        ]
        words = f"one output {shown} = 4 + {columns - 4} classes for each query"
        output = DetrOutput(logits=name, boxes=name, activation="none")
        finding = verdict(findings)
        yield Reading("detr", output, columns - 4, words, finding, "ultralytics-rt-detr")


def _box_and_score_heads(
    graph: ThirdPartyGraph, layers: tuple[AnchorLayer, ...]
) -> Iterator[Reading]:
    """Yield the readings of two outputs [B, N, 4] and [B, N, columns]."""
    if len(graph.probes) != 2 or any(  # noqa: PLR2004
        value.ndim != 3 or value.dtype.kind != "f"  # noqa: PLR2004
        for values in graph.probes.values()
        for value in values
    ):
        return
    for first, second in (tuple(graph.probes), tuple(graph.probes)[::-1]):
        boxes, scores = (np.concatenate(graph.probes[name]) for name in (first, second))
        if boxes.shape[2] != 4 or boxes.shape[:2] != scores.shape[:2]:  # noqa: PLR2004
            continue
        columns = scores.shape[2]
        shown = f"boxes {list(graph.shapes[first])} and classes {list(graph.shapes[second])}"
        num_rows = sum(math.prod(layer.grid_hw) * len(layer.shapes_wh) for layer in layers)
        if layers and num_rows == boxes.shape[1]:
            finding = evidence.are_no_fractions(scores, "class columns")
            softmax = SSDOutput(anchors=layers, offsets=first, logits=second)
            sigmoid = SSDOutput(anchors=layers, offsets=first, logits=second, activation="sigmoid")
            words = f"{shown} for the {num_rows} anchors"
            yield Reading("ssd", softmax, columns - 1, f"{words}, a background", finding, "ssd")
            yield Reading("ssd", sigmoid, columns, words, finding, "ssd")
        if not layers and boxes.shape[1] <= _MOST_OBJECTS:
            yield from _query_heads(first, second, boxes, scores, shown)


def _query_heads(
    boxes_name: str,
    logits_name: str,
    boxes: NDArray[Any],
    logits: NDArray[Any],
    shown: str,
) -> Iterator[Reading]:
    """Yield the readings of boxes [B, Q, 4] and logits [B, Q, columns] of queries."""
    columns = logits.shape[2]
    in_range = evidence.are_fractions(boxes, "boxes")
    as_logits = verdict([in_range, evidence.are_no_fractions(logits, "class columns")])
    as_scores = verdict([in_range, evidence.are_fractions(logits, "class columns")])
    is_rf = (boxes_name, logits_name) == ("dets", "labels")  # as RF-DETR's export names them
    project: Project = "rf-detr" if is_rf else "rt-detr"

    def output(activation: Literal["softmax", "sigmoid", "none"]) -> DetrOutput:
        return DetrOutput(logits=logits_name, boxes=boxes_name, activation=activation)

    words = f"{shown} of queries"
    yield Reading("detr", output("sigmoid"), columns, f"{words}, sigmoids", as_logits, project)
    yield Reading(
        "detr", output("softmax"), columns - 1, f"{words}, no-object last", as_logits, "detr"
    )
    yield Reading("detr", output("none"), columns, f"{words}, probabilities", as_scores, project)


def _object_heads(graph: ThirdPartyGraph) -> Iterator[Reading]:
    """Yield the readings of boxes, whole labels and scores, each an output."""
    ranks = {name: values[-1].ndim for name, values in graph.probes.items()}
    kinds = {name: values[-1].dtype.kind for name, values in graph.probes.items()}
    last = {name: values[-1].shape[-1] for name, values in graph.probes.items()}
    pictures = [name for name, rank in ranks.items() if rank == 4]  # noqa: PLR2004  # masks
    boxes = [name for name, rank in ranks.items() if rank in (2, 3) and last[name] == 4]  # noqa: PLR2004
    if len(boxes) != 1 or len(ranks) - len(pictures) != 3 or len(pictures) > 1:  # noqa: PLR2004
        return
    rank = ranks[boxes[0]] - 1
    rest = [name for name in ranks if name not in (*boxes, *pictures)]
    labels = [name for name in rest if kinds[name] in "iu" and ranks[name] == rank]
    scores = [name for name in rest if kinds[name] == "f" and ranks[name] == rank]
    if len(labels) != 1 or len(scores) != 1:
        return
    values = np.concatenate([value.reshape(-1) for value in graph.probes[scores[0]]])
    has_batch = rank == 2  # noqa: PLR2004
    output = ObjectsOutput(
        boxes=boxes[0], scores=scores[0], labels=labels[0], first_label=0 if has_batch else 1
    )
    words = ", ".join(
        f"{kind} `{name}`"
        for kind, name in (("boxes", boxes[0]), ("labels", labels[0]), ("scores", scores[0]))
    )
    words += " of selected objects" + ("" if has_batch else ", without an axis of images")
    yield Reading(
        "detr" if has_batch else "torchvision",
        output,
        None,
        words,
        evidence.are_fractions(values, "scores"),
        "rt-detr" if has_batch else "torchvision",
        unused=tuple(pictures),
    )


def _counted_heads(graph: ThirdPartyGraph) -> Iterator[Reading]:
    """Yield the reading of a count, boxes, scores and classes, as TensorRT's NMS gives them."""
    shapes = graph.shapes
    if len(shapes) != 4:  # noqa: PLR2004
        return
    boxes = [name for name, shape in shapes.items() if len(shape) == 3 and shape[2] == 4]  # noqa: PLR2004
    counts = [
        name
        for name, shape in shapes.items()
        if shape in ((1,), (1, 1)) and graph.probes[name][-1].dtype.kind in "iu"
    ]
    rows = [name for name in shapes if name not in (*boxes, *counts)]
    if (
        len(boxes) != 1
        or len(counts) != 1
        or {shapes[name] for name in rows} != {shapes[boxes[0]][:2]}
    ):
        return
    classes = [
        name
        for name in rows
        if graph.probes[name][-1].dtype.kind in "iu" or "class" in name or "label" in name
    ]
    scores = [name for name in rows if name not in classes]
    if len(classes) != 1 or len(scores) != 1:
        return
    output = FusedOutput(
        num_detections=counts[0],
        boxes=boxes[0],
        scores=scores[0],
        classes=classes[0],
        score_threshold=None,
        iou_threshold=None,
    )
    words = f"count `{counts[0]}`, boxes `{boxes[0]}`, scores `{scores[0]}`, classes `{classes[0]}`"
    finding = evidence.are_fractions(np.concatenate(graph.probes[scores[0]]), "scores")
    yield Reading("efficientnms", output, None, words, finding, "ultralytics")


def _classifiers(graph: ThirdPartyGraph) -> Iterator[Reading]:
    """Yield the readings of one output [B, C]."""
    found = only_output(graph, 2)
    if found is None or found[1].dtype.kind != "f":
        return
    name, values = found
    words, count = f"one output {list(graph.shapes[name])}", values.shape[1]
    project: Project = "ultralytics-classifier" if graph.hints.is_ultralytics else "classifier"
    finding = evidence.sum_to_one(values, 1, "values")
    yield from _both_kinds(name, count, words, finding, project, "classify")


def _segmenters(graph: ThirdPartyGraph) -> Iterator[Reading]:
    """Yield the readings of one output, or of one and its auxiliary, with an axis of pixels."""
    shapes = graph.shapes
    name, shape = next(iter(shapes.items()))
    is_stable = graph.probes[name][0].shape == shape
    if not is_stable or len(set(shapes.values())) != 1 or min(shape[-2:]) <= 1:
        return
    values = np.concatenate(graph.probes[name])
    unused = tuple(shapes)[1:]
    words = f"`{name}` {list(shape)}, a place for each pixel"
    is_whole = values.dtype.kind in "iu"
    if is_whole and not unused and (len(shape) == 3 or len(shape) == 4 and shape[1] == 1):  # noqa: PLR2004, RUF021
        output = ClassMapOutput(labels=name)
        finding = evidence.are_whole(values, "values")
        yield Reading("class-map", output, None, words, finding, "segmenter", "segment")
    if not is_whole and len(shape) == 4 and shape[1] > 1:  # noqa: PLR2004
        finding = evidence.sum_to_one(values, 1, "values")
        yield from _both_kinds(name, shape[1], words, finding, "segmenter", "segment", unused)


def _both_kinds(
    name: str,
    count: int,
    words: str,
    finding: Finding,
    project: Project,
    task: Task,
    unused: tuple[str, ...] = (),
) -> Iterator[Reading]:
    """Yield the readings as logits and as probabilities, one of which holds."""
    other = Finding(not finding.holds, finding.words)
    logits, probabilities = LogitsOutput(logits=name), ProbabilitiesOutput(probabilities=name)
    yield Reading("logits", logits, count, words, other, project, task, unused)
    yield Reading("probabilities", probabilities, count, words, finding, project, task, unused)


_READERS: tuple[Callable[[ThirdPartyGraph], Iterator[Reading]], ...] = (
    grid_heads,
    _row_heads,
    _object_heads,
    _counted_heads,
    _classifiers,
    _segmenters,
)
