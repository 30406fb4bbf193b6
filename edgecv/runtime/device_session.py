"""What sessions share that run their network on a `Device`: everything around the network.

On a GPU a frame crosses the bus as the decoder made it, our kernels fit it, and only results come
back. `run` returns at once: while the network works on one frame, the next is uploaded and the
results of the one before come down.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels
from edgecv.kernels.cuda.arrays import AnyDeviceArray
from edgecv.placement import Placement
from edgecv.runtime.device import CaptureError, Device, Stream, Work
from edgecv.runtime.frames import ImageLayout, StagedFrame, fit_frames, stage_frame
from edgecv.runtime.session import Outputs, input_shape, no_proposals
from edgecv.runtime.transfers import Downloads, OutputLayout, Uploads
from edgecv.spec import ModelSpec

Batch: TypeAlias = NDArray[Any] | StagedFrame | Sequence[StagedFrame]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Program:
    """The network for one number of images, with the buffers that it reads and writes.

    Args:
        images: of the device, in the layout of the session.
        proposals: (B, R, 4) of the device, None where there is no such input.
        packed: (N,) uint8 of the device, all outputs.
        outputs: where they lie in `packed`.
        run: does the work, on the compute stream.

    """

    images: AnyDeviceArray
    proposals: AnyDeviceArray | None
    packed: AnyDeviceArray
    outputs: OutputLayout
    run: Work


class DeviceSession(ABC):
    """A network on a device, see `edgecv.runtime.session.FrameSession`.

    Calls of `run` from several threads take turns; `stage` may be called meanwhile.
    """

    def __init__(
        self,
        spec: ModelSpec,
        device: Device,
        scalars: Mapping[str, float],
        *,
        frame_formats: tuple[FrameFormat, ...],
        layout: ImageLayout,
    ) -> None:
        """Begin without a program.

        Args:
            spec: of the network.
            device: where everything happens.
            scalars: the network's scalar inputs, and what each is where nobody says.
            frame_formats: that the device can fit.
            layout: in which the network takes images, whatever that of `spec.input`.

        """
        self.spec = spec
        self.frame_formats = frame_formats
        self._device, self._layout = device, layout
        self._uploads, self._downloads = Uploads(device), Downloads(device)
        self._compute: Stream = device.stream()
        self._defaults = dict(scalars)
        self._scalars = {
            name: device.view(device.buffer(4, f"the input `{name}`"), 0, (), np.float32)
            for name in scalars
        }
        self._values: dict[str, float] = {}
        self._programs: dict[int, Program] = {}
        self._lock = threading.Lock()
        self._is_open, self._is_launched_singly = True, False

    @property
    @abstractmethod
    def backend(self) -> str:
        """Backend, device, and whether there is no graph."""

    @abstractmethod
    def _built(self, batch_size: int) -> Program:
        """Return the network for a number of images."""

    @abstractmethod
    def _release(self) -> None:
        """Give the network back; its graphs are gone, and the memory that it uses is not."""

    def _batch_size(self, num_images: int) -> int:
        """Return how many images the network takes at once where it is to look at some.

        Raises:
            ValueError: if it cannot take as many.

        """
        return num_images

    def stage(
        self,
        frame: Pixels,
        *,
        format: FrameFormat,  # noqa: A002
        matrix: ColourMatrix,
        range: ColourRange,  # noqa: A002
    ) -> tuple[StagedFrame, Placement]:
        """Start the upload of a frame, see `edgecv.runtime.session.FrameSession.stage`."""
        return stage_frame(self._uploads, frame, (format, matrix, range), self.spec.input)

    def run(
        self,
        batch: Batch,
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.FrameSession.run`."""
        if isinstance(batch, StagedFrame):
            batch = [batch]
        with self._lock:
            if not self._is_open:
                raise ValueError(f"{self._function}: the session is closed. Open it again.")
            self._check(batch, proposals)
            self._set_scalars(scalars or {})
            size = self._batch_size(len(batch))
            program = self._programs.get(size)
            if program is None:
                program = self._programs[size] = self._built(size)
            images = program.images[: len(batch)]
            if isinstance(batch, np.ndarray):
                self._copy_in(images, self._arranged(batch))
            else:
                self._fit(batch, images)
            if proposals is not None and program.proposals is not None:
                self._copy_in(program.proposals[: len(batch)], proposals)
            program.run()
            outputs = program.outputs
            if len(batch) < size:  # those of one image need no axis of images
                outputs = outputs.first(len(batch))
            return self._downloads.fetch(
                program.packed[: outputs.num_bytes], outputs, self._compute
            )

    def warm_up(self) -> None:
        """Run once on an empty input."""
        wanted = self.spec.input
        batch = np.zeros((1, *input_shape(wanted)), wanted.dtype)
        dict(self.run(batch, proposals=no_proposals(self.spec)))

    def close(self) -> None:
        """Give back the network's memory; twice does no harm."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            self._device.synchronize()
            buffers = [
                (each.images, each.proposals, each.packed) for each in self._programs.values()
            ]
            self._programs.clear()
            self._release()
            buffers.clear()
            self._scalars.clear()

    @property
    def _function(self) -> str:
        return f"{type(self).__name__}.run"

    def _check(
        self, batch: NDArray[Any] | Sequence[StagedFrame], proposals: NDArray[np.float32] | None
    ) -> None:
        """Refuse a batch of another form, and proposals where there should be none, or too few."""
        if len(batch) == 0:
            raise ValueError(f"{self._function}: `batch` must hold at least 1 image, got 0.")
        wanted, shape = self.spec.input, input_shape(self.spec.input)
        if isinstance(batch, np.ndarray) and (
            batch.shape[1:] != shape or batch.dtype != wanted.dtype
        ):
            raise ValueError(
                f"{self._function}: `batch` must be {wanted.dtype} (B, "
                f"{', '.join(map(str, shape))}), got {batch.dtype} {batch.shape}."
            )
        regions = self.spec.proposals
        expected = None if regions is None else (len(batch), regions.count, 4)
        found = None if proposals is None else proposals.shape
        if found != expected:
            raise ValueError(f"{self._function}: `proposals` must be {expected}, got {found}.")

    def _set_scalars(self, wanted: Mapping[str, float]) -> None:
        """Write what has changed: a graph reads it where it lies."""
        unknown = sorted(set(wanted) - set(self._scalars))
        if unknown:
            raise ValueError(
                f"{self._function}: `scalars` must be of {', '.join(self._scalars) or 'none'}, "
                f"got {', '.join(unknown)}."
            )
        for name, target in self._scalars.items():
            value = wanted.get(name, self._defaults[name])
            if self._values.get(name) != value:
                self._device.fill(target, value, self._compute)
                self._values[name] = value

    def _arranged(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Return a batch in the order of axes in which the network takes it."""
        is_turned = self.spec.input.layout == "nchw" and self._layout == "hwc"
        return batch.transpose(0, 2, 3, 1) if is_turned else batch

    def _copy_in(self, target: AnyDeviceArray, source: NDArray[Any]) -> None:
        staged = self._uploads.stage([source])
        staged.begin(self._compute)
        self._device.copy(target, staged.arrays[0], self._compute)
        staged.end(self._compute)

    def _fit(self, frames: Sequence[StagedFrame], images: AnyDeviceArray) -> None:
        for frame in frames:
            frame.staged.begin(self._compute)
        pictures = [(frame.pixels, frame.colours) for frame in frames]
        on = self._device.handle(self._compute)
        wanted, layout = self.spec.input, self._layout
        work = partial(fit_frames, pictures, wanted, images, layout=layout, stream=on)
        self._device.launch(work, self._compute)
        for frame in frames:
            frame.staged.end(self._compute)

    def _zeros(self, shape: tuple[int, ...], dtype: DTypeLike, purpose: str) -> AnyDeviceArray:
        """Return new memory of the device, zero from now on for what follows on its stream."""
        buffer = self._device.buffer(prod(shape) * np.dtype(dtype).itemsize, purpose)
        array = self._device.view(buffer, 0, shape, dtype)
        self._device.fill(array, 0, self._compute)
        return array

    def _captured(self, work: Work) -> Work:
        """Return `work` as a graph, or launched piece by piece where it cannot be captured."""
        try:
            return self._device.captured(work, self._compute)
        except CaptureError as error:
            if not self._is_launched_singly:
                _log.warning("%s Its kernels are launched one by one.", error)
            self._is_launched_singly = True
            return partial(self._device.launch, work, self._compute)
