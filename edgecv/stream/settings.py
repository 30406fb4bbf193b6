"""What may change while a stream runs: which detections count, from the next batch on.

A thread that changes them (a page with sliders, a signal that has a file read again) never waits
for a frame, and no frame for it: a batch takes the setting that is there when it begins, and keeps
it to its end.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.results import Detections, Result
from edgecv.spec import PostprocessSpec
from edgecv.stream.interest import finish_within
from edgecv.stream.regions import Region
from edgecv.stream.runner import OF_OBJECTS, Runnable, Runner, Seen, as_runner, models_of


@dataclass(frozen=True)
class Thresholds:
    """Which detections count; what is None is as the model's description says.

    Args:
        score: in [0, 1], which a detection's score exceeds.
        iou: in [0, 1]; of two boxes of a class that overlap more, the better stays.
        max_detections: at most so many a frame, the best; at least 1.
        score_of_class: in place of `score`, by class name.

    Raises:
        InputError: if a value is not as described.

    """

    score: float | None = None
    iou: float | None = None
    max_detections: int | None = None
    score_of_class: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        shares = {"score": self.score, "iou": self.iou}
        shares |= {f"score_of_class.{name}": value for name, value in self.score_of_class.items()}
        for name, value in shares.items():
            if value is not None and not (0 <= value <= 1 and math.isfinite(value)):
                raise InputError(f"thresholds: `{name}` must be in [0, 1], got {value}.")
        if self.max_detections is not None and self.max_detections < 1:
            raise InputError(
                f"thresholds: `max_detections` must be at least 1, got {self.max_detections}."
            )


@dataclass(frozen=True, eq=False)
class Setting:
    """What a stream runs with its thresholds as of one moment: what a batch is run with.

    Args:
        runner: asked for whatever may count.
        thresholds: as they were asked for.

    """

    runner: Runner
    thresholds: Thresholds
    # The least score of each class, (C,) float32; None where the model has left the rest out.
    _least: NDArray[np.float32] | None = None
    _least_tracked: NDArray[np.float32] | None = None
    _is_tracking: bool = False

    def finish(self, seen: Sequence[Seen], region: Region | None = None) -> Result:
        """Turn what was seen of a frame, or of a region of it, into its result.

        Before a tracker it holds more than what counts; `reported` is for behind.
        """
        if region is None:
            result = self.runner.finish(seen)
        else:
            result = finish_within(self.runner, seen, region)
        return result if self._is_tracking else self.reported(result)

    def reported(self, result: Result) -> Result:
        """Return a result without the detections that do not count."""
        if self._least is None or not isinstance(result, Detections) or len(result) == 0:
            return result
        least = self._least[result.class_ids]
        if self._least_tracked is not None and result.track_ids is not None:
            is_tracked = result.track_ids >= 0
            least = np.where(is_tracked, self._least_tracked[result.class_ids], least)
        counts = result.scores > least
        return result if counts.all() else result[counts]


class Settings:
    """Holds the setting of a running stream; for any thread.

    A tracker wants to see more than what counts: an object that is half hidden scores low, and is
    found again by that. With `lowest_score` the model is asked for detections down to it. What of
    these counts: by `score`, if it is given; else what the model's own threshold lets through, and
    whatever belongs to a track.

    Args:
        model: any that a stream runs; one that has no thresholds can be held as well.
        thresholds: to begin with.
        lowest_score: of the tracker, None without one.

    Raises:
        InputError: if the model does not have such thresholds or classes.

    """

    def __init__(
        self,
        model: Runnable,
        thresholds: Thresholds | None = None,
        *,
        lowest_score: float | None = None,
    ) -> None:
        """Begin with `thresholds`."""
        self._lock = threading.Lock()
        self._runner, self._lowest_score = as_runner(model), lowest_score
        self._current = self._setting(self._runner, thresholds or Thresholds())

    @property
    def current(self) -> Setting:
        """What the next batch is run with."""
        return self._current

    @property
    def thresholds(self) -> Thresholds:
        """As they were asked for last."""
        return self._current.thresholds

    @property
    def effective(self) -> dict[str, float]:
        """The thresholds `score` and `iou` that apply, the model's own where none were asked for.

        What is `fixed` is missing.
        """
        wanted_now, fixed = self.thresholds, self.fixed()
        own = _postprocess(self._runner)
        wanted = {"score": wanted_now.score, "iou": wanted_now.iou}
        default = {"score": own.score_threshold, "iou": own.iou_threshold}
        return {
            name: default[name] if value is None else value
            for name, value in wanted.items()
            if name not in fixed
        }

    def fixed(self) -> dict[str, str]:
        """Return why a threshold cannot be changed, by name: `score`, `iou`; empty if all can."""
        own = _postprocess(self._runner)
        reasons = {
            "score": self._refusal(score=own.score_threshold),
            "iou": self._refusal(iou=own.iou_threshold),
        }
        return {name: reason for name, reason in reasons.items() if reason}

    def apply(self, thresholds: Thresholds) -> None:
        """Take other thresholds from the next batch on.

        Raises:
            InputError: if the model does not have them; then all stays as it is.

        """
        with self._lock:
            self._current = self._setting(self._runner, thresholds)

    def adjust(self, **changes: Any) -> None:  # noqa: ANN401  # the fields of `Thresholds`
        """Change some thresholds and leave the others, such as `adjust(score=0.4)`.

        Raises:
            InputError: see `apply`.

        """
        with self._lock:
            thresholds = replace(self._current.thresholds, **changes)
            self._current = self._setting(self._runner, thresholds)

    def use(self, model: Runnable) -> None:
        """Take another model of the same input from the next batch on; the thresholds stay.

        Raises:
            InputError: if it does not have them.

        """
        with self._lock:
            runner = as_runner(model)
            self._current = self._setting(runner, self._current.thresholds)
            self._runner = runner

    def _refusal(self, *, score: float | None = None, iou: float | None = None) -> str:
        try:
            self._runner.with_thresholds(score=score, iou=iou)
        except InputError as error:
            return str(error)
        return ""

    def _setting(self, runner: Runner, thresholds: Thresholds) -> Setting:
        is_tracking = self._lowest_score is not None
        if thresholds == Thresholds() and not is_tracking:
            return Setting(runner, thresholds)
        if thresholds.score_of_class and len(runner.looks) > 1:
            raise InputError(
                "thresholds: `score_of_class` is of a single model, got several. Give each its "
                "own threshold."
            )
        classes = runner.spec.classes
        unknown = [name for name in thresholds.score_of_class if name not in classes]
        if unknown:
            raise InputError(
                f"thresholds: `score_of_class` must name classes of the model, got "
                f"{unknown[0]!r}. There are {', '.join(classes)}."
            )
        chosen = runner.with_thresholds(
            score=thresholds.score, iou=thresholds.iou, max_detections=thresholds.max_detections
        )
        own_score = _postprocess(chosen).score_threshold
        least = _least_scores(classes, thresholds, own_score)
        tracked = None
        if is_tracking and thresholds.score is None:
            tracked = _least_scores(classes, thresholds, min(own_score, self._lowest_score or 0.0))
        lowest = min(own_score, *least.tolist())
        if self._lowest_score is not None:
            lowest = min(lowest, self._lowest_score)
        if lowest < own_score:
            try:
                chosen = chosen.with_thresholds(score=lowest)
            except InputError:  # fixed in the graph
                if thresholds.score_of_class:
                    raise
                lowest = own_score  # the tracker makes do with what there is
        if (least <= lowest).all():
            return Setting(chosen, thresholds, _is_tracking=is_tracking)
        return Setting(chosen, thresholds, least, tracked, _is_tracking=is_tracking)


def _postprocess(runner: Runner) -> PostprocessSpec:
    """Return the thresholds of the model that finds objects, of several of the first."""
    specs = [model.spec for model in models_of(runner)]
    finding = [spec for spec in specs if spec.task in OF_OBJECTS]
    return (finding or specs)[0].postprocess


def _least_scores(
    classes: Sequence[str], thresholds: Thresholds, otherwise: float
) -> NDArray[np.float32]:
    """Return which score each class has to exceed, (C,) float32."""
    of_class = thresholds.score_of_class
    return np.array([of_class.get(name, otherwise) for name in classes], np.float32)
