"""An NVIDIA GPU through PyTorch, as a `edgecv.runtime.device.Device`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from edgecv.kernels.cuda.arrays import AnyDeviceArray
from edgecv.runtime.device import CaptureError, Work, no_room

_WARM_UPS = 3  # libraries load, choose algorithms and allocate in the first calls: never in a graph


class CudaDevice:
    """The GPU that is current in PyTorch when this is made, see `edgecv.runtime.device.Device`.

    Streams and events are PyTorch's own, and arrays are its tensors, from its pool.
    """

    def __init__(self) -> None:
        """Take the current GPU."""
        self._device = torch.device("cuda", torch.cuda.current_device())
        self.name = f"cuda ({torch.cuda.get_device_name(self._device)})"
        # Shared: the graphs of a session never run at once, and keep nothing between their runs.
        self._pool = torch.cuda.graph_pool_handle()

    def host_buffer(self, num_bytes: int, purpose: str) -> NDArray[np.uint8]:
        """Return page-locked memory: only from there does a copy leave the processor alone."""
        try:
            tensor = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:
            raise no_room(num_bytes, purpose, "the host cannot lock as much memory") from error
        array: NDArray[np.uint8] = tensor.numpy()
        return array

    def buffer(self, num_bytes: int, purpose: str) -> torch.Tensor:
        """Return memory of the GPU."""
        try:
            return torch.empty(num_bytes, dtype=torch.uint8, device=self._device)
        except torch.OutOfMemoryError as error:
            free, _total = torch.cuda.mem_get_info(self._device)
            raise no_room(num_bytes, purpose, f"{self.name} has {free} left") from error

    def view(
        self, buffer: torch.Tensor, offset: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> torch.Tensor:
        """Return a part of a buffer."""
        kind = np.dtype(dtype)
        num_bytes = int(np.prod(shape)) * kind.itemsize
        part = buffer[offset : offset + num_bytes]
        return part.view(getattr(torch, kind.name)).view(shape)

    def address(self, array: torch.Tensor) -> int:
        """Return where a tensor begins."""
        return array.data_ptr()

    def stream(self) -> torch.cuda.Stream:
        """Return a stream beside the default one, which every other would wait for."""
        return torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def handle(self, stream: Any) -> int:  # noqa: ANN401
        """Return CUDA's number of a stream."""
        return int(stream.cuda_stream)

    def event(self) -> torch.cuda.Event:
        """Return an event for which a thread waits asleep: its core decodes meanwhile."""
        return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def copy(self, target: AnyDeviceArray, source: AnyDeviceArray, stream: Any) -> None:  # noqa: ANN401
        """Copy without waiting; NumPy's arrays must be page-locked."""
        with torch.cuda.stream(stream):
            torch.as_tensor(target).copy_(torch.as_tensor(source), non_blocking=True)

    def fill(self, target: torch.Tensor, value: float, stream: Any) -> None:  # noqa: ANN401
        """Set all elements without waiting."""
        with torch.cuda.stream(stream):
            target.fill_(value)

    def launch(self, work: Work, stream: Any) -> None:  # noqa: ANN401
        """Call `work` with `stream` as the current one."""
        with torch.cuda.stream(stream):
            work()

    def captured(self, work: Work, stream: Any) -> Work:  # noqa: ANN401
        """Return a replay of `work` as a CUDA graph."""
        with torch.cuda.stream(stream), _autotuned():
            for _ in range(_WARM_UPS):
                work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: other threads may allocate meanwhile, as one does that stages a frame.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
            ):
                work()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise CaptureError(f"CUDA cannot capture this network: {reason}.") from error

        def replay() -> None:
            with torch.cuda.stream(stream):
                graph.replay()

        return replay

    def synchronize(self) -> None:
        """Wait for all streams of the GPU."""
        torch.cuda.synchronize(self._device)


@contextmanager
def _autotuned() -> Iterator[None]:
    """Let cuDNN measure its algorithms: the shapes of a graph never change."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
