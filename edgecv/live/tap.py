"""From results to what a browser receives, in a thread of its own and only while somebody looks.

The stream leaves its newest result in a slot, where the next replaces it: it never waits, and
nothing is kept for a page that nobody has open. Here a result becomes one message: a small JPEG and
what is drawn over it, which therefore always belong together. It is made once, however many
clients receive it.

A source that delivers JPEG or H.264 is no exception: what a frame holds is what the network saw,
decoded and upright, and a camera's own pictures may be larger than a browser wants, or predicted
from others. Encoding 960 pixels of width takes 2 ms of a core, and that at most `max_fps` times a
second.
"""

import io
import json
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from edgecv.kernels import letterbox
from edgecv.live.overlay import described
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.records import captured_at_s
from edgecv.stream.sources import Frame

Send = Callable[[str, bytes], object]

_QUALITY = 80  # of JPEG, as Pillow counts
_REST = 3  # times as long as it worked the thread rests: a quarter of a core at the most
_LENGTHS = struct.Struct("<III")  # of JSON, picture and layer


class Tap:
    """Makes messages of the newest results of the sources that are watched.

    Args:
        classes: the model's.
        send: called in the tap's thread with a source and its message; must not block.
        max_fps: messages a second of one source.
        max_width: of the pictures, in pixels.
        on_error: called with what went wrong.

    """

    def __init__(
        self,
        classes: Sequence[str],
        send: Send,
        *,
        max_fps: float,
        max_width: int,
        on_error: Callable[[str], object],
    ) -> None:
        """Prepare the slots; nobody looks yet."""
        self._classes, self._send, self._on_error = classes, send, on_error
        self._interval_s, self._max_width = 1 / max_fps, max_width
        self._changed = threading.Condition()
        self._watched: frozenset[str] = frozenset()
        self._newest: dict[str, StreamResult] = {}
        self._due_s: dict[str, float] = {}
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="edgecv-page-pictures", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def publish(self, result: StreamResult) -> None:
        """Leave a result in its slot, if somebody watches its source."""
        if result.source not in self._watched:
            return
        with self._changed:
            self._newest[result.source] = result
            self._changed.notify()

    def watch(self, sources: frozenset[str]) -> None:
        """Make messages of these sources alone from now on."""
        with self._changed:
            self._watched = sources
            for source in [name for name in self._newest if name not in sources]:
                del self._newest[source]

    def close(self) -> None:
        """End the thread; twice does no harm."""
        with self._changed:
            self._is_closed = True
            self._newest.clear()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while (result := self._next()) is not None:
            begin_s = time.thread_time()
            try:
                message = encoded(result, self._classes, max_width=self._max_width)
            except Exception as error:  # noqa: BLE001  # a page that fails must not end a stream
                self._on_error(f"a frame cannot be shown: {error}")
                continue
            self._send(result.source, message)
            del result, message  # not while this waits for the next
            with self._changed:
                rest_s = _REST * (time.thread_time() - begin_s)
                self._changed.wait_for(lambda: self._is_closed, rest_s)

    def _next(self) -> StreamResult | None:
        """Wait for the result that is due first; None when this is closed."""
        with self._changed:
            while not self._is_closed:
                now_s = time.perf_counter()
                due = min(
                    ((self._due_s.get(name, 0.0), name) for name in self._newest), default=None
                )
                if due is None:
                    self._changed.wait()
                elif due[0] > now_s:
                    self._changed.wait(due[0] - now_s)
                else:
                    # In step with the clock, but never to catch up.
                    self._due_s[due[1]] = max(due[0], now_s - self._interval_s) + self._interval_s
                    return self._newest.pop(due[1])
        return None


def encoded(result: StreamResult, classes: Sequence[str], *, max_width: int) -> bytes:
    """Return a result as a message: see `packed`."""
    frame = result.frame
    height, width = frame.size_hw
    overlay = described(result.result, classes, (height, width))
    content = {
        "type": "frame",
        "source": result.source,
        "index": frame.index,
        "captured_at": round(captured_at_s(result), 3),
        "pts_s": None if frame.pts_s is None else round(frame.pts_s, 3),
        "latency_ms": round(result.ledger.latency_ms, 2),
        "width": width,
        "height": height,
        "result": overlay.content,
    }
    return packed(content, jpeg(frame, max_width=max_width), overlay.layer)


def packed(content: dict[str, Any], picture: bytes = b"", layer: bytes = b"") -> bytes:
    """Return what a browser receives: three lengths, 32 bits each, lowest byte first; the parts.

    Args:
        content: for JSON.
        picture: a JPEG or nothing.
        layer: a PNG or nothing.

    """
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(data), len(picture), len(layer)), data, picture, layer))


def jpeg(frame: Frame, *, max_width: int) -> bytes:
    """Return a frame of any format as a JPEG, at most `max_width` pixels wide."""
    height, width = frame.size_hw
    scale = min(1.0, max_width / width)
    # Strong reductions are averaged, others interpolated; in one pass from any format.
    pixels, _ = letterbox(
        frame.pixels,
        (max(1, round(height * scale)), max(1, round(width * scale))),
        format=frame.format,
        matrix=frame.matrix,
        range=frame.range,
        fit="stretch",
        interpolation="area" if scale < 0.5 else "bilinear",  # noqa: PLR2004
        scale=1,
        dtype="uint8",
        layout="hwc",
    )
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=_QUALITY)
    return stream.getvalue()
