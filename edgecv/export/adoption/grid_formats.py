"""Heads with a row or a column for every cell of a grid: the YOLOs, YOLOX and NanoDet."""

from collections.abc import Iterator
from typing import Any, Literal

from numpy.typing import NDArray

from edgecv.export.adoption import evidence
from edgecv.export.adoption.evidence import verdict
from edgecv.export.adoption.reading import ANCHORS_A_CELL, LEVELS, Reading, num_cells, only_output
from edgecv.export.adoption.third_party import ThirdPartyGraph
from edgecv.output_spec import NanodetOutput, YoloOutput, YoloxOutput

_REG_MAX = 16  # bins a distance of a raw YOLOv8 head


def grid_heads(graph: ThirdPartyGraph) -> Iterator[Reading]:
    """Yield the readings of one output with a row or a column for every cell of a grid."""
    found = only_output(graph, 3)
    if found is None or found[1].dtype.kind != "f":
        return
    name, values = found
    heads: tuple[tuple[Literal["cn", "nc"], NDArray[Any]], ...] = (
        ("cn", values.transpose(0, 2, 1)),
        ("nc", values),
    )
    for layout, head in heads:
        for strides in LEVELS:
            cells = num_cells(graph.size_hw, strides)
            per_cell = head.shape[1] // cells
            if head.shape[1] == per_cell * cells and per_cell in (1, ANCHORS_A_CELL):
                yield from _of_one_grid(graph, name, head, layout, strides, per_cell)


def _of_one_grid(
    graph: ThirdPartyGraph,
    name: str,
    head: NDArray[Any],
    layout: Literal["cn", "nc"],
    strides: tuple[int, ...],
    per_cell: int,
) -> Iterator[Reading]:
    """Yield the readings of a head [B, N, columns] over the levels of `strides`."""
    columns = head.shape[2]
    shown = list(graph.shapes[name])
    levels = ", ".join(map(str, strides))
    height, width = graph.size_hw
    times = "" if per_cell == 1 else f"{per_cell} x "
    where = f"{times}the cells of strides {levels} at {height}x{width}"

    def shape(own: int) -> str:
        return f"one output {shown} = {own} + {columns - own} classes, {where}"

    on_grid = evidence.lie_on_grid(head[..., :2], graph.size_hw, strides, per_cell)
    sizes = evidence.are_sizes(head[..., 2:4], "widths and heights")
    past_box, past_objectness = head[..., 4:], head[..., 5:]
    of_classes = evidence.are_fractions(past_box, "class columns")
    of_both = evidence.are_fractions(past_box, "objectness and the class columns")
    decoded = YoloOutput(head=name, layout=layout, strides=strides, has_objectness=True)
    if per_cell == ANCHORS_A_CELL:
        finding = verdict([on_grid, sizes, of_both])
        if past_objectness.size:
            yield Reading("yolov5", decoded, columns - 5, shape(5), finding, "yolov5")
        return
    off_grid = evidence.are_off_grid(head[..., :2], graph.size_hw, strides)
    plain = YoloOutput(head=name, layout=layout, strides=strides)
    finding = verdict([on_grid, sizes, of_classes])
    yield Reading("yolo", plain, columns - 4, shape(4), finding, "ultralytics")
    num_box_columns = 4 * _REG_MAX
    if columns > num_box_columns:
        raw = YoloOutput(head=name, layout=layout, reg_max=_REG_MAX, strides=strides)
        logits = evidence.are_no_fractions(head[..., num_box_columns:], "class columns")
        finding = verdict([logits, off_grid])
        yield Reading(
            "yolo", raw, columns - num_box_columns, shape(num_box_columns), finding, "ultralytics"
        )
    if layout == "cn" or not past_objectness.size:
        return
    raw_yolox = YoloxOutput(head=name, strides=strides)
    finding = verdict([off_grid, of_both])
    yield Reading("yolox", raw_yolox, columns - 5, shape(5), finding, "yolox")
    # YOLOv6 has the form of a decoded YOLOX, and an objectness that is always 1.
    is_yolov6 = bool((head[..., 4] == 1).all())
    finding = verdict([on_grid, sizes, of_both])
    if is_yolov6:
        yield Reading("yolov5", decoded, columns - 5, shape(5), finding, "yolov5")
    else:
        yield Reading("yolox", decoded, columns - 5, shape(5), finding, "yolox")
    blank = NanodetOutput()
    num_distances = 4 * (blank.reg_max + 1)
    if columns > num_distances and strides in (blank.strides, blank.strides[:3]):
        output = NanodetOutput(head=name, strides=strides)
        count = columns - num_distances
        findings = [
            evidence.are_fractions(head[..., :count], "class columns"),
            evidence.are_no_fractions(head[..., count:], "distances"),
        ]
        yield Reading("nanodet", output, count, shape(num_distances), verdict(findings), "nanodet")
