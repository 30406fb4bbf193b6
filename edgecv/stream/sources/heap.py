"""The memory that the C library keeps of what a thread has freed, and how to give it back."""

import ctypes
import sys


def trim_heap() -> None:
    """Give what is freed back to the system, where the C library is glibc; elsewhere nothing.

    glibc keeps an arena for each thread, up to 8 a core, and what is freed in one stays with the
    process for the next thread that gets it. FFmpeg takes some 2 MB to open a stream and frees most
    of it, so that a camera that is opened again and again, each time in a new thread, in the end
    leaves that much in every arena. Takes under 0.1 ms, or 30 ms with 300 000 holes.
    """
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if malloc_trim is not None:
            malloc_trim(0)
