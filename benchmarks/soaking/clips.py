"""Short videos of many packets, and random damage to these packets."""

import random
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import av
import numpy as np

SIZE_HW = (96, 128)
Damage = Literal["flip", "overwrite", "erase", "shift", "swap"]
DAMAGES: tuple[Damage, ...] = ("flip", "overwrite", "erase", "shift", "swap")
Place: TypeAlias = tuple[int, int]

_FPS = 25
_NUM_PICTURES = 50  # that differ
_LONGEST_RUN = 64
_SHARE_OF_HEADS, _HEAD_BYTES = 0.01, 16  # what the container writes before a packet


@dataclass(frozen=True)
class Clip:
    """How a video is written.

    Args:
        suffix: of the file, which names its container.
        codec: FFmpeg's name of the encoder.
        options: of the encoder.

    """

    suffix: str
    codec: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.codec} in {self.suffix}"


_X264 = (("preset", "ultrafast"), ("g", "25"), ("bf", "2"), ("threads", "1"))
_X265 = (("preset", "ultrafast"), ("x265-params", "keyint=25:pools=none:log-level=none"))
CLIPS = (
    Clip("mp4", "libx264", _X264),
    Clip("mkv", "libx265", _X265),
    Clip("avi", "mjpeg"),
    Clip("ts", "libx264", _X264),
)


def write_clip(clip: Clip, path: Path, *, num_frames: int) -> None:
    """Write a video of moving noise: every packet has something in it."""
    chance = np.random.default_rng(0)
    height, width = SIZE_HW
    noise = chance.integers(0, 255, (height, 2 * width, 3), np.uint8)
    pictures = [
        np.ascontiguousarray(noise[:, 2 * number : 2 * number + width] // 4 + 96)
        for number in range(_NUM_PICTURES)
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(clip.codec, rate=_FPS, options=dict(clip.options))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = SIZE_HW
        stream.pix_fmt = "yuvj420p" if clip.codec == "mjpeg" else "yuv420p"
        for index in range(num_frames):
            picture = av.VideoFrame.from_ndarray(pictures[index % _NUM_PICTURES], format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, _FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def packets_of(path: Path) -> list[Place]:
    """Return where each packet of a video lies in its file, and how long it is."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        return [_place(packet, data) for packet in packets if packet.size]


def _place(packet: "av.Packet[av.VideoStream]", data: bytes) -> Place:
    """Return where a packet's own bytes lie: some containers tell where the head before them is."""
    assert packet.pos is not None
    begin = data.find(bytes(packet), packet.pos, packet.pos + packet.size + _LONGEST_RUN)
    return (packet.pos if begin < 0 else begin), packet.size  # a transport stream cuts it up


def damaged(data: bytes, packets: list[Place], chance: random.Random, number: int) -> bytes:
    """Return the file with so many corruptions, each of a packet and in a way of chance's choice.

    Args:
        data: the file.
        packets: see `packets_of`; some may be hit twice.
        chance: what chooses.
        number: of the corruptions.

    """
    out = bytearray(data)
    for _ in range(number):
        _corrupt(out, chance.choice(packets), chance.choice(packets), chance)
    return bytes(out)


def _corrupt(out: bytearray, packet: Place, other: Place, chance: random.Random) -> None:
    begin, size = packet
    end = min(begin + size, len(out))
    if chance.random() < _SHARE_OF_HEADS:
        begin, end = begin - _HEAD_BYTES, begin
    at = chance.randrange(begin, end)
    until = min(at + chance.randint(1, _LONGEST_RUN), end)
    kind = chance.choice(DAMAGES)
    if kind == "flip":
        out[at] ^= 1 << chance.randrange(8)
    elif kind == "overwrite":
        out[at:until] = chance.randbytes(until - at)
    elif kind == "erase":
        out[at:until] = bytes(until - at)
    elif kind == "shift":  # as if a byte had been lost
        out[at:end] = out[at + 1 : end] + b"\0"
    else:  # what was meant for somewhere else
        piece = out[other[0] : other[0] + until - at]
        out[at : at + len(piece)] = piece
