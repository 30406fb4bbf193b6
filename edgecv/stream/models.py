"""Several models on one stream, and what a command line asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edgecv.errors import InputError
from edgecv.results import ModelResults, Result
from edgecv.stream.crops import Cascade, OnCrops
from edgecv.stream.ledger import PIPELINE_STAGES
from edgecv.stream.runner import OF_OBJECTS, Look, Runner, Seen, Step, as_runner, run_once
from edgecv.stream.sources import Frame
from edgecv.stream.tiling import Tiled

if TYPE_CHECKING:
    from edgecv.runtime.model import Model


class Models:
    """Several models side by side: each frame is decoded once and seen by all of them.

    Their results are `ModelResults`. The networks run one after the other, each on batches as it
    takes them, and each has its own time in the ledger. In `spec`, that of the first model, the
    `classes` are those of all: `people/person`, `scene/beach`.

    Args:
        models: by name, at least one: models, `Tiled` ones, `RegionOfInterest` or `Cascade`.

    Raises:
        InputError: if there is none, or a name or a model cannot be used.

    Example:
        >>> for result in edgecv.stream("street.mp4", {"people": detector, "scene": classifier}):
        ...     print(len(result.results["people"]), result.results["scene"].class_id)

    """

    def __init__(self, models: "Mapping[str, Model | Runner]") -> None:
        """Wrap open models."""
        if not models:
            raise InputError("models: there is none. Name at least one.")
        self.runners = {name: as_runner(model) for name, model in models.items()}
        for name, runner in self.runners.items():
            if not name or name.split(" ")[0] in PIPELINE_STAGES:
                raise InputError(
                    f"models: a model must have a name that no stage has, got {name!r}. Taken are "
                    f"{', '.join(PIPELINE_STAGES)}."
                )
            if len(runner.looks) > 1:
                raise InputError(
                    f"models: `{name}` must be a single one, got several. Name them all at once."
                )
        self.classes = {name: runner.spec.classes for name, runner in self.runners.items()}
        together = [f"{name}/{each}" for name, classes in self.classes.items() for each in classes]
        first = next(iter(self.runners.values()))
        self.spec = replace(first.spec, classes=tuple(together))
        self.looks = tuple(
            Look(look.model, look.regions, f"{look.stage} {name}")
            for name, runner in self.runners.items()
            for look in runner.looks
        )
        self.steps = tuple(
            Step(f"{name} {step.name}", partial(_on_result_of, name, step))
            for name, runner in self.runners.items()
            for step in runner.steps
        )

    def finish(self, seen: Sequence[Seen]) -> ModelResults:
        """Return the result of each model."""
        results = {
            name: runner.finish((one,))
            for (name, runner), one in zip(self.runners.items(), seen, strict=True)
        }
        return ModelResults(results, self.classes)

    def with_thresholds(self, **thresholds: Any) -> "Models":  # noqa: ANN401  # see `Runner`
        """Return the same with other thresholds of all models that find objects.

        Raises:
            InputError: if there is no such model.

        """
        have = [name for name, each in self.runners.items() if each.spec.task in OF_OBJECTS]
        changed = {
            name: runner.with_thresholds(**thresholds) if name in have or not have else runner
            for name, runner in self.runners.items()
        }
        return Models(changed)

    def __call__(self, frame: Frame) -> ModelResults:
        """Return what each model tells of a frame."""
        return cast("ModelResults", run_once(self, frame))


def assembled(
    model: "Model | Runner",
    *,
    tile: int | None = None,
    overlap: float | None = None,
    then: "Mapping[str, Model | OnCrops] | None" = None,
) -> "Model | Runner":
    """Return what a stream runs, from what a command line asks for.

    Args:
        model: the first model.
        tile: side of a tile in pixels, see `Tiled`; None for none.
        overlap: of tiles, None for `Tiled`'s own.
        then: models that look at each object found, by name, see `Cascade`.

    Raises:
        InputError: if an option cannot be used, or the model cannot be run so.

    """
    if overlap is not None and tile is None:
        raise InputError(f"`overlap` is that of tiles, got {overlap} without any. Name `tile` too.")
    if tile is not None:
        options: dict[str, Any] = {} if overlap is None else {"overlap": overlap}
        model = Tiled(cast("Model", model), tile_hw=(tile, tile), **options)
    return Cascade(model, then) if then else model


def parse_roi(text: str) -> tuple[float, float, float, float]:
    """Return a region of interest: `100,50,900,700` in pixels, `0.5,0,1,1` in parts of the sides.

    It is relative if no value is greater than 1: a region of a single pixel shows nothing.

    Raises:
        InputError: if it is not four numbers.

    """
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"`roi` must be four numbers, x1,y1,x2,y2, got `{text}`. Write 100,50,900,700 in "
            "pixels, or 0.5,0,1,1 in parts of the sides."
        ) from None
    return x1, y1, x2, y2


def names_of_files(paths: Sequence[Path | str]) -> dict[str, Path | str]:
    """Return model files by the names that their results get: that of the file without ending.

    Raises:
        InputError: if two have one name.

    """
    named: dict[str, Path | str] = {}
    for path in paths:
        name = Path(path).stem
        if name in named:
            raise InputError(f"`{named[name]}` and `{path}` would both be `{name}`. Rename one.")
        named[name] = path
    return named


def _on_result_of(name: str, step: Step, frame: Frame, result: Result) -> Result:
    """Complete the result of one of several models."""
    if not isinstance(result, ModelResults):
        return result
    own = step.work(frame, result.results[name])
    return replace(result, results={**result.results, name: own})
