"""The models of a configured run, open."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.closing import Closing
from edgecv.runtime.session import Hint
from edgecv.stream.config.config import ModelConfig, RunConfig, expanded
from edgecv.stream.config.locating import Located
from edgecv.stream.models import assembled, names_of_files
from edgecv.stream.runner import Runner, as_runner
from edgecv.stream.sources.uri import is_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgecv.runtime.model import Model


class OpenModels(Closing):
    """The models of a run, see `open_models`.

    Args:
        first: of which the thresholds and classes are.
        then: those that look at each object, by name.
        runner: what a stream makes of them.

    """

    def __init__(self, first: "Model", then: "Mapping[str, Model]", runner: Runner) -> None:
        """Take them over."""
        self.first, self.then, self.runner = first, then, runner

    def warm_up(self) -> None:
        """Run each once."""
        for model in (self.first, *self.then.values()):
            model.session.warm_up()

    def close(self) -> None:
        """Close all of them."""
        with ExitStack() as stack:
            for model in (self.first, *self.then.values()):
                stack.callback(model.close)


def open_models(config: RunConfig) -> OpenModels:
    """Open the models of a run, with their own thresholds.

    Raises:
        EdgeCVError: if one cannot be used, or cannot be run so; then none stays open.

    """
    one = config.model
    with ExitStack() as stack:
        first = stack.enter_context(_open_first(config))
        with Located(config, ("model", "then")):
            files = names_of_files(one.then)
            then = {
                name: stack.enter_context(_load(one, path, one.hint))
                for name, path in files.items()
            }
        with Located(config, ("model", "then" if then else "tile")):
            runner = as_runner(assembled(first, tile=one.tile, overlap=one.overlap, then=then))
        stack.pop_all()
    return OpenModels(first, then, runner)


def _open_first(config: RunConfig) -> "Model":
    """Open the model that sees the frames."""
    from edgecv.proposals import read_proposals  # noqa: PLC0415

    one = config.model
    with Located(config, ("model", "path")):
        model = _load(one, one.path, one.hint or _hint_for(config))
    if one.proposals is not None:
        try:
            return model.with_proposals(read_proposals(Path(one.proposals)))
        except BaseException:
            model.close()
            raise
    return model


def _hint_for(config: RunConfig) -> Hint:
    """Return what is tuned for: files wait, and of cameras the time of each frame counts."""
    for number, one in enumerate(config.sources):
        with Located(config, ("source", number, "uri")):
            if not is_path(expanded(one.uri)):
                return "latency"
        if one.realtime or one.policy_of(is_live=False).keep != "every":
            return "latency"
    return "throughput"


def _load(one: ModelConfig, path: Path | str, hint: Hint | None) -> "Model":
    from edgecv.runtime.model import load  # noqa: PLC0415  # onnxruntime takes a while to import

    return load(
        path,
        one.device,
        threads=one.threads,
        backend=one.backend,
        precision=one.precision,
        hint=hint,
        cache=None if one.cache is None else Path(one.cache),
    )
