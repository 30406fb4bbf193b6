"""Recipe files: those that edgecv ships and the user's own, in TOML, read strictly."""

import difflib
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from edgecv.data.augment.albumentations_files import read_definition
from edgecv.data.augment.recipe import TRANSFORMS, Albumentations, Recipe, Transform
from edgecv.errors import InputError, SpecError
from edgecv.records import from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = ("classify", "default", "none", "strong")

_KEYS = ("mixing_until", "transforms")


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Return the recipe of that name, or the one in that TOML file.

    A file holds a list `[[transforms]]`, each with its `name` and the parameters of the class of
    `edgecv.data.augment.recipe` that carries it, and optionally `mixing_until`.

    Args:
        name_or_path: `classify`, `default`, `none`, `strong`, or a file ending in `.toml`.

    Raises:
        InputError: if there is no such recipe, or the file says what is not understood; the
            message names the file, the key and what is known.

    """
    text = str(name_or_path)
    if text in RECIPES:
        shipped = resources.files("edgecv.data") / "recipes" / f"{text}.toml"
        return parse_recipe(shipped.read_text(encoding="utf-8"), name=text, path=Path(str(shipped)))
    path = Path(text).expanduser()
    if path.suffix != ".toml":
        raise InputError(
            f"read_recipe: the recipe must be one of {', '.join(RECIPES)}, or a file ending in "
            f".toml, got `{text}`. {_suggestion(text, RECIPES)}"
        )
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            f"read_recipe: `{path}` must be a readable text file, got: {reason}. Check the path."
        ) from error
    return parse_recipe(content, name=path.stem, path=path)


def parse_recipe(text: str, *, name: str, path: Path) -> Recipe:
    """Return the recipe in `text`.

    Args:
        text: TOML.
        name: of the recipe.
        path: the file, for messages and for what the recipe names beside itself.

    Raises:
        InputError: see `read_recipe`.

    """
    try:
        return _recipe(tomllib.loads(text), name, path.parent)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"`{path}` must be TOML, got: {error}. Mend the file.") from error
    except InputError as error:
        raise type(error)(f"`{path}`: {error}") from error


def _recipe(plain: dict[str, Any], name: str, folder: Path) -> Recipe:
    for key in plain:
        if key not in _KEYS:
            raise InputError(f"unknown key `{key}`. {_suggestion(key, _KEYS)}")
    entries = plain.get("transforms", [])
    if not isinstance(entries, list):
        raise InputError("`transforms` must be a list. Write `[[transforms]]` above each.")
    transforms = tuple(
        _transform(entry, f"transforms[{index}]", folder) for index, entry in enumerate(entries)
    )
    until = plain.get("mixing_until", 1.0)
    if type(until) not in {int, float}:
        raise InputError(f"`mixing_until` must be a number, got {until!r}.")
    return Recipe(name, transforms, float(until))


def _transform(entry: Any, where: str, folder: Path) -> Transform:  # noqa: ANN401  # parsed TOML
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or name not in TRANSFORMS:
        raise InputError(
            f"`{where}.name` must be one of {', '.join(TRANSFORMS)}, got {name!r}. "
            f"{_suggestion(str(name), tuple(TRANSFORMS))}"
        )
    parameters = {key: value for key, value in entry.items() if key != "name"}
    kind = TRANSFORMS[name]
    if kind is Albumentations and isinstance(parameters.get("file"), str):
        parameters["definition"] = read_definition(parameters["file"], folder)
    try:
        transform: Transform = from_plain(kind, parameters, where=where)
    except SpecError:
        raise
    except InputError as error:
        raise InputError(f"`{where}`: {error}") from error
    return transform


def _suggestion(text: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    return f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(known)}."
