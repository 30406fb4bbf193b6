"""Following objects from frame to frame: detections get ids that stay with their objects.

Our own code rather than a package: those on PyPI bring SciPy, OpenCV or PyTorch along, and count in
frames, where a live stream drops some. Here time is what counts, and a step of a hundred tracks
takes a fraction of a millisecond.
"""

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from edgecv.errors import InputError
from edgecv.kernels import TrackTable, byte_track
from edgecv.results import Detections


@dataclass(frozen=True)
class TrackerConfig:
    """When a detection belongs to a track, and how long a track lives.

    The model should deliver detections down to `low_score`: what is half hidden scores low, and
    is found again by these.

    Args:
        high_score: in [0, 1], from which on a detection is matched first and to any track.
        low_score: in [0, 1], from which on it may continue a track that was just seen; at most
            `high_score`.
        new_score: in [0, 1], from which on it may begin a track; at least `high_score`.
        min_iou: in [0, 1], overlap of detection and expected box that a match exceeds.
        min_iou_low: likewise, of a detection with a low score.
        min_iou_new: likewise, of a track that has no id yet.
        lost_s: seconds that an object may be out of sight and have its id back, at least 0.
        min_hits: frames in a row in which an object is found before it has an id, at least 1.
        is_class_aware: whether a track stays with its class. False for a model that takes a car
            now for a truck and then for a car: ids last, and the class is that of the detection.

    Raises:
        InputError: if a value is not as described.

    """

    high_score: float = 0.5
    low_score: float = 0.1
    new_score: float = 0.6
    min_iou: float = 0.2
    min_iou_low: float = 0.5
    min_iou_new: float = 0.3
    lost_s: float = 1.0
    min_hits: int = 2
    is_class_aware: bool = True

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name in (
            "high_score",
            "low_score",
            "new_score",
            "min_iou",
            "min_iou_low",
            "min_iou_new",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"tracker: `{name}` must be in [0, 1], got {value}.")
        if not self.low_score <= self.high_score <= self.new_score:
            raise InputError(
                "tracker: `low_score`, `high_score` and `new_score` must not descend, got "
                f"{self.low_score}, {self.high_score} and {self.new_score}."
            )
        if not (self.lost_s >= 0 and math.isfinite(self.lost_s)):
            raise InputError(
                f"tracker: `lost_s` must be finite and at least 0 s, got {self.lost_s}."
            )
        if self.min_hits < 1:
            raise InputError(f"tracker: `min_hits` must be at least 1, got {self.min_hits}.")


class Tracker:
    """Follows the objects of one source, see `edgecv.kernels.byte_track`.

    Its memory is that of the objects of the last `lost_s` seconds, however long it runs.

    Args:
        config: by default ByteTrack's own values.

    Example:
        >>> tracker = Tracker()
        >>> for result in edgecv.stream("street.mp4", model.with_thresholds(score=0.1)):
        ...     found = tracker.update(result.detections, result.frame.pts_s).tracked

    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        """Begin without tracks; the first id is 1."""
        self.config = config or TrackerConfig()
        self._table = TrackTable()
        self._options = asdict(self.config)
        self._last_s: float | None = None

    @property
    def num_tracks(self) -> int:
        """How many objects are followed, also those that have no id yet or are out of sight."""
        return len(self._table)

    def update(self, detections: Detections, at_s: float) -> Detections:
        """Return the detections of the next frame with their ids, in the same order.

        Args:
            detections: of one frame; subclasses, such as `Instances`, stay what they are.
            at_s: when it was taken, in seconds on any clock that runs evenly. Where it is before
                that of the last frame, the source began anew: all tracks are forgotten, and ids go
                on.

        Returns:
            The same with `track_ids`, (N,) int64: 1, 2, 3, … in the order in which objects were
            confirmed; -1 for one that is not, or that scores too low to belong to any.

        Raises:
            ValueError: if `at_s` is not finite.

        """
        if not math.isfinite(at_s):
            raise ValueError(f"Tracker.update: `at_s` must be finite, got {at_s}.")
        if self._last_s is not None and at_s < self._last_s:
            self._table.clear()
            self._last_s = None
        elapsed_s = 0.0 if self._last_s is None else at_s - self._last_s
        self._last_s = at_s
        track_ids = byte_track(
            self._table,
            np.asarray(detections.boxes_xyxy, np.float32),
            np.asarray(detections.scores, np.float32),
            np.asarray(detections.class_ids, np.int32),
            elapsed_s=elapsed_s,
            **self._options,
        )
        return replace(detections, track_ids=track_ids)
