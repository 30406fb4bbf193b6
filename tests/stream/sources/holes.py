"""Memory that is freed and that the C library keeps."""

import os
import platform
from pathlib import Path

import pytest

HOLES_BYTES = 40 << 20
_BLOCK_BYTES = 4096

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is not glibc"
)


def leave_holes() -> bytes:
    """Take `HOLES_BYTES` and free all but the last block, which is returned.

    As long as that is there, glibc gives back nothing below it by itself.
    """
    return [bytes(_BLOCK_BYTES) for _ in range(HOLES_BYTES // _BLOCK_BYTES)][-1]


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
