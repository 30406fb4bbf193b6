"""A region of interest: one part of each frame, with all of the network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgecv.errors import InputError
from edgecv.results import Detections, ModelResults, Result
from edgecv.stream.regions import Region, RegionBox, moved, region_view
from edgecv.stream.runner import (
    Look,
    Runner,
    Seen,
    Step,
    as_runner,
    models_of,
    refuse_proposals,
    run_once,
)
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.runtime.model import Model


class RegionOfInterest:
    """A model that looks at one part of each frame only, with all of its input.

    Args:
        model: of a task that finds objects, or a classifier; or a `Tiled` one, whose tiles then
            lie in the region.
        box_xyxy: the part: x1, y1, x2, y2.
        is_relative: whether it is in parts of the frame's sides, in [0, 1], or in pixels.

    Raises:
        InputError: if the part is empty, or the model tells of each pixel, or looks at regions
            that are proposed outside of it.

    Example:
        >>> gate = RegionOfInterest(model, (0.5, 0, 1, 1), is_relative=True)
        >>> found = gate(frame)
        >>> for result in edgecv.stream("street.mp4", gate):
        ...     print(len(result.detections))

    """

    steps: Sequence[Step] = ()

    def __init__(
        self,
        model: "Model | Runner",
        box_xyxy: tuple[float, float, float, float],
        *,
        is_relative: bool = False,
    ) -> None:
        """Wrap an open model."""
        inner = as_runner(model)
        if len(inner.looks) > 1 or inner.steps:
            raise InputError(
                "region of interest: a single model must look at it, got "
                f"{type(model).__name__}. Give each of its models a region."
            )
        refuse_regions(inner)
        (look,) = inner.looks
        self._inner = inner
        self.spec = inner.spec
        self.box = RegionBox(box_xyxy, is_relative)
        self.looks = (Look(look.model, self._regions),)

    def finish(self, seen: Sequence[Seen]) -> Result:
        """Return the result in the pixels of the frame."""
        parts = [part for one in seen for part in one.regions or ()]
        region = Region(
            min(part.x1 for part in parts),
            min(part.y1 for part in parts),
            max(part.x2 for part in parts),
            max(part.y2 for part in parts),
        )
        return finish_within(self._inner, seen, region)

    def with_thresholds(self, **thresholds: Any) -> "RegionOfInterest":  # noqa: ANN401  # see Runner
        """Return the same with other thresholds, see `edgecv.runtime.model.Model`."""
        inner = self._inner.with_thresholds(**thresholds)
        return RegionOfInterest(inner, self.box.box_xyxy, is_relative=self.box.is_relative)

    def __call__(self, frame: Frame) -> Result:
        """Return what the model tells of the part, in the pixels of the frame.

        Raises:
            InputError: if a box in pixels lies outside of the frame.

        """
        return run_once(self, frame)

    def _regions(self, frame: Frame) -> Sequence[Region]:
        (look,) = self._inner.looks
        return regions_within(look, frame, self.box.in_frame(frame))


def regions_within(look: Look, frame: Frame, region: Region) -> Sequence[Region]:
    """Return what a look sees of a frame of which there is one region only, in its pixels."""
    if look.regions is None:
        return (region,)
    return [
        _shifted(part, region.x1, region.y1) for part in look.regions(region_view(frame, region))
    ]


def finish_within(runner: Runner, seen: Sequence[Seen], region: Region) -> Result:
    """Turn what was seen of one region of a frame into a result in the pixels of the frame.

    Args:
        runner: finishes it as if the frame were the region alone.
        seen: in the order of its looks, see `regions_within`.
        region: of the frame.

    """
    within = []
    for look, one in zip(runner.looks, seen, strict=True):
        parts = None
        if look.regions is not None:
            parts = [_shifted(part, -region.x1, -region.y1) for part in one.regions or ()]
        within.append(replace(one, frame_hw=region.size_hw, regions=parts))
    return _in_frame(runner.finish(within), region, seen[0].frame_hw)


def refuse_regions(runner: Runner) -> None:
    """Refuse models that cannot look at a part of a frame.

    Raises:
        InputError: if one tells of each pixel, or looks at regions that are proposed to it.

    """
    for model in models_of(runner):
        if model.spec.task == "segment":
            raise InputError(
                "region of interest: a model of task segment tells of each pixel of a frame. Run "
                "it on whole frames."
            )
        refuse_proposals("region of interest", model)


def _shifted(part: Region, x: int, y: int) -> Region:
    return Region(part.x1 + x, part.y1 + y, part.x2 + x, part.y2 + y)


def _in_frame(result: Result, region: Region, frame_hw: tuple[int, int]) -> Result:
    if isinstance(result, ModelResults):
        results = {name: _in_frame(each, region, frame_hw) for name, each in result.results.items()}
        return replace(result, results=results)
    if isinstance(result, Detections):
        return moved(result, (region.x1, region.y1), frame_hw)
    return result
