"""Memory that an operator works in on a GPU: the caller's, or new."""

import numpy as np

from edgecv.kernels.cuda.arrays import (
    AnyDeviceArray,
    check_view,
    empty_like,
    view_of,
)

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

    The caller holds the array until the work is enqueued; a new one belongs to the stream, whose
    later work alone may get its memory.

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
        workspace = empty_like(like, (num_bytes,), np.uint8, stream=stream)
    view = check_view(
        function, "workspace", workspace, np.uint8, ("N",), device=device, is_output=True,
        stream=stream,
    )  # fmt: skip
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
