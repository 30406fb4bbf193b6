"""Memory that an operator works in on a GPU: the caller's, or new."""

import numpy as np

from edgecv.kernels.cuda.arrays import (
    AnyDeviceArray,
    check_view,
    empty_like,
    stream_of,
    view_of,
)
from edgecv.kernels.cuda.memory import DeviceArray

ALIGNMENT = 16  # bytes


def workspace_for(
    function: str,
    workspace: AnyDeviceArray | None,
    num_bytes: int,
    what: str,
    *,
    like: AnyDeviceArray,
    stream: int,
) -> tuple[AnyDeviceArray, int]:
    """Return an array of at least `num_bytes` bytes, and its address.

    The caller holds the array until the work is enqueued.

    Args:
        function: who asks, for messages.
        workspace: (N,) uint8 of any content, or None for a new array.
        num_bytes: that are needed.
        what: they are needed for.
        like: an array on the GPU on which the workspace must be.
        stream: the handle of the stream that the work goes to.

    Raises:
        TypeError: if the workspace is not uint8.
        ValueError: if it is too small, on another GPU, not contiguous or not aligned.

    """
    device = view_of(function, "workspace", like).device
    if workspace is None:
        workspace = _new(num_bytes, device, like, stream)
    view = check_view(
        function, "workspace", workspace, np.uint8, ("N",), device=device, is_output=True
    )
    if view.shape[0] < num_bytes:
        raise ValueError(
            f"{function}: `workspace` needs {num_bytes} bytes for {what}, got {view.shape[0]}."
        )
    if view.pointer % ALIGNMENT:
        raise ValueError(
            f"{function}: `workspace` must be aligned to {ALIGNMENT} bytes, got address "
            f"{view.pointer:#x}. Slice it at a multiple of {ALIGNMENT}."
        )
    return workspace, view.pointer


def _new(num_bytes: int, device: int, like: AnyDeviceArray, stream: int) -> AnyDeviceArray:
    """Return memory that may be given back as soon as the work is enqueued.

    The library's own pool hands it out again to its current stream: that is safe if the work goes
    there too.
    """
    if stream == stream_of(None, like):
        return empty_like(like, (num_bytes,), np.uint8)
    return DeviceArray.empty((num_bytes,), np.uint8, device=device, stream=stream)
