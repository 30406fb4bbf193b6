"""Third-party graphs in small: whatever they are shown, they find the same object.

The input is 64x64, the classes are two, and the object is of class 1 with score 0.8 at OBJECT.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgecv.kernels.points import anchor_points

SIZE_HW = (64, 64)
OBJECT = (16.0, 8.0, 48.0, 40.0)  # xyxy in input pixels
CXCYWH = (32.0, 24.0, 32.0, 32.0)
SCORE = 0.8
STRIDES = (8, 16, 32)
CELL = 3 * 8 + 4  # of stride 8, whose corner (32, 24) is the object's centre
BLAND = 0.05  # a score that is not worth reporting

Graph = Mapping[str, NDArray[Any]]


def save_graph(
    path: Path,
    outputs: Graph,
    *,
    shape: Sequence[int | str] = (1, 3, *SIZE_HW),
    dtype: int = onnx.TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
    sizes_input: str | None = None,
) -> Path:
    """Write a graph with constant outputs, each of which reads the input all the same."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
    ]
    constants = [numpy_helper.from_array(np.float32(0), "nought")]
    infos = []
    inputs = [helper.make_tensor_value_info("images", dtype, shape)]
    if sizes_input is not None:
        kind = onnx.TensorProto.INT64
        inputs.append(helper.make_tensor_value_info(sizes_input, kind, ["B", 2]))
    for name, value in outputs.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        factor = "nothing"
        if sizes_input is not None and name == "boxes":  # of an image of 1x1 pixel
            nodes.append(helper.make_node("Cast", [sizes_input], ["wh"], to=kind))
            nodes.append(helper.make_node("Concat", ["wh", "wh"], ["whwh"], axis=1))
            constants.append(numpy_helper.from_array(value, "fractions"))
            nodes.append(helper.make_node("Mul", ["fractions", "whwh"], ["in_pixels"]))
            nodes.append(helper.make_node("Add", ["in_pixels", "nothing"], [name]))
        else:
            nodes.append(helper.make_node("Cast", ["nothing"], [f"{name} nought"], to=kind))
            factor = f"{name} nought"
            constants.append(numpy_helper.from_array(value, f"{name} constant"))
            nodes.append(helper.make_node("Add", [f"{name} constant", factor], [name]))
        infos.append(helper.make_tensor_value_info(name, kind, value.shape))
    graph = helper.make_graph(nodes, "constant", inputs, infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def _grid(per_cell: int = 1, columns: int = 6) -> tuple[NDArray[np.float32], int]:
    """Return (N, columns) of boxes where their cells are, and the row of the object's."""
    points = np.concatenate(
        [np.tile(anchor_points(SIZE_HW, (stride,), 0.5), (per_cell, 1)) for stride in STRIDES]
    )
    head = np.full((len(points), columns), BLAND, np.float32)
    head[:, :2], head[:, 2:4] = points[:, :2], points[:, 2:] * 2
    return head, CELL


def yolo(layout: str = "cn") -> Graph:
    head, row = _grid()
    head[row] = (*CXCYWH, 0.1, SCORE)
    return {"output0": head.T[None].copy() if layout == "cn" else head[None]}


def yolo_raw() -> Graph:
    """The head before its decoding: 16 bins for each of the distances, and logits."""
    head = np.full((84, 66), -20, np.float32)
    head[:, 0:64:16] = 20  # no extent
    left, top, right, bottom = (36 - 16) / 8, (28 - 8) / 8, (48 - 36) / 8, (40 - 28) / 8
    for side, distance in enumerate((left, top, right, bottom)):
        head[CELL, 16 * side : 16 * side + 16] = -20
        low = int(distance)  # halfway between two bins: both are equally probable
        head[CELL, [16 * side + low, 16 * side + int(np.ceil(distance))]] = 20
    head[CELL, 65] = logit(SCORE)
    return {"output0": head.T[None].copy()}


def yolov5(per_cell: int = 3, objectness: float = 0.9) -> Graph:
    """YOLOv5's; with an anchor a cell that of a decoded YOLOX, or of YOLOv6 at objectness 1."""
    head, row = _grid(per_cell, 7)
    head[:, 4] = 1 if objectness == 1 else BLAND
    head[row] = (*CXCYWH, objectness, 0.1, SCORE / objectness)
    return {"output": head[None]}


def yolox() -> Graph:
    head = np.full((84, 7), BLAND, np.float32)
    head[:, :2] = 0.5
    head[CELL] = (0, 0, np.log(4), np.log(4), 0.9, 0.1, SCORE / 0.9)
    return {"output": head[None]}


def nanodet() -> Graph:
    head = np.full((85, 34), -10, np.float32)
    head[:, :2] = BLAND
    head[CELL, :2] = 0.1, SCORE
    head[CELL, [2 + 2, 10 + 2, 18 + 2, 26 + 2]] = 10  # two strides to each side
    return {"output": head[None]}


def rows() -> Graph:
    table = np.zeros((1, 10, 6), np.float32)
    table[0, 0] = (*OBJECT, SCORE, 1)
    table[0, 1] = (1, 2, 3, 4, BLAND, 0)
    return {"output0": table}


def queries(kind: str) -> Graph:
    boxes = np.random.default_rng(0).random((1, 20, 4)).astype(np.float32)
    boxes[0, 7] = np.array(CXCYWH) / 64
    if kind == "softmax":
        logits = np.tile(np.array([-3, -3, 3], np.float32), (20, 1))
        logits[7] = np.log([0.15, SCORE, 0.05])
    else:
        scores = np.full((20, 2), BLAND, np.float32)
        scores[7] = 0.1, SCORE
        logits = scores if kind in ("none", "single") else np.log(scores / (1 - scores))
    if kind == "single":
        return {"output0": np.concatenate([boxes, logits[None]], axis=2)}
    return {"logits": logits[None].astype(np.float32), "pred_boxes": boxes}


def lists(*, has_batch: bool = False, has_masks: bool = False) -> Graph:
    boxes = np.array([OBJECT, (1, 2, 3, 4)], np.float32)
    labels = np.array([1, 0] if has_batch else [2, 1], np.int64)
    scores = np.array([SCORE, BLAND], np.float32)
    graph = {"boxes": boxes, "labels": labels, "scores": scores}
    if has_batch:
        graph = {"labels": labels[None], "boxes": boxes[None], "scores": scores[None]}
    if has_masks:
        graph["masks"] = np.zeros((2, 1, *SIZE_HW), np.float32)
    return graph


def counted() -> Graph:
    boxes, scores = np.zeros((1, 10, 4), np.float32), np.zeros((1, 10), np.float32)
    classes = np.full((1, 10), -1, np.int32)
    boxes[0, :2], scores[0, :2], classes[0, :2] = (OBJECT, (1, 2, 3, 4)), (SCORE, BLAND), (1, 0)
    return {
        "num_dets": np.array([[1]], np.int32),
        "det_boxes": boxes,
        "det_scores": scores,
        "det_classes": classes,
    }


ANCHORS = [{"grid_hw": [2, 2], "shapes_wh": [[0.5, 0.5], [0.125, 0.5]]}]


def ssd(activation: str = "softmax") -> Graph:
    """Offsets from the first anchor, centred at (16, 16), 32 wide and high."""
    offsets = np.zeros((1, 8, 4), np.float32)
    offsets[0, 0, :2] = (32 - 16) / 32 / 0.1, (24 - 16) / 32 / 0.1
    if activation == "sigmoid":
        logits = np.full((1, 8, 2), -5, np.float32)
        logits[0, 0, 1] = logit(SCORE)
    else:
        logits = np.tile(np.array([9, 0, 0], np.float32), (1, 8, 1))
        logits[0, 0] = np.log([0.1, 0.1, SCORE])
    return {"bbox_regression": offsets, "cls_logits": logits}
