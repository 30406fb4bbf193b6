"""A session that changes its backend between two runs."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels
from edgecv.placement import Placement
from edgecv.runtime.session import Batch, FrameSession, Outputs, Session

Listener: TypeAlias = Callable[[str], object]


@runtime_checkable
class TellingSession(Session, Protocol):
    """A session that has something to say while it runs."""

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each sentence, those of before first; it must not block."""


class BackendOutputs(Mapping[str, NDArray[Any]]):
    """Outputs that tell who computed them; who looks at one waits as for those within.

    Attributes:
        backend: that of the session that ran.

    """

    def __init__(self, outputs: Outputs, backend: str) -> None:
        """Wrap what a session returned."""
        self._outputs = outputs
        self.backend = backend

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an output."""
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names; this waits for nothing."""
        return iter(self._outputs)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._outputs)


class _Tenure:
    """A session, how many images it is given at once, and how many runs are within it."""

    def __init__(self, session: Session, max_images: int) -> None:
        self.session = session
        self.max_images = max_images
        self.num_runs = 0
        self.is_over = False


class SwitchingSession:
    """Runs on one session, and from some moment on, once, on another of the same model.

    It is a `FrameSession` throughout. Before the switch it takes no frames, so that they are fitted
    as arrays, which run on either; a frame that was staged can only come from the second session.
    A run ends where it began, and a session is closed behind the last of its runs. All methods may
    be called from several threads at once, as far as the sessions allow it.
    """

    def __init__(self, first: Session) -> None:
        """Run on `first`; both sessions are closed by this one."""
        self.spec = first.spec
        self._lock = threading.Lock()
        self._tenure = _Tenure(first, sys.maxsize)  # as if it were alone
        self._is_closed = False

    @property
    def backend(self) -> str:
        """The backend of the next run."""
        return self._tenure.session.backend

    @property
    def frame_formats(self) -> tuple[FrameFormat, ...]:
        """What `stage` takes: nothing before the switch."""
        session = self._tenure.session
        return session.frame_formats if isinstance(session, FrameSession) else ()

    @property
    def max_batch(self) -> int:
        """How many images to run at once, 1 where the session does not say."""
        return int(getattr(self._tenure.session, "max_batch", 1))

    def stage(
        self,
        frame: Pixels,
        *,
        format: FrameFormat,  # noqa: A002
        matrix: ColourMatrix,
        range: ColourRange,  # noqa: A002
    ) -> tuple[Batch, Placement]:
        """Start the upload of a frame, see `edgecv.runtime.session.FrameSession.stage`."""
        with self._entered() as tenure:
            session = tenure.session
            if not isinstance(session, FrameSession):
                raise TypeError(
                    f"SwitchingSession.stage: `format` must be one of `frame_formats`, which is "
                    f"empty while {session.backend} runs, got {format!r}. Fit the frame first."
                )
            return session.stage(frame, format=format, matrix=matrix, range=range)

    def run(
        self,
        batch: Batch,
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> BackendOutputs:
        """Run the network, see `edgecv.runtime.session.FrameSession.run`.

        Args:
            batch: an array of images, or a frame that was staged, or a list of both.
            scalars: see there.
            proposals: see there.

        """
        with self._entered() as tenure:
            session = tenure.session
            outputs = _run(session, list(_parts(batch, tenure.max_images)), scalars, proposals)
            if not isinstance(session, FrameSession):
                outputs = dict(outputs)  # they must not be on their way when it is closed
            return BackendOutputs(outputs, session.backend)

    def warm_up(self) -> None:
        """Run once on an empty input."""
        with self._entered() as tenure:
            tenure.session.warm_up()

    def switch(self, second: Session) -> bool:
        """Run on `second` from now on; the first is closed as soon as no run is within it.

        Returns:
            False if this session is closed, and `second` is left to the caller.

        """
        with self._lock:
            if self._is_closed:
                return False
            # A batch that was collected for the first may be too much for the second.
            most = int(getattr(second, "max_batch", sys.maxsize))
            before, self._tenure = self._tenure, _Tenure(second, most)
        self._end(before)
        return True

    def close(self) -> None:
        """Close the session that runs, behind the last of its runs; twice does no harm."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._end(self._tenure)

    @contextmanager
    def _entered(self) -> Iterator[_Tenure]:
        with self._lock:
            if self._is_closed:
                name = type(self).__name__
                raise ValueError(f"{name}.run: the session is closed. Open it again.")
            tenure = self._tenure
            tenure.num_runs += 1
        try:
            yield tenure
        finally:
            with self._lock:
                tenure.num_runs -= 1
                is_last = tenure.is_over and tenure.num_runs == 0
            if is_last:
                tenure.session.close()

    def _end(self, tenure: _Tenure) -> None:
        with self._lock:
            tenure.is_over = True
            is_unused = tenure.num_runs == 0
        if is_unused:
            tenure.session.close()


def _run(
    session: Session,
    parts: Sequence[Batch],
    scalars: Mapping[str, float] | None,
    proposals: NDArray[np.float32] | None,
) -> Outputs:
    """Run the parts of a batch, and join what comes out."""
    if len(parts) == 1:
        return session.run(parts[0], scalars, proposals)
    outputs: list[Outputs] = []
    begin = 0
    for part in parts:
        end = begin + len(part)
        given = None if proposals is None else proposals[begin:end]
        outputs.append(session.run(part, scalars, given))
        begin = end
    return {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}


def _parts(batch: Batch, most: int) -> Iterator[Batch]:
    """Yield a batch in parts of `most` images, each an array or of staged frames alone."""
    if not isinstance(batch, Sequence | np.ndarray):
        yield batch  # a single staged frame
        return
    if len(batch) == 0:
        raise ValueError("SwitchingSession.run: `batch` must hold at least 1 image, got 0.")
    if isinstance(batch, np.ndarray):
        groups: Iterator[tuple[bool, Iterable[Any]]] = iter([(True, [batch])])
    else:
        groups = groupby(batch, key=lambda one: isinstance(one, np.ndarray))
    for is_array, group in groups:
        members = list(group)
        images: Batch = members
        if is_array:
            images = members[0] if len(members) == 1 else np.concatenate(members)
        for begin in range(0, len(images), most):
            yield images if len(images) <= most else images[begin : begin + most]
