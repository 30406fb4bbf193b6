"""Checks of the tensors that the operators take, without a look at what is in them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from triton import knobs

from edgecv.kernels.arguments import Shape, check_shape


def check_device(function: str, name: str, tensor: Tensor) -> None:
    """Refuse what a kernel cannot read: an array of another library, a tensor on the host.

    Raises:
        TypeError: for another type.
        ValueError: for a tensor that is not on a CUDA device, unless Triton interprets.

    """
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{function}: `{name}` must be a torch tensor, got {type(tensor).__name__}. "
            f"Convert it with `torch.as_tensor({name}, device='cuda')`."
        )
    if not (tensor.is_cuda or (knobs.runtime.interpret and tensor.device.type == "cpu")):
        raise ValueError(
            f"{function}: `{name}` must be on a CUDA device, got {tensor.device}. "
            f"Move it with `{name}.cuda()`, or choose another implementation."
        )


def check_tensor(
    function: str,
    name: str,
    tensor: Tensor,
    dtypes: Sequence[torch.dtype],
    shape: Shape,
    device: torch.device | None = None,
) -> None:
    """Refuse all but a tensor of one of `dtypes`; a string in `shape` stands for any length.

    Raises:
        TypeError: for another type or dtype; nothing is converted silently.
        ValueError: for another shape, or another device than `device`.

    """
    check_device(function, name, tensor)
    if device is not None and tensor.device != device:
        raise ValueError(
            f"{function}: `{name}` must be on the device of the other tensors, {device}, "
            f"got {tensor.device}. Move it with `{name}.to('{device}')`."
        )
    if tensor.dtype not in dtypes:
        expected = " or ".join(dtype_name(dtype) for dtype in dtypes)
        raise TypeError(
            f"{function}: `{name}` must be {expected}, got {dtype_name(tensor.dtype)}. "
            f"Convert it with `{name}.to({dtypes[0]})`."
        )
    check_shape(function, name, tuple(tensor.shape), shape)


def output(
    function: str,
    name: str,
    out: Tensor | None,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    device: torch.device,
) -> Tensor:
    """Return `out`, checked, or a new tensor.

    Raises:
        TypeError: for another dtype.
        ValueError: for another shape or device, or a view that is not contiguous.

    """
    if out is None:
        return torch.empty(shape, dtype=dtype, device=device)
    check_tensor(function, name, out, (dtype,), shape, device)
    if not out.is_contiguous():
        raise ValueError(
            f"{function}: `{name}` must be contiguous, got a view that is not. "
            f"Allocate it with `torch.empty({shape}, dtype={dtype}, device='{device}')`."
        )
    return out


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name that NumPy has for it, too."""
    return str(dtype).removeprefix("torch.")
