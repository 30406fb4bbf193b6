"""How far a build is, from the phases that TensorRT reports, and how it is called off."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import tensorrt as trt

_SURE = 0.02  # of the work done, before which the time that is left is not foretold


@dataclass(frozen=True)
class BuildState:
    """How far a build is.

    Args:
        phase: the innermost that runs, empty before the first.
        fraction: of the work that is done, in 0..1; it never falls.
        elapsed_s: since the first phase began.
        remaining_s: what is left at the same pace, None while too little is done to tell.

    """

    phase: str = ""
    fraction: float = 0.0
    elapsed_s: float = 0.0
    remaining_s: float | None = None


Watch: TypeAlias = Callable[[BuildState], None]


@dataclass
class _Phase:
    parent: str
    num_steps: int
    num_done: int = 0


@dataclass
class PhaseTree:
    """The phases that run, as `IProgressMonitor` reports them, from any thread.

    A phase advances by steps, and by what the phases within it have done of one step.

    Args:
        cancelled: set to call the build off at the next step.
        clock: seconds, of any origin.

    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic
    _phases: dict[str, _Phase] = field(default_factory=dict)
    _fraction: float = 0.0
    _began: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, parent: str | None, num_steps: int) -> None:
        """Note that a phase began."""
        with self._lock:
            if self._began is None:
                self._began = self.clock()
            self._phases[name] = _Phase(parent or "", max(1, num_steps))

    def step(self, name: str, step: int) -> bool:
        """Note that a step, counted from 0, is done; return whether to go on."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.num_done = min(max(phase.num_done, step + 1), phase.num_steps)
        return not self.cancelled.is_set()

    def finish(self, name: str) -> None:
        """Note that a phase ended, whether all of its steps were reported or not."""
        with self._lock:
            ended = self._phases.pop(name, None)
            if ended is not None and ended.parent not in self._phases and not self._phases:
                self._fraction = 1.0

    def state(self) -> BuildState:
        """Return how far the build is."""
        with self._lock:
            if self._began is None:
                return BuildState()
            roots = [name for name, one in self._phases.items() if one.parent not in self._phases]
            done = [_done(name, self._phases) for name in roots]
            self._fraction = max(self._fraction, sum(done) / len(done) if done else 0.0)
            elapsed = self.clock() - self._began
            fraction = self._fraction
            left = elapsed * (1 - fraction) / fraction if fraction >= _SURE else None
            phase = next(reversed(self._phases), "")
            return BuildState(phase, fraction, elapsed, left)


def _done(name: str, phases: Mapping[str, _Phase]) -> float:
    """Return the fraction of a phase that is done, with what runs within its present step."""
    phase = phases[name]
    inner = [_done(child, phases) for child, one in phases.items() if one.parent == name != child]
    within = sum(inner) / len(inner) if inner else 0.0
    return min(1.0, (phase.num_done + within) / phase.num_steps)


def progress_monitor(tree: PhaseTree) -> "trt.IProgressMonitor":
    """Return what tells `tree` of a build; it must live as long as the builder's configuration."""
    import tensorrt as trt

    class _Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        # A step is an int, which the bindings declare as anything that can be made one.
        def phase_start(self, phase_name: str, parent_phase: str, num_steps: Any) -> None:  # noqa: ANN401
            tree.start(phase_name, parent_phase, int(num_steps))

        def step_complete(self, phase_name: str, step: Any) -> bool:  # noqa: ANN401
            return tree.step(phase_name, int(step))

        def phase_finish(self, phase_name: str) -> None:
            tree.finish(phase_name)

    return _Monitor()
