"""One step of a tracker: which object of a frame is which of the frames before."""

import math

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import byte_track_cpu
from edgecv.kernels.arguments import check_array, check_at_least, check_fraction


class TrackTable:
    """The objects that are followed at one time; `byte_track` moves it on.

    It has room for some more tracks than it holds, and grows as it needs.
    """

    def __init__(self) -> None:
        """Begin without tracks; the first id is 1."""
        self.motion = np.zeros((0, 4, 5))
        self.unseen_s = np.zeros(0)
        self.labels = np.zeros((0, 4), np.int64)
        self.num_tracks = 0
        self.next_id = 1

    def __len__(self) -> int:
        """Return the number of tracks, also of those that have no id yet or are out of sight."""
        return self.num_tracks

    @property
    def track_ids(self) -> NDArray[np.int64]:
        """(T,) int64, the id of each track, -1 before it has one."""
        return self.labels[: self.num_tracks, 0].copy()

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """(T, 4) float64, where each track's filter has its box, in pixels."""
        centres, sizes = np.split(self.motion[: self.num_tracks, :, 0], 2, axis=1)
        return np.hstack([centres - sizes / 2, centres + sizes / 2])

    def clear(self) -> None:
        """Forget all tracks; ids go on where they were."""
        self.num_tracks = 0

    def reserve(self, num_tracks: int) -> None:
        """Make room for that many tracks."""
        room = len(self.unseen_s)
        if num_tracks > room:
            more = max(num_tracks, 2 * room) - room
            self.motion = np.concatenate([self.motion, np.zeros((more, 4, 5))])
            self.unseen_s = np.concatenate([self.unseen_s, np.zeros(more)])
            self.labels = np.concatenate([self.labels, np.zeros((more, 4), np.int64)])


def byte_track(
    table: TrackTable,
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    *,
    elapsed_s: float,
    high_score: float = 0.5,
    low_score: float = 0.1,
    new_score: float = 0.6,
    min_iou: float = 0.2,
    min_iou_low: float = 0.5,
    min_iou_new: float = 0.3,
    lost_s: float = 1.0,
    min_hits: int = 2,
    is_class_aware: bool = True,
) -> NDArray[np.int64]:
    """Match the objects of the next frame to the tracks, and move the tracks on.

    Objects with a good score are matched first, then the others to the tracks that are left: a
    low score is more often an object half hidden than none at all. What exactly happens is written
    in `kernels/byte_track/byte_track.h`; `edgecv.stream.tracking.Tracker` is the class to use.

    Args:
        table: changed in place.
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels; a box that is empty, inverted or not
            finite takes no part.
        scores: (N,) float32.
        class_ids: (N,) int32.
        elapsed_s: seconds since the frame before, at least 0.
        high_score: in [0, 1], from which on a score is good.
        low_score: in [0, 1], from which on a score counts at all.
        new_score: in [0, 1], from which on an object that matches nothing begins a track.
        min_iou: in [0, 1], that a match of the first round exceeds.
        min_iou_low: in [0, 1], of objects with a low score.
        min_iou_new: in [0, 1], of tracks that have no id yet.
        lost_s: seconds that a track stays out of sight before it is forgotten, at least 0.
        min_hits: frames in a row in which an object is found before it has an id, at least 1.
        is_class_aware: whether objects are matched to tracks of their class only.

    Returns:
        (N,) int64, the id of each object's track, -1 for none.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV
        2022; Aharon et al., "BoT-SORT: Robust Associations Multi-Pedestrian Tracking", 2022.

    """
    check_array("byte_track", "boxes_xyxy", boxes_xyxy, np.float32, ("N", 4))
    count = len(boxes_xyxy)
    check_array("byte_track", "scores", scores, np.float32, (count,))
    check_array("byte_track", "class_ids", class_ids, np.int32, (count,))
    fractions = {
        "high_score": high_score,
        "low_score": low_score,
        "new_score": new_score,
        "min_iou": min_iou,
        "min_iou_low": min_iou_low,
        "min_iou_new": min_iou_new,
    }
    for name, value in fractions.items():
        check_fraction("byte_track", name, value)
    for name, value in {"elapsed_s": elapsed_s, "lost_s": lost_s}.items():
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"byte_track: `{name}` must be finite and at least 0 s, got {value}.")
    check_at_least("byte_track", "min_hits", min_hits, 1)
    track_ids = np.empty(count, np.int64)
    table.reserve(table.num_tracks + count)
    table.num_tracks, table.next_id = byte_track_cpu(
        table.motion,
        table.unseen_s,
        table.labels,
        table.num_tracks,
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(scores),
        np.ascontiguousarray(class_ids),
        elapsed_s=elapsed_s,
        **fractions,
        lost_s=lost_s,
        min_hits=min_hits,
        is_class_aware=is_class_aware,
        next_id=table.next_id,
        track_ids=track_ids,
    )
    return track_ids
