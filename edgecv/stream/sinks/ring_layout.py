"""How the shared-memory ring lies in memory: the one place that the writer and readers share.

`edgecv_ring.h` beside this file says the same in C. Everything is little-endian and aligned.
The file is `/dev/shm/edgecv.<name>`, which C opens as `shm_open("/edgecv.<name>", O_RDONLY, 0)`.

    offset  file                          offset  slot, at 64 + number % num_slots * slot_bytes
    0       "EDGECVRG"                    0       u64 sequence: 2 n + 1 while record n is being
    8       u32 version, 1                        written, 2 n + 2 when it is whole
    12      u32 num_slots                 8       i64 captured_ns, CLOCK_MONOTONIC
    16      u64 slot_bytes                16      i64 captured_unix_ns, since 1970
    24      u64 num_records, all ever     24      i64 pts_ns, -2**63 where unknown
    32      u32 is_closed                 32      u64 frame index
    36      u32 pid of the writer         40      u32 width
    40      zeros                         44      u32 height
    64      the slots                     48      char[4] format of the pixels, zeros for none
                                          52      u32 matrix: 1 BT.709, 5 BT.601 (H.273)
                                          56      u32 is_full_range
                                          60      u32 json_bytes
                                          64      u64 pixels_bytes
                                          72      zeros
                                          128     JSON in UTF-8, then zeros up to 64 bytes
                                          then    the pixels, plane after plane, rows dense

Records are numbered from 0; record n is in slot n % num_slots until record n + num_slots comes.
A reader takes the sequence, copies, and takes it again: if it was odd, not 2 n + 2 or has changed,
what was copied is to be thrown away. The formats are V4L2's: `I420` (yuv420p), `NV12`, `YUYV`,
`GREY`, `RGB3`, `BGR3`, and `RGGB`, `BA81`, `GRBG`, `GBRG` for Bayer's.
"""

import struct
from pathlib import Path

from edgecv.errors import InputError
from edgecv.frame_formats import ColourMatrix, FrameFormat

MAGIC = b"EDGECVRG"
VERSION = 1
HEADER = struct.Struct("<8sIIQQII24x")
NUM_RECORDS_AT, IS_CLOSED_AT = 24, 32
SLOT = struct.Struct("<QqqqQII4sIIIQ56x")
SEQUENCE = struct.Struct("<Q")
NO_PTS = -(2**63)

FOURCC: dict[FrameFormat, bytes] = {
    "yuv420p": b"I420",
    "nv12": b"NV12",
    "yuyv422": b"YUYV",
    "gray8": b"GREY",
    "rgb24": b"RGB3",
    "bgr24": b"BGR3",
    "bayer_rggb8": b"RGGB",
    "bayer_bggr8": b"BA81",
    "bayer_grbg8": b"GRBG",
    "bayer_gbrg8": b"GBRG",
}
FORMAT_OF = {code: name for name, code in FOURCC.items()}
MATRIX_CODE: dict[ColourMatrix, int] = {"bt709": 1, "bt601": 5}
MATRIX_OF = {code: name for name, code in MATRIX_CODE.items()}

_FOLDER = Path("/dev/shm")  # noqa: S108  # where POSIX shared memory lies on Linux


def ring_path(name: str) -> Path:
    """Return the file of a ring.

    Raises:
        InputError: if the name could not be one, or this system has no `/dev/shm`.

    """
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise InputError(
            f"`shm://{name}`: the name of a ring must be one word without `/`. Write shm://camera."
        )
    if not _FOLDER.is_dir():
        raise InputError(
            f"`shm://{name}`: this system has no {_FOLDER}. Use the ring on Linux, or mqtt://."
        )
    return _FOLDER / f"edgecv.{name}"


def padded(num_bytes: int) -> int:
    """Return the next multiple of 64 bytes, a line of the cache."""
    return -(-num_bytes // 64) * 64


def num_pixel_bytes(code: bytes, height: int, width: int) -> int:
    """Return the size of a picture in bytes."""
    if code in (b"I420", b"NV12"):
        return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)
    return height * width * {b"RGB3": 3, b"BGR3": 3, b"YUYV": 2}.get(code, 1)
