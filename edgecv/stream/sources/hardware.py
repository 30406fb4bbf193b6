"""Hardware decoders: which there are, and which to take."""

from functools import cache
from typing import Any, TypeAlias

import av

from edgecv.errors import SourceError
from edgecv.stream.sources.health import HealthRecord

Hardware: TypeAlias = str  # "off", "auto" or one of `hardware_decoders()`

# What `auto` tries, in this order: a device's own interface before the general ones.
_PREFERRED = ("cuda", "videotoolbox", "vaapi", "d3d12va", "d3d11va", "dxva2", "vdpau", "vulkan")


def hardware_decoders() -> list[str]:
    """Return what this FFmpeg was built with: `cuda`, `vaapi`, …; not what is in the machine."""
    try:
        from av.codec.hwaccel import hwdevices_available  # noqa: PLC0415  # PyAV 14 and later
    except ImportError:
        return []
    return sorted(hwdevices_available())


@cache
def _is_usable(device_type: str) -> bool:
    """Return whether this machine has such a device and its driver; found out once."""
    from av.codec.hwaccel import HWAccel  # noqa: PLC0415

    try:
        context = av.CodecContext.create("h264", "r", HWAccel(device_type))
    except (av.FFmpegError, RuntimeError, ValueError):
        return False  # no driver, or no device
    return bool(context.is_hwaccel)  # False: FFmpeg has no H.264 decoder for it


def accelerated(hardware: Hardware, record: HealthRecord) -> dict[str, Any]:
    """Return the keyword arguments with which `av.open` decodes on the hardware.

    A decoder that the device lacks (a rare codec or profile) falls back to software either way.

    Args:
        hardware: `off`; `auto`, the first of `hardware_decoders` that works; or one of them.
        record: where a fallback is said.

    Returns:
        None of them for decoding on the CPU.

    Raises:
        SourceError: if the one asked for by name is unknown or does not work here.

    """
    if hardware == "off":
        return {}
    known = hardware_decoders()
    if hardware == "auto":
        found = next((name for name in _PREFERRED if name in known and _is_usable(name)), None)
        if found is None:
            tried = ", ".join(name for name in _PREFERRED if name in known) or "none is built in"
            record.say("backend", f"no hardware decoder works here ({tried}): the CPU decodes.")
            return {}
    else:
        found = hardware
        if hardware not in known:
            raise SourceError(
                f"open_source: `hardware` must be one of {', '.join(('off', 'auto', *known))}, "
                f"got {hardware!r}. Leave it out to decode on the CPU."
            )
        if not _is_usable(hardware):
            raise SourceError(
                f"open_source: the hardware decoder `{hardware}` does not work on this machine. "
                "Install the device's driver, or take `auto` or `off`."
            )
    from av.codec.hwaccel import HWAccel  # noqa: PLC0415

    return {"hwaccel": HWAccel(found, allow_software_fallback=True)}
