"""The PyTorch backend: a trained checkpoint, on the processor or as a CUDA graph on a GPU."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from edgecv.errors import InputError
from edgecv.frame_formats import FRAME_FORMATS
from edgecv.kernels.cuda.frames import GPU_FORMATS
from edgecv.kernels.cuda.native import why_not
from edgecv.models import Network
from edgecv.models.fused import Fused, fused
from edgecv.models.operators import on_kernels
from edgecv.runtime.device import Device, HostDevice
from edgecv.runtime.device_session import DeviceSession, Program
from edgecv.runtime.session import MAX_BATCH, TorchPrecision, input_shape
from edgecv.runtime.transfers import OutputLayout
from edgecv.spec import ModelSpec
from edgecv.train.checkpoint import load_trained

_DEVICES = ("auto", "cpu", "cuda")


class TorchSession(DeviceSession):
    """A network with what follows it, see `edgecv.runtime.session.FrameSession`."""

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
        is_host = isinstance(device, HostDevice)
        defaults = {name: getattr(spec.postprocess, name) for name in module.scalar_names}
        # Tensor cores read channels last; in float32 there is nothing to gain.
        self._is_channels_last = precision == "fp16" and not is_host
        super().__init__(
            spec,
            device,
            defaults,
            frame_formats=FRAME_FORMATS if is_host else GPU_FORMATS,
            layout="hwc" if self._is_channels_last else "chw",
        )
        self.max_batch = MAX_BATCH
        self._module: Fused | None = module
        self._precision = precision
        self._kind = "cpu" if is_host else "cuda"

    @property
    def backend(self) -> str:
        """Backend, device, precision, and whether there is no graph."""
        told = f"torch {self._device.name}"
        if self._precision != "fp32":
            told += f" {self._precision}"
        return f"{told} without a CUDA graph" if self._is_launched_singly else told

    def _release(self) -> None:
        self._module = None

    def _built(self, batch_size: int) -> Program:
        """Return the network for a number of images; a GPU is idle afterwards."""
        device, module = self._device, cast("Fused", self._module)
        channels, height, width = input_shape(self.spec.input)
        shape = (batch_size, channels, height, width)
        if self._is_channels_last:
            shape = (batch_size, height, width, channels)
        dtype = np.float16 if self._precision == "fp16" else np.float32
        images = self._zeros(shape, dtype, "the network's images")
        wanted, proposals = self.spec.proposals, None
        if wanted is not None:
            regions = (batch_size, wanted.count, 4)
            proposals = self._zeros(regions, np.float32, "the network's regions")
        arguments = [torch.as_tensor(images)]
        if self._is_channels_last:
            arguments[0] = arguments[0].permute(0, 3, 1, 2)
        arguments += [torch.as_tensor(self._scalars[name]) for name in module.scalar_names]
        arguments += [] if proposals is None else [torch.as_tensor(proposals)]
        found: list[tuple[Tensor, ...]] = []
        device.launch(lambda: found.append(self._call(module, arguments)), self._compute)
        device.synchronize()
        outputs = OutputLayout.of(
            module.output_names,
            [tuple(value.shape) for value in found[0]],
            [np.dtype(str(value.dtype).removeprefix("torch.")) for value in found[0]],
        )
        packed = device.buffer(outputs.num_bytes, "the network's outputs")
        target = torch.as_tensor(packed)

        def work() -> None:
            values = self._call(module, arguments)
            rows = [value.contiguous().view(-1).view(torch.uint8) for value in values]
            torch.cat(rows, out=target)

        return Program(images, proposals, packed, outputs, self._captured(work))

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
