"""Cases of the box decoders: heads of a 640-pixel input with some sixty objects in it.

Each object gives high scores to the dozen anchors nearest to its centre, on the level that fits its
size, 0.92 falling to 0.26: 764 anchors pass a threshold of 0.25. Everything else is background, a
sigmoid of normal noise, of which some 1.8 % of all pairs of an anchor and a class pass 0.001.
Suppression with an IoU of 0.7 to 300 detections, as Ultralytics validates.

The floor is to read the head once and to suppress the candidates, given as arrays, with `nms`.
Peers of heads without a library function filter first and decode only the boxes that pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from measure import Call, Case, reading
from numpy.typing import NDArray

from edgecv.kernels import decode_nanodet, decode_ssd, decode_yolo, decode_yolox, nms
from edgecv.kernels.decode import Layout
from edgecv.kernels.points import anchor_points

OPERATORS = ("decode_yolo", "decode_yolox", "decode_nanodet", "decode_ssd")

Floats = NDArray[np.float32]

_STRIDES = (8, 16, 32)
_NUM_ANCHORS_OF_OBJECTS = 764
_NUM_OBJECTS = 60
_MAX_CANDIDATES = 30_000
_LIMITS: dict[str, Any] = {"iou_threshold": 0.7, "max_detections": 300}


def cases() -> Iterator[Case]:
    """Yield the cases of each decoder."""
    for score_threshold, multi_label in ((0.25, False), (0.001, False), (0.001, True)):
        yield _yolo("cn", score_threshold, multi_label=multi_label)
    for score_threshold, multi_label in ((0.25, False), (0.001, True)):
        yield _yolo("nc", score_threshold, multi_label=multi_label)
        yield _raw_yolo("cn", score_threshold, multi_label=multi_label)
        yield _raw_yolo("nc", score_threshold, multi_label=multi_label)
    for side in (416, 640):
        for score_threshold, multi_label in ((0.25, False), (0.001, True)):
            yield _yolox(side, "nc", score_threshold, multi_label=multi_label)
    yield _yolox(640, "cn", 0.001, multi_label=True)
    for score_threshold, multi_label in ((0.25, False), (0.001, True)):
        yield _nanodet(score_threshold, multi_label=multi_label)
    yield _ssd("nc", 0.25)
    yield _ssd("nc", 0.01)
    yield _ssd("cn", 0.01)


def _scene(
    points: Floats, side: int, num_classes: int, noise: tuple[float, float] = (-9.0, 1.0)
) -> tuple[Floats, Floats]:
    """Return boxes cx, cy, w, h in pixels (N, 4) and class logits (N, C), see the module."""
    rng = np.random.default_rng(0)
    count = len(points)
    stride = points[:, 2:]
    boxes = np.hstack([points[:, :2] + stride / 2, stride * rng.uniform(1, 6, (count, 2))])
    logits = rng.normal(*noise, (count, num_classes))
    free = np.ones(count, bool)
    shares = np.array_split(np.arange(_NUM_ANCHORS_OF_OBJECTS), _NUM_OBJECTS)
    for share in shares:
        centre, size = rng.uniform(0.1, 0.9, 2) * side, np.exp(rng.uniform(2.5, 5.5, 2))
        level = 8 * 2 ** np.clip(np.floor(np.log2(size.max() / 32)), 0, 2)
        distances = np.linalg.norm(points[:, :2] - centre, axis=1)
        near = np.argsort(np.where(free & (points[:, 2] == level), distances, np.inf))
        near = near[: len(share)]
        free[near] = False
        boxes[near] = np.hstack([centre, size]) * rng.normal(1, 0.02, (len(near), 4))
        scores = np.linspace(0.92, 0.26, len(near))
        logits[near, rng.integers(num_classes)] = np.log(scores / (1 - scores))
    return boxes.astype(np.float32), logits.astype(np.float32)


def _sigmoid(logits: NDArray[np.floating]) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _bins(boxes: Floats, points: Floats, num_bins: int) -> Floats:
    """Return (N, 4 * num_bins) logits, a peak at each distance among noise."""
    rng = np.random.default_rng(1)
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    distances = np.hstack([points[:, :2] - (centre - half), centre + half - points[:, :2]])
    peaks = np.clip(distances / points[:, 2:], 0, num_bins - 1)
    logits = -np.abs(np.arange(num_bins) - peaks[..., None])
    logits += rng.normal(0, 0.3, logits.shape)
    return logits.reshape(len(points), -1).astype(np.float32)


def _in_layout(rows: Floats, layout: str) -> Floats:
    return np.ascontiguousarray(rows.T if layout == "cn" else rows)


def _yolo(layout: Layout, score_threshold: float, *, multi_label: bool) -> Case:
    boxes, logits = _scene(anchor_points((640, 640), _STRIDES, 0.5), 640, 80)
    scores = _sigmoid(logits)
    head = _in_layout(np.hstack([boxes, scores]), layout)
    problem = _Problem(boxes, scores, score_threshold, multi_label)
    return problem.case(
        "decode_yolo",
        f"{_shape(head)} {layout}",
        head.nbytes,
        partial(decode_yolo, head, layout=layout, multi_label=multi_label),
        _ultralytics(_in_layout(np.hstack([boxes, scores]), "cn"), problem)
        if layout == "cn"
        else _torch_peer(problem, _in_layout(scores, layout), layout, [boxes], _box_around),
    )


def _raw_yolo(layout: Layout, score_threshold: float, *, multi_label: bool) -> Case:
    points = anchor_points((640, 640), _STRIDES, 0.5)
    boxes, logits = _scene(points, 640, 80)
    sides = _bins(boxes, points, 16)
    head = _in_layout(np.hstack([sides, logits]), layout)
    problem = _Problem(boxes, _sigmoid(logits), score_threshold, multi_label)
    return problem.case(
        "decode_yolo",
        f"raw {_shape(head)} {layout}",
        head.nbytes,
        partial(
            decode_yolo,
            head,
            layout=layout,
            multi_label=multi_label,
            reg_max=16,
            size_hw=(640, 640),
        ),
        _torch_peer(
            problem,
            _in_layout(logits, layout),
            layout,
            [sides, points],
            _box_of_bins,
            are_logits=True,
        ),
    )


def _yolox(side: int, layout: Layout, score_threshold: float, *, multi_label: bool) -> Case:
    points = anchor_points((side, side), _STRIDES, 0.0)
    boxes, logits = _scene(points, side, 80)
    # Objectness tells objects from background, the classes one object from another: at objects
    # their products are the scores of the scene.
    rng = np.random.default_rng(2)
    scores = _sigmoid(logits)
    is_object = scores.max(axis=1, keepdims=True) > 0.25  # noqa: PLR2004  # see the module
    noise = _sigmoid(rng.normal(-8, 1.5, (len(points), 1)))
    objectness = np.where(is_object, np.sqrt(scores.max(axis=1, keepdims=True)), noise)
    classes = np.where(is_object, scores / objectness, _sigmoid(rng.normal(-4, 1.5, scores.shape)))
    coded = [(boxes[:, :2] - points[:, :2]) / points[:, 2:], np.log(boxes[:, 2:] / points[:, 2:])]
    rows = np.hstack([*coded, objectness, classes]).astype(np.float32)
    head = _in_layout(rows, layout)
    problem = _Problem(boxes, rows[:, 4:5] * rows[:, 5:], score_threshold, multi_label)
    return problem.case(
        "decode_yolox",
        f"{_shape(head)} {layout}",
        head.nbytes,
        partial(decode_yolox, head, layout=layout, multi_label=multi_label, size_hw=(side, side)),
        _torch_peer(
            problem,
            _in_layout(rows[:, 4:], layout),
            layout,
            [rows[:, :4], points],
            _box_of_cell,
            has_objectness=True,
        ),
    )


def _nanodet(score_threshold: float, *, multi_label: bool) -> Case:
    points = anchor_points((416, 416), (*_STRIDES, 64), 0.0)
    boxes, logits = _scene(points, 416, 80)
    scores, sides = _sigmoid(logits), _bins(boxes, points, 8)
    head = np.hstack([scores, sides])
    problem = _Problem(boxes, scores, score_threshold, multi_label)
    return problem.case(
        "decode_nanodet",
        f"{_shape(head)} nc",
        head.nbytes,
        partial(decode_nanodet, head, size_hw=(416, 416), multi_label=multi_label),
        _torch_peer(problem, scores, "nc", [sides, points], _box_of_bins),
    )


def _ssd(layout: Layout, score_threshold: float) -> Case:
    """8732 anchors and 21 classes, SSD300 of the paper; 400 anchors see an object."""
    rng = np.random.default_rng(3)
    cells = ((38, 4), (19, 6), (10, 6), (5, 6), (3, 4), (1, 4))  # a side, and anchors per cell
    levels = [
        anchor_points((side, side), (1,), 0.5).repeat(shapes, axis=0) * np.float32(300 / side)
        for side, shapes in cells
    ]
    points = np.concatenate(levels)
    sizes = points[:, 2:] * rng.uniform(1, 3, (len(points), 2))
    anchors = np.hstack([points[:, :2], sizes]).astype(np.float32)
    logits = rng.normal(-4, 1.5, (len(points), 21)).astype(np.float32)
    logits[:, 0] = rng.normal(4, 1.5, len(points))
    objects = rng.choice(len(points), 400, replace=False)
    logits[objects, rng.integers(1, 21, 400)] = rng.uniform(2, 7, 400)
    offsets = rng.normal(0, 0.5, (len(points), 4)).astype(np.float32)

    masses = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (masses / masses.sum(axis=1, keepdims=True))[:, 1:]
    centre = anchors[:, :2] + 0.1 * offsets[:, :2] * anchors[:, 2:]
    boxes = np.hstack([centre, anchors[:, 2:] * np.exp(0.2 * offsets[:, 2:])])
    problem = _Problem(boxes, scores, score_threshold, multi_label=True)
    heads = _in_layout(offsets, layout), _in_layout(logits, layout)
    return problem.case(
        "decode_ssd",
        f"{_shape(heads[1])} {layout}",
        offsets.nbytes + logits.nbytes,
        partial(decode_ssd, *heads, anchors, layout=layout),
        _torch_peer(
            problem, heads[1], layout, [offsets, anchors], _box_of_anchor, has_background=True
        ),
    )


def _shape(head: Floats) -> str:
    return "x".join(map(str, head.shape))


@dataclass(frozen=True)
class _Problem:
    """What is to be found: boxes cx, cy, w, h (N, 4), scores (N, C), and which are candidates."""

    boxes: Floats
    scores: Floats
    score_threshold: float
    multi_label: bool

    def case(
        self,
        operator: str,
        size: str,
        num_bytes: int,
        ours: Callable[..., object],
        peers: dict[str, Call],
    ) -> Case:
        """Add the thresholds to our call, and the floor with its two parts."""
        read = reading(num_bytes)
        suppress, num_candidates = self._suppression()

        def floor() -> None:
            read()
            suppress()

        labels = "multi" if self.multi_label else "best"
        return Case(
            operator=operator,
            size=f"{size} >{self.score_threshold} {labels}",
            ours=partial(ours, score_threshold=self.score_threshold, **_LIMITS),
            peers={**peers, "(reading alone)": read, "(nms alone)": suppress},
            floor=floor,
            floor_is=f"read the head, nms of {num_candidates}",
        )

    def _suppression(self) -> tuple[Call, int]:
        """Return the suppression of the candidates, and how many they are."""
        if self.multi_label:
            anchors, class_ids = np.nonzero(self.scores > self.score_threshold)
        else:
            anchors = np.flatnonzero(self.scores.max(axis=1) > self.score_threshold)
            class_ids = self.scores[anchors].argmax(axis=1)
        scores = self.scores[anchors, class_ids]
        best = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
        centre, half = self.boxes[anchors[best], :2], self.boxes[anchors[best], 2:] / 2
        boxes = np.hstack([centre - half, centre + half])
        arrays = boxes, scores[best], class_ids[best].astype(np.int32)
        return partial(nms, *arrays, **_LIMITS), len(best)


def _ultralytics(head: Floats, problem: _Problem) -> dict[str, Call]:
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        import torchvision  # noqa: F401, PLC0415  # it is used if it is imported
        from ultralytics.utils.nms import non_max_suppression  # noqa: PLC0415
    except ImportError:
        return {}
    torch.set_num_threads(1)
    call = partial(
        non_max_suppression,
        torch.from_numpy(head)[None],
        conf_thres=problem.score_threshold,
        iou_thres=_LIMITS["iou_threshold"],
        multi_label=problem.multi_label,
        max_det=_LIMITS["max_detections"],
    )
    return {"ultralytics": call}


def _torch_peer(
    problem: _Problem,
    values: Floats,
    layout: str,
    parts: list[Floats],
    box_of: Callable[..., Any],
    *,
    are_logits: bool = False,
    has_objectness: bool = False,
    has_background: bool = False,
) -> dict[str, Call]:
    """Return the decoding in torch, boxes for candidates alone, and torchvision's suppression.

    Args:
        problem: the thresholds.
        values: class values in `layout`, after the objectness or the background if there is one.
        layout: "cn" or "nc".
        parts: what the boxes are made of, a row per anchor.
        box_of: makes boxes x1, y1, x2, y2 of rows of `parts`.
        are_logits: whether the values become scores by a sigmoid: it is taken of candidates alone.
        has_objectness: whether they are to be multiplied by it.
        has_background: whether they become scores by a softmax.

    """
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision.ops import batched_nms  # noqa: PLC0415
    except ImportError:
        return {}
    torch.set_num_threads(1)
    rows = torch.from_numpy(values).T if layout == "cn" else torch.from_numpy(values)
    tensors = [torch.from_numpy(part.copy()) for part in parts]  # some are read-only
    threshold = problem.score_threshold
    floor = float(np.log(threshold / (1 - threshold))) if are_logits else threshold

    def call() -> object:
        scores = rows
        if has_objectness:
            scores = rows[:, 1:] * rows[:, :1]
        if has_background:
            scores = rows.softmax(dim=1)[:, 1:]
        if problem.multi_label:
            anchors, class_ids = torch.where(scores > floor)
            scores = scores[anchors, class_ids]
        else:
            best, class_ids = scores.max(dim=1)
            anchors = torch.nonzero(best > floor)[:, 0]
            scores, class_ids = best[anchors], class_ids[anchors]
        if len(anchors) > _MAX_CANDIDATES:
            scores, order = scores.topk(_MAX_CANDIDATES)
            anchors, class_ids = anchors[order], class_ids[order]
        if are_logits:
            scores = scores.sigmoid()
        boxes = box_of(*(part[anchors] for part in tensors))
        kept = batched_nms(boxes, scores, class_ids, _LIMITS["iou_threshold"])
        kept = kept[: _LIMITS["max_detections"]]
        return boxes[kept], scores[kept], class_ids[kept]

    return {"torch, torchvision nms": call}


def _box_around(boxes: Any) -> Any:  # noqa: ANN401  # of torch, which need not be installed
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return _joined(centre - half, centre + half)


def _box_of_bins(sides: Any, points: Any) -> Any:  # noqa: ANN401  # idem
    import torch  # noqa: PLC0415

    masses = sides.view(len(sides), 4, -1).softmax(dim=2)
    distances = masses @ torch.arange(masses.shape[2], dtype=masses.dtype) * points[:, 2:]
    return _joined(points[:, :2] - distances[:, :2], points[:, :2] + distances[:, 2:])


def _box_of_cell(coded: Any, points: Any) -> Any:  # noqa: ANN401  # idem
    centre = coded[:, :2] * points[:, 2:] + points[:, :2]
    half = coded[:, 2:].exp() * points[:, 2:] / 2
    return _joined(centre - half, centre + half)


def _box_of_anchor(offsets: Any, anchors: Any) -> Any:  # noqa: ANN401  # idem
    centre = offsets[:, :2] * 0.1 * anchors[:, 2:] + anchors[:, :2]
    half = (offsets[:, 2:] * 0.2).exp() * anchors[:, 2:] / 2
    return _joined(centre - half, centre + half)


def _joined(low: Any, high: Any) -> Any:  # noqa: ANN401  # idem
    import torch  # noqa: PLC0415

    return torch.cat([low, high], dim=1)
