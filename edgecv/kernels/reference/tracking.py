"""The definition of tracking: the best pairing, and one step of ByteTrack in full matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.reference.overlap import Array, has_area, iou

STEP_S = 1 / 30  # of a frame in the papers


def linear_assignment(gains: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the column of each row, or -1, by trying everything: for a dozen columns at most."""
    num_rows, num_columns = gains.shape

    @cache
    def best(row: int, taken: int) -> tuple[float, tuple[int, ...]]:
        """Return the largest sum of the rows from `row` on, and their columns."""
        if row == num_rows:
            return 0.0, ()
        total, columns = best(row + 1, taken)
        result = total, (-1, *columns)
        for column in range(num_columns):
            gain = float(gains[row, column])
            if gain > 0 and not taken >> column & 1:
                total, columns = best(row + 1, taken | 1 << column)
                result = max(result, (gain + total, (column, *columns)))
        return result

    return np.array(best(0, 0)[1], np.int64)


@dataclass
class Track:
    """One object: a Kalman filter over centre, width and height and their velocities a second."""

    mean: Array  # (8,): cx, cy, w, h and their velocities
    covariance: Array  # (8, 8)
    class_id: int
    track_id: int = -1
    unseen_s: float = 0.0
    num_hits: int = 1
    num_misses: int = 0

    @property
    def box_xyxy(self) -> Array:
        """Where the filter has it."""
        centre, size = self.mean[:2], self.mean[2:4]
        return np.concatenate([centre - size / 2, centre + size / 2])

    @property
    def sizes(self) -> Array:
        """Width, height, width, height, as the noise of x, y, width and height scales with."""
        sides: Array = np.maximum(self.mean[[2, 3, 2, 3]], 1.0)
        return sides


@dataclass
class Tracks:
    """All objects at one time, and the id that the next one gets."""

    tracks: list[Track] = field(default_factory=list)
    next_id: int = 1


def measurement(box_xyxy: Sequence[float] | Array) -> Array:
    """Return centre, width and height of a box, (4,)."""
    x1, y1, x2, y2 = np.asarray(box_xyxy, np.float64)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def predict(track: Track, elapsed_s: float) -> None:
    """Let the state run on: x' = F x, P' = F P F^T + Q, Q that of white noise over the time."""
    transition = np.eye(8)
    transition[:4, 4:] = elapsed_s * np.eye(4)
    position = (track.sizes / 20) ** 2 / STEP_S
    velocity = (track.sizes / 160 / STEP_S) ** 2 / STEP_S
    noise = np.zeros((8, 8))
    noise[:4, :4] = np.diag(position * elapsed_s + velocity * elapsed_s**3 / 3)
    noise[:4, 4:] = noise[4:, :4] = np.diag(velocity * elapsed_s**2 / 2)
    noise[4:, 4:] = np.diag(velocity * elapsed_s)
    track.mean = transition @ track.mean
    track.covariance = transition @ track.covariance @ transition.T + noise


def correct(track: Track, box_xyxy: Sequence[float] | Array) -> None:
    """Take a measured box in: K = P H^T (H P H^T + R)^-1."""
    observe = np.eye(4, 8)
    innovation = observe @ track.covariance @ observe.T + np.diag((track.sizes / 20) ** 2)
    gain = track.covariance @ observe.T @ np.linalg.inv(innovation)
    track.mean = track.mean + gain @ (measurement(box_xyxy) - observe @ track.mean)
    track.covariance = (np.eye(8) - gain @ observe) @ track.covariance


def begin(box_xyxy: Sequence[float] | Array, class_id: int) -> Track:
    """Return the track of an object that is seen for the first time."""
    track = Track(np.concatenate([measurement(box_xyxy), np.zeros(4)]), np.zeros((8, 8)), class_id)
    deviations = np.concatenate([track.sizes / 10, track.sizes / 16 / STEP_S])
    track.covariance = np.diag(deviations**2)
    return track


def byte_track(
    state: Tracks,
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    *,
    elapsed_s: float,
    high_score: float,
    low_score: float,
    new_score: float,
    min_iou: float,
    min_iou_low: float,
    min_iou_new: float,
    lost_s: float,
    min_hits: int,
    is_class_aware: bool,
) -> list[int]:
    """Move the tracks on to the next frame and return the id of each object, -1 without one."""
    objects = [
        Object(i, box, int(class_id), float(score))
        for i, (box, class_id, score) in enumerate(
            zip(boxes_xyxy.astype(np.float64), class_ids, scores, strict=True)
        )
        if has_area(box)
    ]
    high = [found for found in objects if found.score >= high_score]
    low = [found for found in objects if low_score <= found.score < high_score]
    for track in state.tracks:
        predict(track, elapsed_s)
        track.unseen_s += elapsed_s

    known = [track for track in state.tracks if track.track_id >= 0]
    unconfirmed = [track for track in state.tracks if track.track_id < 0]
    matches = match(known, high, min_iou, is_class_aware=is_class_aware)
    just_seen = [track for track in known if not _has(matches, track) and track.num_misses == 0]
    matches += match(just_seen, low, min_iou_low, is_class_aware=is_class_aware)
    left = [found for found in high if not any(found is taken for _, taken in matches)]
    matches += match(unconfirmed, left, min_iou_new, is_class_aware=is_class_aware)
    matches.sort(key=lambda pair: pair[1].row)

    for track, found in matches:
        correct(track, found.box_xyxy)
        track.unseen_s, track.num_misses, track.num_hits = 0.0, 0, track.num_hits + 1
        track.class_id = found.class_id
        confirm(state, track, min_hits)
    missed = [track for track in state.tracks if not _has(matches, track)]
    for track in missed:
        track.num_misses += 1
        track.mean[6:8] = 0  # the velocities of width and height
    gone = [track for track in missed if track.track_id < 0 or track.unseen_s > lost_s]
    state.tracks = [track for track in state.tracks if not any(track is lost for lost in gone)]
    for found in left:
        if found.score >= new_score and not any(found is taken for _, taken in matches):
            matches.append((begin(found.box_xyxy, found.class_id), found))
            confirm(state, matches[-1][0], min_hits)
            state.tracks.append(matches[-1][0])
    ids = {found.row: track.track_id for track, found in matches}
    return [ids.get(row, -1) for row in range(len(scores))]


@dataclass(frozen=True, eq=False)
class Object:
    """What was found in a row of the detections."""

    row: int
    box_xyxy: Array
    class_id: int
    score: float


def match(
    tracks: list[Track], objects: list[Object], limit: float, *, is_class_aware: bool
) -> list[tuple[Track, Object]]:
    """Return the pairs with the largest sum of IoU - limit, all of them above it."""
    gains = np.zeros((len(tracks), len(objects)))
    for row, track in enumerate(tracks):
        for column, found in enumerate(objects):
            if track.class_id == found.class_id or not is_class_aware:
                gains[row, column] = iou(track.box_xyxy, found.box_xyxy) - limit
    chosen = linear_assignment(gains)
    return [(track, objects[j]) for track, j in zip(tracks, chosen, strict=True) if j >= 0]


def confirm(state: Tracks, track: Track, min_hits: int) -> None:
    """Give a track the next id if it was found often enough."""
    if track.track_id < 0 and track.num_hits >= min_hits:
        track.track_id, state.next_id = state.next_id, state.next_id + 1


def _has(matches: list[tuple[Track, Object]], track: Track) -> bool:
    return any(track is matched for matched, _ in matches)
