"""The part of a network that may come pretrained: its stages, and how weights get into it."""

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgecv.errors import DownloadError, InputError


class Trunk(nn.Module, ABC):
    """A classifier's layers without its head, under the names of the library they come from.

    Attributes:
        name: as it was asked for.
        trunk: the layers; its state's keys are those of the library's files of weights.

    """

    name: str
    trunk: nn.Module
    _option = "`--backbone`"  # which names it on the command line
    _probed_hw = (64, 64)  # of the input that tells the stages apart

    @abstractmethod
    def published_state(self) -> Mapping[str, Tensor] | None:
        """Return the library's ImageNet weights from its hub, None where nobody publishes any.

        Raises:
            OSError, RuntimeError: if the hub cannot be reached, as the library says it.

        """

    def parts(self) -> tuple[nn.Module, ...]:
        """Return the pieces that the classifier's trunk consists of, each fed the one before."""
        return (self.trunk,)

    def stages(self) -> list[list[nn.Module]]:
        """Return the layers that hold parameters or statistics, by the stride of what they give.

        The first list is the shallowest stage, stride 2 for the usual trunk; each is in the order
        of computation. A layer on pooled features, such as that of a squeeze-and-excitation block,
        belongs to the stage in which it is computed.
        """
        modules = [module for part in self.parts() for module in part.modules()]
        layers = [layer for layer in modules if has_state(layer)]
        height, width = self._probed_hw
        stages: dict[int, list[nn.Module]] = {}
        current = 1

        def note(layer: nn.Module, _: Any, output: Any) -> None:  # noqa: ANN401  # torch's hook
            nonlocal current
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:  # noqa: PLR2004  # a map
                current = max(current, width // output.shape[-1])
            if has_state(layer):
                stages.setdefault(current, []).append(layer)

        # Forward hooks of layers without parameters see a pooling that opens a stage.
        handles = [layer.register_forward_hook(note) for layer in modules]
        modes = {module: module.training for module in modules}  # some may be frozen
        device = next(self.trunk.parameters()).device
        try:
            with torch.inference_mode():
                x = torch.zeros(1, 3, height, width, device=device)
                for part in self.parts():
                    x = _deepest(part.eval()(x))
        finally:
            for module, mode in modes.items():
                module.training = mode
            for handle in handles:
                handle.remove()
        ordered = [stages[stride] for stride in sorted(stages)]
        met = {id(layer) for stage in ordered for layer in stage}
        ordered[0].extend(layer for layer in layers if id(layer) not in met)
        return ordered

    def load(self, state: Mapping[str, Tensor], *, origin: str) -> None:
        """Load a classifier's weights under its library's names; those of its head are ignored.

        Args:
            state: tensors by name, of any floating type.
            origin: names them in errors.

        Raises:
            InputError: if a tensor is missing or of another shape; nothing has changed then.

        """
        # Each with the versions of its modules, which some ask for.
        wanted = [part.state_dict() for part in self.parts()]
        for own in wanted:
            for key, tensor in list(own.items()):
                found = state.get(key)
                if found is None and key.endswith("num_batches_tracked"):
                    found = tensor
                if found is None or found.shape != tensor.shape:
                    shape = None if found is None else tuple(found.shape)
                    raise InputError(
                        f"`{origin}`: `{key}` must have shape {tuple(tensor.shape)}, got {shape}. "
                        f"Give weights of {self.name}."
                    )
                own[key] = found.to(tensor.dtype)
        for part, own in zip(self.parts(), wanted, strict=True):
            part.load_state_dict(own)

    def imagenet_state(self) -> dict[str, Tensor]:
        """Return the library's ImageNet weights, downloaded once, for `load`.

        Raises:
            DownloadError: if the hub cannot be reached.
            InputError: if nobody publishes any.

        """
        try:
            # The hub announces a download on standard output, whatever `progress` says.
            with contextlib.redirect_stdout(io.StringIO()):
                state = self.published_state()
        except (OSError, RuntimeError) as error:
            raise DownloadError(
                f"the ImageNet weights of {self.name} could not be downloaded: {error}. "
                "Give a file with `--weights FILE`, or `--weights none` to start from random "
                "weights."
            ) from error
        if state is None:
            raise InputError(
                f"there are no ImageNet weights of {self.name}. Start from random weights with "
                f"`--weights none`, or choose another {self._option}."
            )
        return dict(state)


def has_state(layer: nn.Module) -> bool:
    """Tell whether a layer has parameters or statistics of its own."""
    own = (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
    return bool(own)


def _deepest(found: Any) -> Tensor:  # noqa: ANN401  # whatever a trunk returns
    """Return the only tensor, or the last map."""
    if isinstance(found, Tensor):
        return found
    maps: list[Tensor] = list(found.values() if isinstance(found, dict) else found)
    return maps[-1]
