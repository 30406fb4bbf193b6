"""Two models in sequence: the second looks at what the first has found, each object by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from edgecv.errors import InputError
from edgecv.results import Attributes, Detections, Result
from edgecv.stream.fitted import Buffers
from edgecv.stream.ledger import PIPELINE_STAGES
from edgecv.stream.regions import Region, region_around
from edgecv.stream.runner import (
    OF_OBJECTS,
    Runner,
    Step,
    as_runner,
    refuse_proposals,
    results_of_parts,
    run_once,
    see,
)
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.runtime.model import Model


class OnCrops:
    """A model that looks at each object of a detector, cut out of the frame as it was decoded.

    Args:
        model: a classifier, or any other but one that tells of each pixel.
        margin: added on every side of a box, as a share of its width and height, at least 0.
        class_ids: of the detector, which objects are looked at; None for all.
        min_side: objects with a smaller side in pixels are left out, at least 1.
        max_crops: the best of a frame that are looked at, at least 1; None for all.

    Raises:
        InputError: if an option is not as described, or the model tells of each pixel or looks at
            regions that are proposed outside of it.

    Example:
        >>> breeds = OnCrops(classifier, class_ids=(DOG,))
        >>> print(breeds(frame, detections).labels())

    """

    def __init__(
        self,
        model: "Model",
        *,
        margin: float = 0.1,
        class_ids: Sequence[int] | None = None,
        min_side: int = 8,
        max_crops: int | None = None,
    ) -> None:
        """Wrap an open model."""
        if model.spec.task == "segment":
            raise InputError(
                "crops: a model of task segment tells of each pixel of a frame. Run it on whole "
                "frames."
            )
        refuse_proposals("crops", model)
        if not 0 <= margin < float("inf"):
            raise InputError(f"crops: `margin` must be finite and at least 0, got {margin}.")
        for name, value in (("min_side", min_side), ("max_crops", max_crops)):
            if value is not None and value < 1:
                raise InputError(f"crops: `{name}` must be at least 1, got {value}.")
        self.model, self.margin, self.min_side = model, margin, min_side
        self.class_ids = None if class_ids is None else frozenset(class_ids)
        self.max_crops = max_crops
        self._buffers = Buffers()

    def __call__(self, frame: Frame, detections: Detections) -> Attributes:
        """Return what the model tells of each detection, None for those that were left out.

        Boxes and points are in the pixels of the frame. The crops go through the network in
        batches where that is faster, and not at all where there is none.
        """
        rows, regions = self._crops(frame, detections)
        results: list[Result | None] = [None] * len(detections)
        seen = see(self.model, frame, regions, self._buffers)
        for row, result in zip(rows, results_of_parts(self.model, seen), strict=True):
            results[row] = result
        return Attributes(tuple(results), self.model.spec.classes)

    def _crops(self, frame: Frame, detections: Detections) -> tuple[list[int], list[Region]]:
        """Return which rows are looked at, and where each is."""
        rows: list[int] = []
        regions: list[Region] = []
        boxes, kinds = detections.boxes_xyxy.tolist(), detections.class_ids.tolist()
        for row, (box, class_id) in enumerate(zip(boxes, kinds, strict=True)):
            if len(rows) == self.max_crops:
                break
            if self.class_ids is not None and class_id not in self.class_ids:
                continue
            if min(box[2] - box[0], box[3] - box[1]) < self.min_side:
                continue
            region = region_around(box, frame, margin=self.margin)
            if region is not None:
                rows.append(row)
                regions.append(region)
        return rows, regions


class Cascade:
    """A detector, and models that look at each object that it finds.

    Its results are those of the detector, with `attributes` by the names given here. In a stream
    each second model works in a thread of its own, under its name in the ledger, while the detector
    is at the next frame.

    Args:
        detector: finds objects: a model, or a `Tiled` one or a `RegionOfInterest`.
        then: at least one, by name; a model alone is taken as `OnCrops(model)`.

    Raises:
        InputError: if the detector finds no objects, or a name cannot be used.

    Example:
        >>> dogs = Cascade(detector, {"breed": OnCrops(classifier, class_ids=(DOG,))})
        >>> for result in edgecv.stream("park.mp4", dogs):
        ...     print(result.detections.attributes["breed"].labels())

    """

    def __init__(self, detector: "Model | Runner", then: "Mapping[str, OnCrops | Model]") -> None:
        """Wrap open models."""
        inner = as_runner(detector)
        if inner.spec.task not in OF_OBJECTS or len(inner.looks) > 1:
            what = f"one of task {inner.spec.task}" if len(inner.looks) == 1 else "several models"
            raise InputError(
                f"cascade: the first model must find objects, got {what}. "
                "Give the models by name instead, to run them side by side."
            )
        if not then:
            raise InputError("cascade: `then` is empty. Name at least one second model.")
        taken = {*PIPELINE_STAGES, *(step.name for step in inner.steps)}
        for name in then:
            if not name or name.split(" ")[0] in taken:
                raise InputError(
                    f"cascade: a second model must have a name that no stage has, got {name!r}. "
                    f"Taken are {', '.join(sorted(taken))}."
                )
        self._inner = inner
        self.spec, self.looks, self.finish = inner.spec, inner.looks, inner.finish
        self.then = {
            name: each if isinstance(each, OnCrops) else OnCrops(each)
            for name, each in then.items()
        }
        self.steps = (
            *inner.steps,
            *(
                Step(name, partial(_with_attributes, name, each))
                for name, each in self.then.items()
            ),
        )

    def with_thresholds(self, **thresholds: Any) -> "Cascade":  # noqa: ANN401  # see `Runner`
        """Return the same with other thresholds of the detector."""
        return Cascade(self._inner.with_thresholds(**thresholds), self.then)

    def __call__(self, frame: Frame) -> Detections:
        """Return the objects of a frame, each with its attributes."""
        return cast("Detections", run_once(self, frame))


def _with_attributes(name: str, model: OnCrops, frame: Frame, result: Result) -> Result:
    """Return detections with what a second model tells of each."""
    if not isinstance(result, Detections):
        return result
    return replace(result, attributes={**result.attributes, name: model(frame, result)})
