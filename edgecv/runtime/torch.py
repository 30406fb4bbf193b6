"""The PyTorch backend: a trained checkpoint, on the processor or as a CUDA graph on a GPU.

On a GPU a frame crosses the bus as the decoder made it, our kernels fit it and suppress what the
network finds, and only the detections come back. `run` returns at once: while the network works on
one frame, the next is uploaded and the results of the one before come down.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgecv.errors import DeviceError, InputError
from edgecv.frame_formats import (
    FRAME_FORMATS,
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
)
from edgecv.kernels.cuda.arrays import AnyDeviceArray
from edgecv.kernels.cuda.native import why_not
from edgecv.models import Network
from edgecv.models.fused import Fused, fused
from edgecv.models.operators import on_kernels
from edgecv.placement import Placement
from edgecv.runtime.device import Device, HostDevice, Stream, Work
from edgecv.runtime.frames import DEVICE_FORMATS, StagedFrame, fit_frames, stage_frame
from edgecv.runtime.session import Outputs, TorchPrecision, input_shape, no_proposals
from edgecv.runtime.transfers import Downloads, OutputLayout, Uploads
from edgecv.spec import ModelSpec
from edgecv.train.checkpoint import load_trained

Batch: TypeAlias = NDArray[Any] | StagedFrame | Sequence[StagedFrame]

_DEVICES = ("auto", "cpu", "cuda")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Program:
    """The network for one number of images, with the buffers that it reads and writes.

    Args:
        images: (B, C, H, W) of the device, or (B, H, W, C) where the network runs channels last.
        proposals: (B, R, 4) of the device, None where there is no such input.
        packed: all outputs, one behind the other.
        layout: of `packed`.
        run: does the work, on the compute stream.

    """

    images: AnyDeviceArray
    proposals: AnyDeviceArray | None
    packed: AnyDeviceArray
    layout: OutputLayout
    run: Work


class TorchSession:
    """A network with what follows it, see `edgecv.runtime.session.FrameSession`.

    Calls of `run` from several threads take turns; `stage` may be called meanwhile.
    """

    def __init__(
        self, module: Fused, spec: ModelSpec, device: Device, precision: TorchPrecision = "fp32"
    ) -> None:
        """Hold a network that lies on the device already.

        Args:
            module: in evaluation mode; of `fp16`, after `halve`.
            spec: of its outputs.
            device: where everything happens.
            precision: what the network computes with; what follows it is float32.

        """
        self.spec = spec
        self.frame_formats: tuple[FrameFormat, ...] = (
            FRAME_FORMATS if isinstance(device, HostDevice) else DEVICE_FORMATS
        )
        self._module: Fused | None = module
        self._device, self._precision = device, precision
        self._kind = "cpu" if isinstance(device, HostDevice) else "cuda"
        # Tensor cores read channels last; in float32 there is nothing to gain.
        self._is_channels_last = precision == "fp16" and self._kind == "cuda"
        self._uploads, self._downloads = Uploads(device), Downloads(device)
        self._compute: Stream = device.stream()
        self._scalars = {
            name: device.view(device.buffer(4), 0, (), np.float32) for name in module.scalar_names
        }
        self._values: dict[str, float] = {}
        self._programs: dict[int, _Program] = {}
        self._lock = threading.Lock()
        self._is_launched_singly = False

    @property
    def backend(self) -> str:
        """Backend, device, precision, and whether there is no graph."""
        told = f"torch {self._device.name}"
        if self._precision != "fp32":
            told += f" {self._precision}"
        return f"{told} without a CUDA graph" if self._is_launched_singly else told

    def stage(
        self,
        frame: Pixels,
        *,
        format: FrameFormat,  # noqa: A002
        matrix: ColourMatrix,
        range: ColourRange,  # noqa: A002
    ) -> tuple[StagedFrame, Placement]:
        """Start the upload of a frame, see `edgecv.runtime.session.FrameSession.stage`."""
        return stage_frame(self._uploads, frame, (format, matrix, range), self.spec.input)

    def run(
        self,
        batch: Batch,
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.FrameSession.run`."""
        if isinstance(batch, StagedFrame):
            batch = [batch]
        with self._lock:
            if self._module is None:
                raise ValueError("TorchSession.run: the session is closed. Open it again.")
            self._check(batch, proposals)
            self._set_scalars(scalars or {})
            program = self._programs.get(len(batch)) or self._built(self._module, len(batch))
            if isinstance(batch, np.ndarray):
                axes = (0, 2, 3, 1) if self._is_channels_last else (0, 1, 2, 3)
                self._copy_in(program.images, batch.transpose(axes))
            else:
                self._fit(batch, program)
            if proposals is not None and program.proposals is not None:
                self._copy_in(program.proposals, proposals)
            program.run()
            return self._downloads.fetch(program.packed, program.layout, self._compute)

    def warm_up(self) -> None:
        """Run once on an empty input."""
        wanted = self.spec.input
        batch = np.zeros((1, *input_shape(wanted)), wanted.dtype)
        dict(self.run(batch, proposals=no_proposals(self.spec)))

    def close(self) -> None:
        """Give back the network's memory; twice does no harm."""
        with self._lock:
            if self._module is not None:
                self._device.synchronize()
                self._programs.clear()
                self._module = None

    def _set_scalars(self, wanted: Mapping[str, float]) -> None:
        """Write what has changed: a graph reads it where it lies."""
        unknown = sorted(set(wanted) - set(self._scalars))
        if unknown:
            raise ValueError(
                f"TorchSession.run: `scalars` must be of {', '.join(self._scalars) or 'none'}, "
                f"got {', '.join(unknown)}."
            )
        for name, target in self._scalars.items():
            value = wanted.get(name, getattr(self.spec.postprocess, name))
            if self._values.get(name) != value:
                self._fill(target, value)
                self._values[name] = value

    def _check(
        self, batch: NDArray[Any] | Sequence[StagedFrame], proposals: NDArray[np.float32] | None
    ) -> None:
        """Refuse a batch of another form, and proposals where there should be none, or too few."""
        if len(batch) == 0:
            raise ValueError("TorchSession.run: `batch` must hold at least 1 image, got 0.")
        wanted, shape = self.spec.input, input_shape(self.spec.input)
        if isinstance(batch, np.ndarray) and (
            batch.shape[1:] != shape or batch.dtype != wanted.dtype
        ):
            raise ValueError(
                f"TorchSession.run: `batch` must be {wanted.dtype} (B, "
                f"{', '.join(map(str, shape))}), got {batch.dtype} {batch.shape}."
            )
        regions = self.spec.proposals
        expected = None if regions is None else (len(batch), regions.count, 4)
        found = None if proposals is None else proposals.shape
        if found != expected:
            raise ValueError(f"TorchSession.run: `proposals` must be {expected}, got {found}.")

    def _copy_in(self, target: AnyDeviceArray, source: NDArray[Any]) -> None:
        staged = self._uploads.stage([source])
        staged.begin(self._compute)
        self._device.copy(target, staged.arrays[0], self._compute)
        staged.end(self._compute)

    def _fit(self, frames: Sequence[StagedFrame], program: _Program) -> None:
        for frame in frames:
            frame.staged.begin(self._compute)
        layout: Literal["chw", "hwc"] = "hwc" if self._is_channels_last else "chw"
        pictures = [(frame.pixels, frame.colours) for frame in frames]
        work = partial(fit_frames, pictures, self.spec.input, program.images, layout=layout)
        self._device.launch(work, self._compute)
        for frame in frames:
            frame.staged.end(self._compute)

    def _built(self, module: Fused, batch_size: int) -> _Program:
        """Return the network for a number of images; a GPU is idle afterwards."""
        device = self._device
        channels, height, width = input_shape(self.spec.input)
        shape = (batch_size, channels, height, width)
        if self._is_channels_last:
            shape = (batch_size, height, width, channels)
        images = self._zeros(shape, np.float16 if self._precision == "fp16" else np.float32)
        wanted = self.spec.proposals
        proposals = (
            None if wanted is None else self._zeros((batch_size, wanted.count, 4), np.float32)
        )
        arguments = [torch.as_tensor(images)]
        if self._is_channels_last:
            arguments[0] = arguments[0].permute(0, 3, 1, 2)
        arguments += [torch.as_tensor(self._scalars[name]) for name in module.scalar_names]
        arguments += [] if proposals is None else [torch.as_tensor(proposals)]
        found: list[tuple[Tensor, ...]] = []
        device.launch(lambda: found.append(self._call(module, arguments)), self._compute)
        device.synchronize()
        layout = OutputLayout(
            tuple(module.output_names),
            tuple(tuple(value.shape) for value in found[0]),
            tuple(np.dtype(str(value.dtype).removeprefix("torch.")) for value in found[0]),
        )
        packed = device.view(device.buffer(layout.num_bytes), 0, (layout.num_bytes,), np.uint8)
        target = torch.as_tensor(packed)

        def work() -> None:
            outputs = self._call(module, arguments)
            rows = [value.contiguous().view(-1).view(torch.uint8) for value in outputs]
            torch.cat(rows, out=target)

        program = _Program(images, proposals, packed, layout, self._captured(work))
        self._programs[batch_size] = program
        return program

    def _zeros(self, shape: tuple[int, ...], dtype: type[np.generic]) -> AnyDeviceArray:
        num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        array = self._device.view(self._device.buffer(num_bytes), 0, shape, dtype)
        self._fill(array, 0)
        return array

    def _fill(self, target: AnyDeviceArray, value: float) -> None:
        """Fill on the compute stream; the value travels in the launch, no memory is read."""

        def fill() -> None:
            torch.as_tensor(target).fill_(value)

        self._device.launch(fill, self._compute)

    def _captured(self, work: Work) -> Work:
        try:
            return self._device.captured(work, self._compute)
        except DeviceError as error:
            if not self._is_launched_singly:
                _log.warning("%s Its kernels are launched one by one.", error)
            self._is_launched_singly = True
            return partial(self._device.launch, work, self._compute)

    def _call(self, module: Fused, arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(on_kernels())
            if self._precision == "fp16":
                # No cache: in a graph it would hold tensors of the capture.
                half = torch.autocast(self._kind, torch.float16, cache_enabled=False)
                stack.enter_context(half)
            outputs = module(*arguments)
        return tuple(value.float() if value.dtype == torch.float16 else value for value in outputs)


def open_checkpoint(
    path: Path, device: str = "auto", *, threads: int = 0, precision: TorchPrecision = "fp32"
) -> TorchSession:
    """Open `best.pt` or `last.pt` of a training, see `edgecv.runtime.session.open_session`.

    Args:
        path: the checkpoint.
        device: see `open_network`, as is `precision`.
        threads: of PyTorch's operators on the processor, in this whole process; 0 leaves them.
        precision: see there.

    Raises:
        InputError: if the file or the device cannot be used.

    """
    place = _choose_device(device)  # before the file: reading it takes longer
    trained = load_trained(path)
    if threads:
        torch.set_num_threads(threads)
    return _open(trained.network, trained.spec, place, precision)


def open_network(
    network: Network, spec: ModelSpec, device: str = "auto", precision: TorchPrecision = "fp32"
) -> TorchSession:
    """Open a network that ends in results, as a `fused` export of it does.

    Args:
        network: on the processor; it belongs to the session from now on.
        spec: its description, with whatever output.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp16` multiplies in half precision and adds in single.

    Raises:
        InputError: if the device cannot be used.

    """
    return _open(network, spec, _choose_device(device), precision)


def why_no_gpu() -> str | None:
    """Return what a GPU lacks to run a network here, and the remedy; None if nothing."""
    if torch.version.cuda is None:
        return (
            f"this PyTorch {torch.__version__} was built without CUDA. "
            "Install a build with it: https://pytorch.org/get-started/locally."
        )
    if not torch.cuda.is_available():
        return (
            "PyTorch finds no NVIDIA GPU. Check `nvidia-smi` and that the driver is new enough for "
            f"CUDA {torch.version.cuda}, or use `--device cpu`."
        )
    return why_not()


def _open(
    network: Network, spec: ModelSpec, place: Device, precision: TorchPrecision
) -> TorchSession:
    provenance = replace(spec.provenance, precision=precision)
    spec = replace(spec, output=network.fused_output(), provenance=provenance)
    module = fused(network, spec.postprocess).eval()
    if precision == "fp16":
        halve(module)
    if not isinstance(place, HostDevice):
        module = module.to("cuda")
        if precision == "fp16":  # as tensor cores read them
            module = module.to(memory_format=torch.channels_last)
    return TorchSession(module, spec, place, precision)


def halve(module: nn.Module) -> None:
    """Keep the weights of convolutions and linear layers in half precision, where autocast is on.

    The others stay as they are: normalisation is cheap, and anchors are coordinates.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.half()


def _choose_device(device: str) -> Device:
    """Return where a network runs."""
    if device not in _DEVICES:
        raise InputError(f"`device` must be one of {', '.join(_DEVICES)}, got {device!r}.")
    reason = None if device == "cpu" else why_no_gpu()
    if device == "cpu" or (device == "auto" and reason is not None):
        return HostDevice()
    if reason is not None:
        raise InputError(f"`device` is 'cuda', but {reason}")
    from edgecv.runtime.torch_cuda import CudaDevice  # noqa: PLC0415  # only where there is a GPU

    return CudaDevice()
