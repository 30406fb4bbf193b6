"""Frames that are fitted where the network runs: they cross the bus as the decoder made them.

A frame of yuv420p or nv12 is half the bytes of RGB, and an eighth of a network's float32 input of
the same size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

from edgecv import kernels
from edgecv.frame_formats import (
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
    frame_size_hw,
    planes_of,
)
from edgecv.kernels.cuda.arrays import AnyDeviceArray
from edgecv.placement import Placement
from edgecv.runtime.transfers import Staged, Uploads
from edgecv.spec import InputSpec

Colours: TypeAlias = tuple[FrameFormat, ColourMatrix, ColourRange]
ImageLayout: TypeAlias = Literal["chw", "hwc"]


@dataclass(frozen=True, eq=False)
class StagedFrame:
    """A frame on its way to a device.

    Args:
        staged: its planes.
        colours: format, matrix and range of its pixels.

    """

    staged: Staged
    colours: Colours

    @property
    def pixels(self) -> AnyDeviceArray:
        """One array of the device, or a tuple of planes, see `edgecv.frame_formats`."""
        arrays = self.staged.arrays
        return arrays[0] if len(arrays) == 1 else tuple(arrays)


def stage_frame(
    uploads: Uploads, frame: Pixels, colours: Colours, wanted: InputSpec
) -> tuple[StagedFrame, Placement]:
    """Start the upload of a frame that the device can fit.

    Args:
        uploads: to the device.
        frame: see `edgecv.frame_formats`; free again as soon as this returns.
        colours: format, matrix and range of its pixels.
        wanted: what it will become.

    Returns:
        The frame, and where it will lie in the network's input.

    Raises:
        TypeError: if the pixels are not uint8.
        ValueError: if their shape does not fit the format.

    """
    planes = planes_of("letterbox", frame, colours[0])
    placement = Placement.of(frame_size_hw(planes), wanted.size_hw, wanted.fit)
    return StagedFrame(uploads.stage(planes), colours), placement


def fit_frames(
    frames: Sequence[tuple[AnyDeviceArray, Colours]],
    wanted: InputSpec,
    out: AnyDeviceArray,
    *,
    layout: ImageLayout = "chw",
    stream: int = 0,
) -> None:
    """Fit frames into a network's input, on a GPU or on the processor.

    Args:
        frames: the pixels of each, whose uploads the stream waits for already, and format, matrix
            and range; they may differ in everything.
        wanted: how.
        out: (B, C, H, W) or, with layout `hwc`, (B, H, W, C) of the device, of a type that an
            `InputSpec` may have.
        layout: of `out`.
        stream: the number of the GPU's stream that does it.

    """
    options: dict[str, Any] = {
        "fit": wanted.fit,
        "colour": wanted.colour,
        "scale": wanted.scale,
        "mean": wanted.mean,
        "std": wanted.std,
        "pad": wanted.pad,
        "dtype": str(out.dtype).removeprefix("torch."),
        "layout": layout,
        "stream": stream,
    }
    begin = 0
    for colours, group in groupby(frames, key=lambda frame: frame[1]):
        pixels = [frame[0] for frame in group]
        end = begin + len(pixels)
        options.update(zip(("format", "matrix", "range"), colours, strict=True))
        kernels.letterbox_batch(pixels, wanted.size_hw, out=out[begin:end], **options)
        begin = end
