"""Images on their way through a network: fitted row by row, run together, answered one by one."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.frame_formats import FrameFormat
from edgecv.runtime.session import input_shape

if TYPE_CHECKING:
    from edgecv.placement import Placement
    from edgecv.runtime.model import Model
    from edgecv.runtime.session import Outputs
    from edgecv.spec import InputSpec
    from edgecv.stream.sources import Frame

_BATCHES_KEPT = 4  # one that is fitted, one that waits, one in the network, one that is fetched


class Buffers:
    """Arrays for batches, used again and again: fresh memory costs a page fault every 4 KB."""

    def __init__(self) -> None:
        """Begin without any."""
        self._free: list[NDArray[Any]] = []
        self._most = _BATCHES_KEPT

    def take(self, wanted: "InputSpec", num_rows: int) -> NDArray[Any]:
        """Return an array of images, with whatever is in it."""
        shape = (num_rows, *input_shape(wanted))
        while self._free:
            buffer = self._free.pop()
            if buffer.shape == shape and buffer.dtype == wanted.dtype:
                return buffer
        return np.empty(shape, wanted.dtype)

    def give(self, buffer: NDArray[Any]) -> None:
        """Take an array back that nobody reads any more."""
        if len(self._free) < self._most:
            self._free.append(buffer)

    def expect(self, num_buffers: int) -> None:
        """Keep as many as batches of `num_buffers` arrays need."""
        self._most = max(self._most, _BATCHES_KEPT * num_buffers)


class _Group:
    """Images that go through the network at once: rows of a buffer, or staged on a device."""

    __slots__ = ("buffer", "num_images", "outputs", "proposals", "staged")

    def __init__(self, buffer: NDArray[Any] | None) -> None:
        self.buffer = buffer
        self.num_images = 0
        self.staged: list[Any] = []
        self.proposals: list[NDArray[np.float32]] = []
        self.outputs: Outputs = {}

    def batch(self) -> Any:  # noqa: ANN401  # an array or staged frames
        """Return what the session runs."""
        if self.buffer is not None:
            return self.buffer[: self.num_images]
        return self.staged[0] if len(self.staged) == 1 else self.staged


class FittedImages:
    """Images of one network, all fitted in the same place, and what it answers.

    Each method is called by one thread at a time, in the order in which they stand here.

    Args:
        model: fits the images; one with other thresholds may run them.
        format: of the first frame, which tells where it is fitted.
        buffers: where arrays come from and go back to.
        num_at_once: images that the network is given together.

    """

    __slots__ = ("_buffers", "_groups", "_num_at_once", "backend", "is_later", "is_staged", "size")

    def __init__(
        self,
        model: "Model",
        format: FrameFormat,  # noqa: A002  # the word of the whole package
        buffers: Buffers,
        num_at_once: int,
    ) -> None:
        """Begin without images."""
        self.is_staged = model.stages(format)
        self.size = 0
        self.is_later = False
        self.backend = ""
        self._buffers, self._num_at_once = buffers, num_at_once
        self._groups: list[_Group] = []

    def add(self, model: "Model", frame: "Frame") -> "Placement | None":
        """Fit a frame into the next row.

        Returns:
            Where it lies in its image; None if the session changed just now and fits frames
            elsewhere: then it was not added.

        """
        row = self.size % self._num_at_once
        group = self._opened(model) if row == 0 else self._groups[-1]
        fitted, placement = model.fit(
            frame.pixels,
            format=frame.format,
            matrix=frame.matrix,
            range=frame.range,
            out=None if group.buffer is None else group.buffer[row],
        )
        if isinstance(fitted, np.ndarray) == self.is_staged:
            self.cut(self.size)
            return None
        if self.is_staged:
            group.staged.append(fitted)
        group.num_images += 1
        self.size += 1
        return placement

    def propose(self, model: "Model", frame: "Frame", placement: "Placement") -> None:
        """Add the regions that the network is to look at in the frame that was added last."""
        proposals = model.propose(
            frame.pixels,
            placement,
            path=frame.path,
            format=frame.format,
            matrix=frame.matrix,
            range=frame.range,
        )
        if proposals is not None:
            self._groups[-1].proposals.append(proposals)

    def cut(self, size: int) -> None:
        """Take back all images but the first `size`."""
        self.size = size
        num_groups = -(-size // self._num_at_once)
        for group in self._groups[num_groups:]:
            self._recycle(group)
        del self._groups[num_groups:]
        if self._groups:
            last = self._groups[-1]
            last.num_images = size - (num_groups - 1) * self._num_at_once
            del last.staged[last.num_images :], last.proposals[last.num_images :]

    def infer(self, model: "Model") -> None:
        """Run the network on all images; not at all where there is none."""
        self.is_later = model.answers_later
        for group in self._groups:
            if not group.proposals:
                group.outputs = model.infer(group.batch())
            elif len(group.proposals) == 1:
                group.outputs = model.infer(group.batch(), group.proposals[0])
            else:
                group.outputs = model.infer(group.batch(), np.concatenate(group.proposals))
            self.backend = model.backend_of(group.outputs)
            group.staged = []  # the session may still hold the list
            if not self.is_later:
                self._recycle(group)

    def fetch(self) -> None:
        """Wait for outputs that are on their way."""
        if self.is_later:
            for group in self._groups:
                group.outputs = dict(group.outputs)
                self._recycle(group)
            self.is_later = False

    def outputs_of(self, begin: int, count: int) -> "list[Outputs]":
        """Return the outputs of `count` images from `begin` on, each with a leading axis of 1."""
        groups = self._groups
        if count == 1 and groups[0].num_images == 1 == self._num_at_once:
            return [groups[begin].outputs]
        found = []
        for position in range(begin, begin + count):
            number, row = divmod(position, self._num_at_once)
            group = groups[number]
            is_alone = group.num_images == 1
            found.append(group.outputs if is_alone else _row(group.outputs, row, group.num_images))
        return found

    def _opened(self, model: "Model") -> _Group:
        """Return a group of images without any."""
        buffer = None
        if not self.is_staged:
            if self._groups:
                self._buffers.expect(len(self._groups) + 1)
            buffer = self._buffers.take(model.spec.input, self._num_at_once)
        group = _Group(buffer)
        self._groups.append(group)
        return group

    def _recycle(self, group: _Group) -> None:
        """Take back the rows that the network has read."""
        if group.buffer is not None:
            self._buffers.give(group.buffer)
            group.buffer = None


def _row(outputs: "Outputs", row: int, num_images: int) -> "Outputs":
    """Return the outputs of one image of a batch, with a leading axis of 1."""
    for name, value in outputs.items():
        if len(value) != num_images:
            raise InputError(
                f"the network's output `{name}` is {value.shape} for {num_images} images: it does "
                "not keep them apart. Run with `--batch 1`, or export it with a free batch axis."
            )
    return {name: value[row : row + 1] for name, value in outputs.items()}
