"""Which of an operator's implementations does the work."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, get_args

from edgecv.errors import MissingDependencyError
from edgecv.kernels.arguments import check_choice

Implementation = Literal["auto", "cuda", "triton"]
"""That of the place where the arrays are; the CUDA kernels; or OpenAI Triton's, for tensors of
PyTorch on its current stream."""


def check_implementation(function: str, implementation: str) -> None:
    """Refuse an implementation that there is not."""
    check_choice(function, "implementation", implementation, get_args(Implementation))


def in_triton(
    function: str, module: str, name: str, **beyond: tuple[object, object]
) -> Callable[..., Any]:
    """Return the function `name` of `edgecv.kernels.triton.<module>`.

    Args:
        function: who asks, for messages.
        module: where the function is.
        name: its own.
        beyond: options that it does not have: the value that was given and the only one that it
            can do.

    Raises:
        ValueError: if one of those options has another value.
        MissingDependencyError: if PyTorch or Triton is missing.

    """
    for option, (value, only) in beyond.items():
        if value is not only and not (isinstance(value, str) and value == only):
            raise ValueError(
                f"{function}: `{option}` must be {only!r} with `implementation` 'triton', which "
                f"has no other, got {_named(value)}. Leave it out, or choose 'cuda'."
            )
    try:
        found: Callable[..., Any] = getattr(import_module(f"edgecv.kernels.triton.{module}"), name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{function}: `implementation` 'triton' needs PyTorch and Triton. "
            "Install them with `pip install torch triton`."
        ) from error
    return found


def _named(value: object) -> str:
    return repr(value) if isinstance(value, str | int) else type(value).__name__
