"""A reading: one meaning that the outputs of a third-party graph may have."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.export.adoption.conventions import Project
from edgecv.export.adoption.evidence import Finding
from edgecv.export.adoption.third_party import ThirdPartyGraph
from edgecv.output_spec import OutputSpec
from edgecv.spec import Task

Format = Literal[
    "yolo",
    "yolov5",
    "yolov10",
    "yolox",
    "nanodet",
    "ssd",
    "detr",
    "torchvision",
    "efficientnms",
    "logits",
    "probabilities",
    "class-map",
]
FORMATS: tuple[Format, ...] = get_args(Format)

# Pixels per cell of each level: the usual three, with a coarser or a finer one, and tiny YOLOs'.
LEVELS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (8, 16, 32, 64, 128), (16, 32))
ANCHORS_A_CELL = 3  # of YOLOv3, v5 and v7


@dataclass(frozen=True)
class Reading:
    """One meaning that the outputs may have.

    Args:
        format: its name on the command line.
        output: the description of the outputs.
        num_classes: that the shapes tell, None where they do not.
        shape: in words, why the shapes fit.
        finding: what the values say of it.
        project: whose conventions the input follows.
        task: what the model does.
        unused: outputs that this reading leaves out.

    """

    format: Format
    output: OutputSpec
    num_classes: int | None
    shape: str
    finding: Finding
    project: Project
    task: Task = "detect"
    unused: tuple[str, ...] = ()


def num_cells(size_hw: tuple[int, int], strides: tuple[int, ...]) -> int:
    """Return how many cells the levels of `strides` have in an input of `size_hw`."""
    return sum(math.prod(-(-side // stride) for side in size_hw) for stride in strides)


def only_output(graph: ThirdPartyGraph, rank: int) -> tuple[str, NDArray[Any]] | None:
    """Return name and values of all probes of the only output, if it has `rank` axes."""
    (name, values), *others = graph.probes.items()
    if others or values[-1].ndim != rank or values[0].shape != values[-1].shape:
        return None
    if values[-1].shape[0] != 1:
        return None
    return name, np.concatenate(values)
