"""Where to put a model's score threshold."""

from dataclasses import dataclass

import numpy as np

from edgecv.metrics.matching import RankedDetections


@dataclass(frozen=True)
class OperatingPoint:
    """What a class's detections are worth above one score threshold, as fractions.

    Args:
        f1: the harmonic mean of precision and recall.
        precision: hits among the detections.
        recall: objects that were found.
        score_threshold: the detections whose score exceeds it are those that were counted. NaN
            where there is no detection.

    """

    f1: float
    precision: float
    recall: float
    score_threshold: float


def best_f1(ranked: RankedDetections) -> OperatingPoint:
    """Return the threshold with the highest F1; of equal ones the highest threshold.

    It lies halfway between the last score that counts and the next one, as far from both as can
    be. All figures are NaN if there is no object, F1 is 0 if none is found.

    Source:
        van Rijsbergen, "Information Retrieval", 1979, chapter 7: F1 = 2PR / (P + R), which is
        2 hits / (detections + objects).

    """
    nan = float("nan")
    if ranked.num_objects == 0:
        return OperatingPoint(nan, nan, nan, nan)
    if not ranked.is_hit.any():
        return OperatingPoint(0.0, 0.0, 0.0, nan)
    # A threshold cannot part equal scores: only the last of them ends a set of detections.
    ends = np.flatnonzero(np.append(np.diff(ranked.scores) != 0, True))
    num_hits, num_detections = np.cumsum(ranked.is_hit)[ends], ends + 1
    f1 = 2 * num_hits / (num_detections + ranked.num_objects)
    best = int(f1.argmax())
    last = ranked.scores[ends[best]]
    if best + 1 < len(ends):
        threshold = (last + ranked.scores[ends[best] + 1]) / 2
    else:
        threshold = np.nextafter(last, 0.0)
    return OperatingPoint(
        float(f1[best]),
        float(num_hits[best] / num_detections[best]),
        float(num_hits[best] / ranked.num_objects),
        float(threshold),
    )
