"""What a stream runs on each frame: a network or several, on the whole or on parts of it.

A runner only says which networks see what, and what becomes of their outputs. Fitting, batching and
running is done for it: over many frames and sources by the pipeline, over one by `run_once`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from edgecv.errors import InputError
from edgecv.results import Detections, Result
from edgecv.stream.fitted import Buffers, FittedImages
from edgecv.stream.regions import Region, moved, region_view
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.placement import Placement
    from edgecv.runtime.model import Model
    from edgecv.runtime.session import Outputs
    from edgecv.spec import ModelSpec

OF_OBJECTS = ("detect", "instance", "keypoints")


@dataclass(frozen=True, eq=False)
class Look:
    """A network, and which parts of a frame it sees.

    Args:
        model: the network.
        regions: of a frame, at least one, as `region_around` makes them; None for all of it.
        stage: how the ledger calls the time in this network.

    """

    model: "Model"
    regions: Callable[[Frame], Sequence[Region]] | None = None
    stage: str = "infer"


@dataclass(eq=False, slots=True)
class Seen:
    """What one look saw of a frame.

    Args:
        begin: the first of its images.
        frame_hw: height and width of the frame in pixels.
        regions: None for all of it.
        placements: where each region, or the frame, lies in its image.
        outputs: of each image, with a leading axis of 1; empty until the network has run.

    """

    begin: int
    frame_hw: tuple[int, int]
    regions: Sequence[Region] | None
    placements: "Sequence[Placement]"
    outputs: "Sequence[Outputs]" = ()


@dataclass(frozen=True, eq=False)
class Step:
    """Something behind the networks that completes a result, such as a second model.

    Args:
        name: of the stage in the ledger.
        work: takes the frame and its result up to here, and returns the next.

    """

    name: str
    work: Callable[[Frame, Result], Result]


@runtime_checkable
class Runner(Protocol):
    """What a stream runs on each frame; `Tiled` and its like are such, a `Model` is made one."""

    @property
    def spec(self) -> "ModelSpec":
        """The description of the results: its `classes` tell what class ids mean."""

    @property
    def looks(self) -> Sequence[Look]:
        """The networks, at least one, and what each sees."""

    @property
    def steps(self) -> Sequence[Step]:
        """What follows behind `finish`, each in a thread of its own."""

    def finish(self, seen: Sequence[Seen]) -> Result:
        """Turn what was seen of a frame, in the order of `looks`, into its result."""

    def with_thresholds(
        self,
        *,
        score: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
    ) -> "Runner":
        """Return the same with other thresholds, see `edgecv.runtime.model.Model`."""


Runnable: TypeAlias = "Model | Runner | Mapping[str, Any]"


class WholeFrames:
    """A model on whole frames: what a pipeline makes of a plain model.

    Args:
        model: of any task.

    """

    steps: Sequence[Step] = ()

    def __init__(self, model: "Model") -> None:
        """Wrap an open model."""
        self.model, self.spec = model, model.spec
        self.looks = (Look(model),)

    def finish(self, seen: Sequence[Seen]) -> Result:
        """Return the model's own result."""
        (one,) = seen
        return self.model.finish(one.outputs[0], one.placements[0])

    def with_thresholds(self, **thresholds: Any) -> "WholeFrames":  # noqa: ANN401  # see `Runner`
        """Return the same with other thresholds."""
        return WholeFrames(self.model.with_thresholds(**thresholds))


def as_runner(model: Runnable) -> Runner:
    """Return what a stream is given as a runner.

    Args:
        model: a model, a runner, or several of these by name.

    """
    if isinstance(model, Mapping):
        from edgecv.stream.models import Models  # noqa: PLC0415  # which is built on this module

        return Models(model)
    return model if isinstance(model, Runner) else WholeFrames(model)


def models_of(runner: Runner) -> "list[Model]":
    """Return the networks that see frames, each once; not those of its steps."""
    return list({id(look.model): look.model for look in runner.looks}.values())


def backend_of(runner: Runner) -> str:
    """Return what runs its networks now, of several as `a + b`."""
    return " + ".join(dict.fromkeys(model.backend for model in models_of(runner)))


def fit_parts(
    model: "Model", images: FittedImages, frame: Frame, regions: Sequence[Region] | None
) -> Seen | None:
    """Add a frame, or parts of it, to the images of a network.

    Args:
        model: the network.
        images: of it.
        frame: of any format.
        regions: as `region_around` makes them; None for all of the frame.

    Returns:
        What will be seen; None if the session changed in between, and nothing was added.

    """
    begin = images.size
    if regions is None:
        placement = images.add(model, frame)
        return None if placement is None else Seen(begin, placement.frame_hw, None, (placement,))
    placements = []
    for region in regions:
        placement = images.add(model, region_view(frame, region))
        if placement is None:
            images.cut(begin)
            return None
        placements.append(placement)
    return Seen(begin, frame.size_hw, regions, placements)


def results_of_parts(model: "Model", seen: Seen) -> list[Result]:
    """Return the result of each region; boxes and points are in the pixels of the frame."""
    results = []
    for region, outputs, placement in zip(
        seen.regions or (), seen.outputs, seen.placements, strict=True
    ):
        result = model.finish(outputs, placement)
        if isinstance(result, Detections):
            result = moved(result, (region.x1, region.y1), seen.frame_hw)
        results.append(result)
    return results


def see(
    model: "Model",
    frame: Frame,
    regions: Sequence[Region] | None,
    buffers: Buffers | None = None,
) -> Seen:
    """Run a network on a frame or on parts of it, in batches where that is faster.

    Args:
        model: the network.
        frame: of any format.
        regions: see `fit_parts`; may be empty here.
        buffers: where arrays come from and go back to, None for fresh ones.

    """
    buffers = Buffers() if buffers is None else buffers
    num_images = 1 if regions is None else len(regions)
    while True:
        most = max(1, min(model.max_batch, num_images)) if model.prefers_batches else 1
        images = FittedImages(model, frame.format, buffers, most)
        seen = fit_parts(model, images, frame, regions)
        if seen is not None:
            break
    if regions is None and model.spec.proposals is not None:
        images.propose(model, frame, seen.placements[0])
    images.infer(model)
    images.fetch()
    seen.outputs = images.outputs_of(0, images.size)
    return seen


def run_once(runner: Runner, frame: Frame) -> Result:
    """Return the result of a single frame, made in the calling thread.

    Raises:
        InputError: if a network cannot run on it.

    """
    seen = []
    for look in runner.looks:
        regions = None if look.regions is None else look.regions(frame)
        seen.append(see(look.model, frame, regions))
    result = runner.finish(seen)
    for step in runner.steps:
        result = step.work(frame, result)
    return result


def refuse_proposals(function: str, model: "Model") -> None:
    """Refuse a model that looks at regions proposed outside of it.

    Raises:
        InputError: for such a model.

    """
    if model.spec.proposals is not None:
        raise InputError(
            f"{function}: a model that looks at regions proposed outside of it cannot run on parts "
            "of frames. Run it on whole frames."
        )
