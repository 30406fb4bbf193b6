"""Pipelines of the library albumentations: found in a file, kept as JSON, built again from it."""

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgecv.data.augment.recipe import Albumentations
from edgecv.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import albumentations

_SERIALISED = {".json", ".yaml", ".yml"}


def albumentations_step(pipeline: "albumentations.Compose") -> Albumentations:
    """Return the entry of a recipe that runs `pipeline`.

    Raises:
        InputError: if it holds what albumentations cannot serialise, such as a bare function.

    """
    return Albumentations("a Python object", _serialised(pipeline, "the pipeline"))


def read_definition(file: str, folder: Path) -> str:
    """Return the pipeline that `file` names, as JSON.

    Args:
        file: see `edgecv.data.augment.recipe.Albumentations`.
        folder: what a relative path starts from.

    Raises:
        MissingDependencyError: if albumentations is not installed.
        InputError: if there is no such file or attribute, or it is no pipeline.

    """
    library = require_albumentations()
    path = folder / Path(file).expanduser()
    if path.suffix in _SERIALISED:
        data_format = "json" if path.suffix == ".json" else "yaml"
        try:
            pipeline = library.load(path, data_format=data_format)
        except Exception as error:  # whatever a foreign file leads the library to
            raise InputError(
                f"albumentations: `{path}` must be a pipeline of `albumentations.save`, got: "
                f"{_first_line(error)}. Save it again with the installed version "
                f"{library.__version__}."
            ) from error
        return _serialised(pipeline, f"`{path}`")
    module_name, colon, attribute = file.rpartition(":")
    if not colon or not attribute.isidentifier():
        raise InputError(
            f"albumentations: `file` must end in {', '.join(sorted(_SERIALISED))}, or be "
            f"`module:attribute` or `file.py:attribute`, got `{file}`."
        )
    pipeline = getattr(_imported(module_name, folder), attribute, None)
    if not isinstance(pipeline, library.Compose):
        raise InputError(
            f"albumentations: `{file}` must be an albumentations.Compose, got "
            f"{type(pipeline).__name__}. Name the attribute that holds the pipeline."
        )
    return _serialised(pipeline, f"`{file}`")


def require_albumentations() -> Any:  # noqa: ANN401  # a module that may be absent
    """Return the module albumentations.

    Raises:
        MissingDependencyError: if it is not installed, or too old to be seeded.

    """
    try:
        library = importlib.import_module("albumentations")
    except ImportError as error:
        raise MissingDependencyError(
            "the recipe runs an albumentations pipeline, and albumentations is not installed "
            f"({_first_line(error)}). Install it with `pip install albumentations`."
        ) from error
    if not hasattr(library.Compose, "set_random_seed"):
        raise MissingDependencyError(
            f"albumentations must be 1.4.19 or newer to repeat by a seed, got "
            f"{library.__version__}. Update it with `pip install --upgrade albumentations`."
        )
    return library


def _imported(name: str, folder: Path) -> ModuleType:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        path = folder / Path(name).expanduser()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"`{path}` is no Python file")  # noqa: TRY301  # one message below
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file does
        raise InputError(
            f"albumentations: `{name}` must be a Python module that can be imported, got "
            f"{type(error).__name__}: {_first_line(error)}. Check the name, or the file."
        ) from error
    return module


def _serialised(pipeline: Any, subject: str) -> str:  # noqa: ANN401  # of a module that may be absent
    try:
        return json.dumps(require_albumentations().to_dict(pipeline), sort_keys=True)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"albumentations: {subject} must be serialisable, so that a run can be resumed, got: "
            f"{_first_line(error)}. Leave out transforms made of functions."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
