"""Tuples of a kernel's arguments: planes of frames, levels of a pyramid."""

import triton
import triton.language as tl


@triton.jit
def element_at(values, index):
    """Return the element of a tuple at an index that a program finds; outside, the first."""
    chosen = values[0]
    for k in tl.static_range(1, len(values)):
        chosen = tl.where(index == k, values[k], chosen)
    return chosen
