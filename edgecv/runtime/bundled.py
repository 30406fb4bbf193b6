"""A session of the entry of a bundle that suits this machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecv.bundle.choosing import TENSORRT, Choice, choose
from edgecv.bundle.machine import this_machine
from edgecv.bundle.manifest import EngineEntry
from edgecv.bundle.reading import Bundle, split_entry
from edgecv.errors import InputError
from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels
from edgecv.placement import Placement
from edgecv.runtime.session import (
    Batch,
    DeferringSession,
    FrameSession,
    Outputs,
    RunOptions,
    Session,
    open_graph,
)


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

    @property
    def num_requests(self) -> int:
        """How many batches it works on at the same time."""
        return self._session.num_requests if isinstance(self._session, DeferringSession) else 1

    def run(
        self,
        batch: Batch,
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


class BundleFrameSession(BundleSession):
    """An engine of a bundle: it fits frames itself."""

    def __init__(self, session: FrameSession, choice: Choice, bundle: Path) -> None:
        """Wrap the session of the engine that was chosen; closing this one closes it."""
        super().__init__(session, choice, bundle)
        self._engine = session

    @property
    def frame_formats(self) -> tuple[FrameFormat, ...]:
        """What `stage` takes."""
        return self._engine.frame_formats

    def stage(
        self,
        frame: Pixels,
        *,
        format: FrameFormat,  # noqa: A002
        matrix: ColourMatrix,
        range: ColourRange,  # noqa: A002
    ) -> tuple[Batch, Placement]:
        """Start the upload of a frame, see `edgecv.runtime.session.FrameSession.stage`."""
        return self._engine.stage(frame, format=format, matrix=matrix, range=range)


def open_bundle(path: Path | str, options: RunOptions) -> BundleSession:
    """Open a bundle, see `edgecv.runtime.session.open_session`.

    The entry goes from the archive to the backend through memory: no file is unpacked.

    Raises:
        InputError: if the bundle is damaged, or nothing of it, or not what was asked for, runs
            here.

    """
    location, name = split_entry(path)
    # OpenVINO runs on no GPU that the choice is about, TensorRT on nothing else.
    insisted = {"openvino": "cpu", "onnxruntime-tensorrt": "cuda", "tensorrt": "cuda"}
    device = insisted.get(options.backend, options.device)
    with Bundle(location) as bundle:
        machine = this_machine(with_gpu=device != "cpu" and bundle.manifest.speaks_of_gpus)
        if options.backend not in ("auto", TENSORRT):  # no engine then, however well it fits
            others = tuple(each for each in machine.backends if each != TENSORRT)
            machine = replace(machine, backends=others)
        choice = choose(bundle.manifest, machine, device, name)
        content = bundle.read(choice.entry)
        bundle.check_description(choice.entry, content)
        made = replace(bundle.manifest.spec.provenance, precision=choice.entry.precision)
        spec = replace(bundle.manifest.spec, provenance=made)
    if isinstance(choice.entry, EngineEntry):
        from edgecv.runtime.tensorrt import open_plan  # noqa: PLC0415  # only where there is a GPU

        engine = open_plan(f"{location}#{choice.entry.name}", content, spec)
        return BundleFrameSession(engine, choice, location)
    if options.backend == TENSORRT:
        reasons = "; ".join(f"{each}: {why}" for each, why in choice.passed_over.items())
        raise InputError(
            f"`{location}` holds no engine for this machine ({reasons or 'it holds none'}). Take "
            "an ONNX file out with `edgecv bundle extract`, and build one with `edgecv build`."
        )
    if options.backend != "openvino":
        options = replace(options, device=choice.backend.rpartition(" ")[2])
    session = open_graph(Path(f"{location}#{choice.entry.name}"), options, content)
    return BundleSession(session, choice, location)
