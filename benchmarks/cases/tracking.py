"""Cases of following objects: a whole step of the tracker, and the assignment inside it.

The objects of a step move and their detections tremble; a step of the peer has the same detections.
The floor of a step is what any tracker needs: the overlaps of all detections with all tracks.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from measure import Call, Case, copying

from edgecv.kernels import box_iou, linear_assignment
from edgecv.results import Detections
from edgecv.stream.tracking import Tracker

OPERATORS = ("track", "linear_assignment")

_FPS = 30
_PERIOD = 300  # frames after which the scene begins anew, without a jump


def cases() -> Iterator[Case]:
    """Yield a quiet street, a busy one and a crowd; then assignments of such sizes."""
    for count in (10, 100, 300):
        yield _track(count)
    for count in (10, 100, 300):
        yield _linear_assignment(count)


def _track(count: int) -> Case:
    frames = _frames(count)
    tracker, clock, turn = Tracker(), itertools.count(), itertools.cycle(frames)
    for found in frames:  # the peers begin with tracks, too
        tracker.update(found, next(clock) / _FPS)
    boxes = frames[0].boxes_xyxy, frames[1].boxes_xyxy
    overlaps = np.empty((count, count), np.float32)
    return Case(
        operator="track",
        size=f"{count} objects",
        ours=lambda: tracker.update(next(turn), next(clock) / _FPS),
        peers=_peer(frames),
        floor=lambda: box_iou(*boxes, out=overlaps),
        floor_is="box_iou of all with all",
    )


def _peer(frames: Sequence[Detections]) -> dict[str, Call]:
    try:
        import supervision  # noqa: PLC0415  # its detections are what the peer takes
        from trackers import ByteTrackTracker  # noqa: PLC0415  # where it is installed
    except ImportError:
        return {}
    tracker = ByteTrackTracker(frame_rate=_FPS)
    theirs = [
        supervision.Detections(
            xyxy=each.boxes_xyxy, confidence=each.scores, class_id=each.class_ids.astype(int)
        )
        for each in frames
    ]
    for found in theirs:
        tracker.update(found)
    turn = itertools.cycle(theirs)
    return {"trackers ByteTrackTracker": lambda: tracker.update(next(turn))}


def _frames(count: int) -> list[Detections]:
    """Return the detections of a scene, frame by frame: each object circles around its place."""
    rng = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(count)))
    places = np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1) * 60.0
    sides = rng.uniform(30, 60, (count, 2))
    phases, radii = rng.uniform(0, 2 * np.pi, count), rng.uniform(5, 40, count)
    frames = []
    for index in range(_PERIOD):
        angles = phases + 2 * np.pi * index / _PERIOD
        centres = places + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        centres = centres + rng.normal(0, 0.5, (count, 2))
        boxes = np.hstack([centres - sides / 2, centres + sides / 2]).astype(np.float32)
        scores = rng.uniform(0.65, 0.95, count).astype(np.float32)
        frames.append(Detections(boxes, scores, np.zeros(count, np.int32)))
    return frames


def _linear_assignment(count: int) -> Case:
    # As between two frames: few pairs overlap at all.
    first, second = (each.boxes_xyxy for each in _frames(count)[:2])
    gains = box_iou(first, second).astype(np.float64)
    peers: dict[str, Call] = {}
    try:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # a peer
    except ImportError:
        pass
    else:
        peers["scipy linear_sum_assignment"] = lambda: linear_sum_assignment(gains, maximize=True)
    return Case(
        operator="linear_assignment",
        size=f"{count} x {count} overlaps",
        ours=lambda: linear_assignment(gains),
        peers=peers,
        floor=copying(gains.nbytes),
        floor_is="copy the gains",
    )
