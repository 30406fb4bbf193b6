"""The CUDA module where there is no GPU: it imports, says what it is, and fails with one line."""

from collections.abc import Callable
from typing import Any

from edgecv.errors import DeviceError
from edgecv.kernels import box_iou
from edgecv.kernels.cuda.native import cuda, why_not


class OnGpu:
    """An array that claims to be in a GPU's memory."""

    __cuda_array_interface__ = {  # noqa: RUF012  # as every library has it
        "shape": (2, 4),
        "typestr": "<f4",
        "data": (1 << 40, False),
        "version": 3,
    }


def refusal(function: Callable[..., Any], *arguments: object) -> str:
    """Return the message of the error that a call must raise."""
    try:
        function(*arguments)
    except DeviceError as error:
        message = str(error)
        if "\n" in message or not message.endswith("."):
            raise AssertionError(message) from error
        return message
    raise AssertionError(f"{function.__name__} works: is there a GPU?")


if __name__ == "__main__":
    reason = why_not()
    if reason is None:
        print("cuda: there is a GPU here: `.ci/gpu` is the check")
    else:
        print(f"cuda: _cuda of {cuda().cuda_version} for {cuda().architectures}: {reason}")
        print(f"cuda: box_iou on a GPU's array: {refusal(box_iou, OnGpu(), OnGpu())}")
