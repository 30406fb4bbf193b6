"""Test patterns, made here: a camera for tests, demonstrations and measurements."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecv.closing import Closing
from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Health, HealthRecord
from edgecv.stream.sources.pacing import Pace
from edgecv.stream.sources.uri import Options

Planes: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

_OPTIONS = ("size", "fps", "frames", "live")
_SIZE_HW = (720, 1280)
_FPS = Fraction(30)

# Y, Cb, Cr of 75 % bars in BT.601's limited range: white, yellow, cyan, green, magenta, red, blue
# and black. Source: ITU-R BT.801-1, table 1.
_BARS = (
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
    (16, 128, 128),
)
_GREY, _WHITE = 60, 235


def open_pattern(address: str, *, notices: Notices | None = None) -> "PatternSource":
    """Open a test pattern.

    Args:
        address: `bars`, `box` or `noise`, and options: `bars?fps=30&size=1280x720&frames=100`.
            `live=no` makes frames as fast as they are taken; otherwise they come at the rate.
        notices: where to say what happens.

    Raises:
        SourceError: if there is no such pattern, or an option is wrong.

    """
    pattern, _, text = address.partition("?")
    name = f"test://{pattern}"
    if pattern not in _PAINTERS:
        raise SourceError(
            f"`{name}`: a test pattern must be one of {', '.join(_PAINTERS)}, got {pattern!r}. "
            "Try `test://bars?fps=30`."
        )
    options = Options(name, text, _OPTIONS)
    is_live = options.truth("live")
    return PatternSource(
        name,
        _PAINTERS[pattern](options.size_hw("size") or _SIZE_HW),
        size_hw=options.size_hw("size") or _SIZE_HW,
        rate=options.rate("fps") or _FPS,
        num_frames=options.count("frames", minimum=1),
        is_live=True if is_live is None else is_live,
        record=HealthRecord(name, notices),
    )


def box_xyxy(index: int, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where the white box of `test://box` is: the truth to compare a result with.

    It is a quarter as wide and high as the picture and is reflected by the borders; its corners
    are even, so that chroma and luma agree.

    Args:
        index: of the frame.
        size_hw: height and width in pixels.

    Returns:
        Left, top, right, bottom in pixels; right and bottom are outside.

    """
    height, width = size_hw
    box_h, box_w = max(height // 8 * 2, 2), max(width // 8 * 2, 2)
    left = _reflected(index * 8, width - box_w) // 2 * 2
    top = _reflected(index * 4, height - box_h) // 2 * 2
    return left, top, left + box_w, top + box_h


def _reflected(travelled: int, room: int) -> int:
    """Return the place after a way to and fro between 0 and `room`."""
    if room <= 0:
        return 0
    place = travelled % (2 * room)
    return min(place, 2 * room - place)


class PatternSource(Closing):
    """Frames of a test pattern as `yuv420p`, see `Source`."""

    def __init__(
        self,
        name: str,
        paint: Callable[[int], Planes],
        *,
        size_hw: tuple[int, int],
        rate: Fraction,
        num_frames: int | None,
        is_live: bool,
        record: HealthRecord,
    ) -> None:
        """Prepare; `paint` returns the planes of a frame by its index."""
        self.name, self.is_live, self.num_frames = name, is_live, num_frames
        self.size_hw: tuple[int, int] | None = size_hw
        self.fps: float | None = float(rate)
        self._paint, self._rate, self._record = paint, rate, record
        self._pace = Pace()
        self._is_closed = False

    @property
    def health(self) -> Health:
        """See `Source`."""
        return self._record.snapshot()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, each when it is due if the source is live; see `Source`."""
        index = 0
        while (self.num_frames is None or index < self.num_frames) and not self._is_closed:
            pts_s = float(index / self._rate)
            captured_s = self._pace.wait_until(pts_s) if self.is_live else time.perf_counter()
            if captured_s is None:
                return
            planes = self._paint(index)
            self._record.frame()
            yield Frame(index, planes, "yuv420p", pts_s, captured_s=captured_s)
            index += 1

    def close(self) -> None:
        """End the wait for the next frame."""
        self._is_closed = True
        self._pace.stop()


def _blank(size_hw: tuple[int, int], luma: int) -> Planes:
    height, width = size_hw
    half_hw = (height + 1) // 2, (width + 1) // 2
    return (
        np.full(size_hw, luma, np.uint8),
        np.full(half_hw, 128, np.uint8),
        np.full(half_hw, 128, np.uint8),
    )


def _frozen(planes: Planes) -> Planes:
    for plane in planes:
        plane.flags.writeable = False  # every frame shows the same ones
    return planes


def _bars(size_hw: tuple[int, int]) -> Callable[[int], Planes]:
    """Return a painter of colour bars, the same in every frame: a frame costs nothing."""
    planes = _blank(size_hw, 0)
    for channel, plane in enumerate(planes):
        # Edges on even columns, so that no chroma sample lies under two bars.
        step = 2 if channel == 0 else 1
        edges = [round(bar * size_hw[1] / 16) * step for bar in range(9)]
        for bar, (begin, end) in enumerate(
            zip(edges, [*edges[1:-1], plane.shape[1]], strict=False)
        ):
            plane[:, begin:end] = _BARS[bar][channel]
    frozen = _frozen(planes)
    return lambda _index: frozen


def _box(size_hw: tuple[int, int]) -> Callable[[int], Planes]:
    """Return a painter of a white box that moves over grey, see `box_xyxy`."""
    background, blue, red = _frozen(_blank(size_hw, _GREY))

    def paint(index: int) -> Planes:
        left, top, right, bottom = box_xyxy(index, size_hw)
        luma = background.copy()
        luma[top:bottom, left:right] = _WHITE
        return luma, blue, red

    return paint


def _noise(size_hw: tuple[int, int]) -> Callable[[int], Planes]:
    """Return a painter of grey noise, the same at every run: the worst case of an encoder."""
    _, blue, red = _frozen(_blank(size_hw, 0))

    def paint(index: int) -> Planes:
        chance = np.random.default_rng(index)
        height, width = size_hw
        luma = np.frombuffer(chance.bytes(height * width), np.uint8).reshape(size_hw)
        return luma, blue, red

    return paint


_PAINTERS: dict[str, Callable[[tuple[int, int]], Callable[[int], Planes]]] = {
    "bars": _bars,
    "box": _box,
    "noise": _noise,
}
