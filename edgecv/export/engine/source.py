"""What a build starts from, worked out without TensorRT: graph, shapes and precision of a file."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgecv.engine_recipe import EnginePrecision, Recipe
from edgecv.errors import InputError
from edgecv.export.engine.audit import file_precision
from edgecv.export.engine.recipe_files import read_recipe
from edgecv.export.engine.shapes import InputShapes, profile_shapes
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.graphs.target import for_tensorrt
from edgecv.export.inspection.summary import Layer, summarise
from edgecv.export.operators.edge_nms import DOMAIN
from edgecv.runtime.plugin_file import find_plugins
from edgecv.spec import ModelSpec


@dataclass(frozen=True)
class BuildJob:
    """One engine to build.

    Args:
        model: an ONNX file, described or not.
        output: where the engine goes; its record goes beside it.
        recipe: a name or a file, see `edgecv.export.engine.recipe_files`.
        plugins: the plugin library, None to look for it where the model needs one.
        required: what convolutions and matrix products must compute in, None for no demand.
        with_times: time each layer.

    """

    model: Path
    output: Path
    recipe: str
    plugins: Path | None = None
    required: EnginePrecision | None = None
    with_times: bool = False

    def __post_init__(self) -> None:
        """Refuse an output that would replace the model."""
        if self.output.suffix.lower() in (".onnx", ".json"):
            raise InputError(
                f"`--output` must be an engine file, got `{self.output}`. "
                f"Name it `{self.output.stem}.engine`."
            )

    @property
    def command(self) -> str:
        """The command line that builds it again."""
        words = ["edgecv", "build", self.model, "-o", self.output, "--recipe", self.recipe]
        words += [] if self.plugins is None else ["--plugins", self.plugins]
        words += [] if self.required is None else ["--require-precision", self.required]
        return shlex.join(map(str, words))


@dataclass(frozen=True)
class BuildSource:
    """A file ready for TensorRT.

    Args:
        graph: as the parser gets it, every node named.
        is_rewritten: whether that is another graph than the file's.
        recipe: with what it inherits.
        profiles: the shapes of the inputs with free sides.
        plugins: the library that the graph needs, None if it needs none.
        layers: of the file, for the audit.
        spec: the description, None where there is none.
        notes: what the user should know.

    """

    graph: onnx.ModelProto
    is_rewritten: bool
    recipe: Recipe
    profiles: tuple[InputShapes, ...]
    plugins: Path | None
    layers: Sequence[Layer]
    spec: ModelSpec | None
    notes: tuple[str, ...]


def read_source(job: BuildJob) -> BuildSource:
    """Return what a job starts from.

    Raises:
        InputError: if the file or the recipe cannot be used, they contradict each other, or the
            plugin library is missing.

    """
    recipe = read_recipe(job.recipe)
    original = read_onnx(job.model)
    graph = for_tensorrt(original)
    for node in graph.graph.node:  # errors and the engine's layers bear these names
        node.name = node.name or next(name for name in node.output if name)
    summary = summarise(graph, job.model)
    _check_precision(job, recipe, file_precision(summary.layers))
    profiles = profile_shapes(graph, recipe, summary.spec)
    needs_plugins = any(node.domain == DOMAIN for node in graph.graph.node)
    return BuildSource(
        graph,
        graph.SerializeToString() != original.SerializeToString(),
        recipe,
        profiles,
        find_plugins(job.plugins) if needs_plugins or job.plugins is not None else None,
        summary.layers,
        summary.spec,
        tuple(_notes(recipe, profiles)),
    )


def _check_precision(job: BuildJob, recipe: Recipe, found: str) -> None:
    """Refuse a file that computes otherwise than the recipe says."""
    for asked, wanted in (
        (f"recipe `{job.recipe}`: `precision`", recipe.precision),
        ("`--require-precision`", job.required),
    ):
        if wanted is None or not found or wanted == found:
            continue
        name = "int8-tensorrt" if wanted == "int8" else wanted
        raise InputError(
            f"{asked} is {wanted}, and most of `{job.model}` computes in {found}: the file decides "
            f"an engine's types. Export it with `edgecv export --precision {name}`, or choose "
            "another recipe."
        )


def _notes(recipe: Recipe, profiles: Sequence[InputShapes]) -> list[str]:
    asked = {profile.batch for profile in recipe.profiles}
    if not profiles and asked != {(1, 1, 1)}:
        note = "the file has one shape only, and the recipe's batches have no effect"
        return [f"{note}. `edgecv export --batch 0` frees the batch"]
    return []
