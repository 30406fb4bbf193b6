"""Recipes of engines as TOML files: those that ship with edgecv, and those of the user."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecv.engine_recipe import Recipe
from edgecv.errors import InputError, SpecError
from edgecv.records import from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PARENT = "extends"
_FOLDER = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with edgecv."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read_recipe(recipe: str) -> Recipe:
    """Return a recipe with what it inherits.

    `extends = "NAME"` names a recipe that ships with edgecv, or a file beside the one that says so.
    A key of the file goes before its parent's, and what neither names has its default.

    Args:
        recipe: a name of `recipe_names()`, or a file.

    Raises:
        InputError: if there is no such recipe, it is not TOML, inherits from itself, or has an
            unknown key or an unusable value; the message names the file.

    """
    settings: dict[str, Any] = {}
    result = Recipe()
    for path, own in reversed(_lineage(recipe)):
        settings |= own
        try:
            result = from_plain(Recipe, settings, where="")
        except SpecError as error:
            raise InputError(f"recipe `{path}`: {error} Correct the file.") from error
    return result


def _lineage(recipe: str) -> list[tuple[Path, Mapping[str, Any]]]:
    """Return the file of a recipe and those it inherits from, each with its own settings."""
    found: dict[Path, Mapping[str, Any]] = {}
    wanted: str | None = recipe
    asked, beside = "`--recipe`", Path()
    while wanted is not None:
        path = _locate(wanted, beside, asked)
        if path in found:
            circle = " → ".join(f"`{one.name}`" for one in (*found, path))
            raise InputError(f"recipe `{recipe}` inherits from itself: {circle}. Break the circle.")
        settings = _read(path)
        parent = settings.pop(PARENT, None)
        if parent is not None and not isinstance(parent, str):
            raise InputError(
                f"recipe `{path}`: `{PARENT}` must be a name or a file, got {parent!r}. "
                "Correct the file."
            )
        found[path] = settings
        wanted, beside, asked = parent, path.parent, f"recipe `{path}`: `{PARENT}`"
    return list(found.items())


def _locate(recipe: str, beside: Path, asked: str) -> Path:
    shipped = _FOLDER / f"{recipe}.toml"
    path = shipped if recipe in recipe_names() else (beside / recipe).resolve()
    if not path.is_file():
        raise InputError(
            f"{asked} must be a file or one of {', '.join(recipe_names())}, got `{recipe}`."
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe `{path}` is not TOML: {error}. Correct the file.") from error
