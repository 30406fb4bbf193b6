"""A PyTorch network behind the runtime's Session protocol.

Validation during training and the parity check after an export run the very pipeline that a
deployed model runs, with this in the place of the exported file.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecv.models.network import Network
from edgecv.runtime.session import Outputs, no_proposals
from edgecv.spec import ModelSpec


class TorchSession:
    """Raw heads of a network, see `edgecv.runtime.session.Session`."""

    def __init__(self, network: Network, spec: ModelSpec) -> None:
        """Run `network` in evaluation mode; its `training` flag is put back after each call."""
        self.network = network
        self.spec = spec
        self._device = next(network.parameters()).device
        self.backend = f"torch {self._device.type}"

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.Session.run`."""
        if scalars:
            raise ValueError(f"TorchSession.run: raw heads take no scalars, got {scalars}.")
        if proposals is not None:
            raise ValueError("TorchSession.run: raw heads take no proposals, got some.")
        with self.evaluating():
            heads = self.network(self.on_device(batch))
        names = self.network.head_names
        return {name: head.cpu().numpy() for name, head in zip(names, heads, strict=True)}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch to evaluation without gradients, and back."""
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.network.train(was_training)

    def on_device(self, batch: NDArray[Any]) -> Tensor:
        """Return a batch where the network is."""
        return torch.from_numpy(batch).to(self._device)

    def warm_up(self) -> None:
        """Run once on an empty input."""
        batch = np.zeros((1, 3, *self.spec.input.size_hw), np.float32)
        self.run(batch, proposals=no_proposals(self.spec))

    def close(self) -> None:
        """Do nothing: the network belongs to the caller."""
