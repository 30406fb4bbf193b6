"""A session of the entry of a bundle that suits this machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.bundle.choosing import Choice, choose
from edgecv.bundle.machine import this_machine
from edgecv.bundle.reading import Bundle, split_entry
from edgecv.runtime.session import DeferringSession, Outputs, RunOptions, Session, open_graph


class BundleSession:
    """An entry of a bundle, open; `choice` says which and why."""

    def __init__(self, session: Session, choice: Choice, bundle: Path) -> None:
        """Wrap the session of the entry that was chosen; closing this one closes it."""
        self._session = session
        self.spec = session.spec
        self.choice = choice
        self.bundle = bundle
        self.backend = f"{session.backend}, {choice.entry.name} of {bundle.name}"

    @property
    def answers_later(self) -> bool:
        """Whether the outputs may be on their way when `run` returns."""
        return isinstance(self._session, DeferringSession) and self._session.answers_later

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network, see `edgecv.runtime.session.Session.run`."""
        return self._session.run(batch, scalars, proposals)

    def warm_up(self) -> None:
        """Run once on an empty input."""
        self._session.warm_up()

    def close(self) -> None:
        """Give back the backend's memory; twice does no harm."""
        self._session.close()


def open_bundle(path: Path | str, options: RunOptions) -> BundleSession:
    """Open a bundle, see `edgecv.runtime.session.open_session`.

    The entry goes from the archive to the backend through memory: no file is unpacked.

    Raises:
        InputError: if the bundle is damaged, or nothing of it, or not what was asked for, runs
            here.

    """
    location, name = split_entry(path)
    # OpenVINO runs on no GPU that the choice is about, TensorRT on nothing else.
    insisted = {"openvino": "cpu", "onnxruntime-tensorrt": "cuda"}
    device = insisted.get(options.backend, options.device)
    with Bundle(location) as bundle:
        machine = this_machine(with_gpu=device != "cpu" and bundle.manifest.speaks_of_gpus)
        # An engine is never the choice until `this_machine` names the backend that opens it.
        choice = choose(bundle.manifest, machine, device, name)
        content = bundle.read(choice.entry)
        bundle.check_description(choice.entry, content)
    if options.backend != "openvino":
        options = replace(options, device=choice.backend.rpartition(" ")[2])
    session = open_graph(Path(f"{location}#{choice.entry.name}"), options, content)
    return BundleSession(session, choice, location)
