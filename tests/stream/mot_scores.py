"""MOTA and IDF1 from their definitions, to score trackers where the truth is known.

MOTA: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
Metrics", 2008. IDF1: Ristani et al., "Performance Measures and a Data Set for Multi-Target,
Multi-Camera Tracking", 2016.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.reference import box_iou, linear_assignment

Boxes = Mapping[int, Sequence[float] | NDArray[np.floating]]  # of one frame, by id
ENOUGH = 0.5  # IoU of an object and what is taken for it


@dataclass(frozen=True)
class Scores:
    mota: float
    idf1: float
    num_switches: int
    num_missed: int
    num_false: int


def mot_scores(truth: Sequence[Boxes], tracked: Sequence[Boxes]) -> Scores:
    """Score what was tracked, frame by frame."""
    switches = missed = false = 0
    last: dict[int, int] = {}
    together: Counter[tuple[int, int]] = Counter()
    for objects, found in zip(truth, tracked, strict=True):
        overlaps = {
            (i, j): float(box_iou(np.array([objects[i]]), np.array([found[j]]))[0, 0])
            for i, j in product(objects, found)
        }
        close = {pair: iou for pair, iou in overlaps.items() if iou >= ENOUGH}
        together.update(close.keys())
        # What was matched stays matched while it is close; the rest are matched best.
        pairs = {i: j for i, j in last.items() if (i, j) in close}
        rows = [i for i in objects if i not in pairs]
        columns = [j for j in found if j not in pairs.values()]
        gains = np.array([[close.get((i, j), 0.0) for j in columns] for i in rows])
        chosen = linear_assignment(gains.reshape(len(rows), len(columns)))
        new = {i: columns[j] for i, j in zip(rows, chosen, strict=True) if j >= 0}
        switches += sum(last.get(i, j) != j for i, j in new.items())
        pairs |= new
        last |= pairs
        missed += len(objects) - len(pairs)
        false += len(found) - len(pairs)
    num_truth = sum(map(len, truth))
    ids, others = sorted({i for i, _ in together}), sorted({j for _, j in together})
    shared = np.array([[together[i, j] for j in others] for i in ids], np.float64)
    rows_to_columns = linear_assignment(shared.reshape(len(ids), len(others)))
    true_positives = sum(shared[i, j] for i, j in enumerate(rows_to_columns) if j >= 0)
    return Scores(
        1 - (missed + false + switches) / num_truth,
        2 * float(true_positives) / (num_truth + sum(map(len, tracked))),
        switches,
        missed,
        false,
    )
