"""What travels through a stream: a frame on its way, and the result that leaves it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgecv.results import Detections, ModelResults, Result
from edgecv.stream.events import SceneEvent
from edgecv.stream.ledger import Ledger
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.stream.inlet import Inlet
    from edgecv.stream.regions import Region
    from edgecv.stream.runner import Seen
    from edgecv.stream.settings import Setting


@dataclass(frozen=True, eq=False)
class StreamResult:
    """One frame, what the model tells of it, and where its time went.

    Args:
        frame: with its pixels.
        result: in the class of the model's task, see `edgecv.runtime.model.Model`; of several
            models `ModelResults`.
        ledger: when each stage began and ended.
        source: name of the source, unique among those of a stream.
        events: lines crossed, zones entered, dwelled in and left in this frame, in order.

    """

    frame: Frame
    result: Result
    ledger: Ledger
    source: str = ""
    events: tuple[SceneEvent, ...] = ()

    @property
    def results(self) -> Mapping[str, Result]:
        """The result of each model by its name; that of a single one is called ""."""
        return self.result.results if isinstance(self.result, ModelResults) else {"": self.result}

    @property
    def detections(self) -> Detections:
        """The result of a detector.

        Raises:
            TypeError: if the model is none.

        """
        if isinstance(self.result, ModelResults):
            names = ", ".join(self.result.results)
            raise TypeError(
                "StreamResult.detections: there must be one model, got several. Take `results` "
                f"instead, of {names}."
            )
        if not isinstance(self.result, Detections):
            raise TypeError(
                f"StreamResult.detections: the model must be a detector, got a "
                f"{type(self.result).__name__}. Take `result` instead."
            )
        return self.result


@dataclass(eq=False, slots=True)
class Job:
    """A frame on its way; every stage adds what it made.

    Args:
        frame: with its pixels.
        ledger: of this frame.
        inlet: of its source.
        stage: the last that had it.
        region: the part of the frame that the model looks at, None for all of it.

    """

    frame: Frame
    ledger: Ledger
    inlet: "Inlet"
    stage: str = "decode"
    region: "Region | None" = None
    seen: "Sequence[Seen]" = field(init=False, default=())
    setting: "Setting" = field(init=False)
    result: Result = field(init=False)
    events: tuple[SceneEvent, ...] = field(init=False, default=())

    def delivered(self) -> StreamResult:
        """Return what the consumer receives."""
        return StreamResult(self.frame, self.result, self.ledger, self.inlet.name, self.events)


@dataclass(frozen=True)
class Stage:
    """A step behind the model, in a thread of its own: `work` changes the job in place."""

    name: str
    work: Callable[[Job], object]
