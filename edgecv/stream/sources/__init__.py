"""Where frames come from: a URI becomes a source, and a source is a stream of frames.

| module | |
|---|---|
| `opening`, `uri` | what may be written, and what it opens |
| `source`, `frame`, `health` | what every source is, gives and counts |
| `images`, `video`, `standard_input` | what has an end: pictures, files, a pipe |
| `network`, `camera`, `gstreamer` | what is live |
| `live`, `connection`, `backoff`, `timeline` | reconnects, the watchdog, times that rise |
| `decoding`, `container`, `hardware`, `gdp` | FFmpeg's and GStreamer's side |
| `patterns`, `pacing`, `naming` | test patterns, the pace of a camera, a name of the user's |
"""

from edgecv.stream.sources.frame import Frame, ImageFormat
from edgecv.stream.sources.health import Health
from edgecv.stream.sources.images import ImageSource, images_of, natural_key
from edgecv.stream.sources.opening import SCHEMES, TIMEOUT_S, open_source
from edgecv.stream.sources.source import Source

__all__ = [
    "SCHEMES",
    "TIMEOUT_S",
    "Frame",
    "Health",
    "ImageFormat",
    "ImageSource",
    "Source",
    "images_of",
    "natural_key",
    "open_source",
]
