"""Arrays on a GPU that begin and step where a test wants."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


@dataclass
class DeviceSlice:
    """A view into the memory of an array on a GPU, as CuPy would make it.

    Args:
        owner: whose memory it is, from its `pointer` on.
        shape: of the view.
        dtype: of the view, whatever the owner's is.
        offset: of its first element, in bytes.
        strides: in bytes; None for C-contiguous rows.

    """

    owner: Any
    shape: tuple[int, ...]
    dtype: DTypeLike
    offset: int = 0
    strides: tuple[int, ...] | None = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.owner.pointer + self.offset, False),
            "strides": self.strides,
            "version": 3,
        }
