"""Cameras of this machine: V4L2 (`camera:0`) and those on Jetson's ribbon cable (`csi://0`)."""

from pathlib import Path
from typing import Any

import av
import av.container

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources.connection import GRACE_S
from edgecv.stream.sources.container import ContainerConnection
from edgecv.stream.sources.decoding import Packet, reason_of
from edgecv.stream.sources.gstreamer import open_pipeline
from edgecv.stream.sources.hardware import Hardware, accelerated
from edgecv.stream.sources.health import HealthRecord
from edgecv.stream.sources.live import ConnectedSource
from edgecv.stream.sources.uri import Options

CAMERA_SCHEME = "camera:"

# Ours and FFmpeg's words for what a camera may send.
_FORMATS = {"mjpeg": "mjpeg", "yuyv": "yuyv422", "nv12": "nv12", "h264": "h264"}
_FLIPS = {"none": 0, "180": 2, "horizontal": 4, "vertical": 6}
_CSI_SIZE_HW = (720, 1280)
_CSI_RATE = 30


def open_camera(
    address: str,
    *,
    timeout_s: float,
    notices: Notices | None = None,
    hardware: Hardware = "off",
    reconnect: bool = True,
) -> ConnectedSource[Packet]:
    """Open a V4L2 camera.

    Args:
        address: its number or device file, and options: `0`, `0?size=1280x720&fps=30&format=mjpeg`,
            `/dev/v4l/by-id/usb-…`, which names the same camera whatever it is plugged into.
            `format` is `mjpeg`, `yuyv`, `nv12` or `h264`.
        timeout_s: silence for longer is a stall.
        notices: where to say what happens.
        hardware: see `edgecv.stream.sources.hardware`.
        reconnect: whether a camera that was unplugged is opened again when it is back.

    Raises:
        SourceError: if there is none or it delivers nothing; the message lists those there are.

    """
    place, _, text = address.partition("?")
    name = f"camera {place}"
    options = Options(name, text, ("size", "fps", "format", "hardware", "timeout"))
    size_hw, rate = options.size_hw("size"), options.rate("fps")
    format = options.word("format", tuple(_FORMATS))  # noqa: A001  # the word of the whole package
    timeout_s = options.seconds("timeout") or timeout_s
    asked: dict[str, str] = {}
    if size_hw is not None:
        asked["video_size"] = f"{size_hw[1]}x{size_hw[0]}"
    if rate is not None:
        asked["framerate"] = str(rate)
    if format is not None:
        asked["input_format"] = _FORMATS[format]
    record = HealthRecord(name, notices)
    arguments = accelerated(options.text("hardware") or hardware, record) | {"options": asked}
    device = f"/dev/video{place}" if place.isdecimal() else place

    def connect() -> ContainerConnection:
        container = _opened(device, name, timeout_s, arguments)
        connection = ContainerConnection(container, name, record, is_live=True, has_clock=True)
        if size_hw not in (None, connection.size_hw):
            height, width = connection.size_hw or (0, 0)
            record.say(
                "format", f"it does not make {asked['video_size']} and delivers {width}x{height}."
            )
        return connection

    return ConnectedSource(
        name,
        connect,
        record=record,
        timeout_s=timeout_s,
        reconnects=reconnect,
        remedy="Check its cable.",
    )


def _opened(
    device: str, name: str, timeout_s: float, arguments: dict[str, Any]
) -> av.container.InputContainer:
    try:
        container: av.container.InputContainer = av.open(
            device, format="v4l2", timeout=(timeout_s, timeout_s + GRACE_S), **arguments
        )
    except (av.FFmpegError, ValueError) as error:
        present = ", ".join(map(str, camera_numbers())) or "none"
        raise SourceError(
            f"{name} (`{device}`) cannot be opened: {reason_of(error)}; cameras on this "
            f"machine: {present}. Plug it in, choose another number, or free it elsewhere."
        ) from error
    return container


def camera_numbers() -> list[int]:
    """Return the numbers of this machine's cameras, `/dev/video<number>`."""
    names = (path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
    return sorted(int(name) for name in names if name.isdigit())


def open_csi(
    address: str, *, timeout_s: float, notices: Notices | None = None, reconnect: bool = True
) -> ConnectedSource[Any]:
    """Open a camera on a Jetson's CSI connector, through NVIDIA's image processor.

    Args:
        address: the sensor's number, and options: `0?size=1920x1080&fps=60&flip=180`. `flip` is
            `none`, `180`, `horizontal` or `vertical`.
        timeout_s: silence for longer is a stall.
        notices: where to say what happens.
        reconnect: whether it is opened again when it breaks.

    Raises:
        SourceError: if GStreamer or its element `nvarguscamerasrc` is missing, or no camera
            answers.

    """
    return open_pipeline(
        csi_pipeline(address),
        name=f"csi://{address.partition('?')[0]}",
        timeout_s=timeout_s,
        notices=notices,
        reconnect=reconnect,
        remedy="Check the ribbon cable, and that JetPack's camera service runs: "
        "`sudo systemctl restart nvargus-daemon`.",
    )


def csi_pipeline(address: str) -> str:
    """Return the GStreamer pipeline of a CSI camera, which ends with NV12 in main memory.

    Source: NVIDIA Jetson Linux Developer Guide, Accelerated GStreamer, camera capture.

    Raises:
        SourceError: if the address is no number, or an option is wrong.

    """
    sensor, _, text = address.partition("?")
    name = f"csi://{sensor}"
    if not (sensor.isascii() and sensor.isdecimal()):
        raise SourceError(
            f"`{name}`: a CSI camera must be a number, got {sensor!r}. Try `csi://0`."
        )
    options = Options(name, text, ("size", "fps", "flip"))
    height, width = options.size_hw("size") or _CSI_SIZE_HW
    rate = options.rate("fps") or _CSI_RATE
    flip = _FLIPS[options.word("flip", tuple(_FLIPS)) or "none"]
    return (
        f"nvarguscamerasrc sensor-id={int(sensor)} ! "
        f'"video/x-raw(memory:NVMM), width={width}, height={height}, format=NV12, '
        f'framerate={rate.numerator}/{rate.denominator}" ! '
        f"nvvidconv flip-method={flip} ! video/x-raw,format=NV12 ! appsink"
    )
