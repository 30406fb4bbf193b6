"""Runs as TOML files: recipes that ship with edgecv, files of the user, and what a run was."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecv.data.augment.files import read_recipe as read_augmentation
from edgecv.errors import InputError
from edgecv.files import write_text
from edgecv.models import has_imagenet, model_options, model_task
from edgecv.models.classifier import usual_input
from edgecv.options import read_options
from edgecv.records import from_plain, to_plain
from edgecv.train.config import TrainConfig
from edgecv.train.fine_tuning import fine_tuning_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_OF_TASK = {"size_hw", "mean", "std", "fit", "augment"}  # settings whose default depends on it
_FOLDER = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with edgecv."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read_recipe(recipe: str) -> dict[str, Any]:
    """Return the settings of a recipe as the file has them.

    Args:
        recipe: a name of `recipe_names()`, or a file.

    Raises:
        InputError: if there is no such recipe, or it is not TOML.

    """
    path = _FOLDER / f"{recipe}.toml" if recipe in recipe_names() else Path(recipe)
    if not path.is_file():
        raise InputError(
            f"`--recipe` must be a file or one of {', '.join(recipe_names())}, got `{recipe}`."
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` is not TOML: {error}. Correct the file.") from error


def configure(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of a recipe with changes; what neither names has its default.

    A classifier's size, normalisation, fit and augmentation are those that are usual for it. A
    backbone of which no weights are published starts from random ones. One without pretrained
    weights learns at the full rate unless a rate is given: what is pretrained moves less than what
    is random. A fine-tuning with fake quantisation has those of the checkpoint in `weights`, see
    `edgecv.train.fine_tuning`.

    Args:
        settings: as `read_recipe` returns them, or none; `augment` may be the name or the file of
            a recipe of augmentation.
        changes: by the same keys, such as options of the command line; `options` of the model
            change those of the recipe one by one.

    Raises:
        InputError: if a key is unknown or a value unusable, or model or data are missing.

    """
    merged = {**settings, **changes}
    if merged.get("fake_quantise") is not None:
        settings = fine_tuning_settings(merged.get("weights")) | {**settings}
        merged = {**settings, **changes}
    if "model" not in merged or "data" not in merged:
        raise InputError(
            "train needs a model and `--data`, such as "
            "`edgecv train ssd_mobilenetv2 --data bccd`, or a `--recipe` with both."
        )
    model = str(merged["model"])
    options = [given.get("options", {}) for given in (settings, changes)]
    if any(options) and all(isinstance(given, Mapping) for given in options):
        merged["options"] = read_options(model, model_options(model), options[0] | options[1])
    if not merged.keys() >= _OF_TASK:
        merged = _own_defaults(model) | merged
    if isinstance(merged.get("augment"), str):
        merged["augment"] = read_augmentation(merged["augment"])
    if "weights" not in merged and not has_imagenet(model, merged.get("backbone")):
        merged["weights"] = "none"
    if merged.get("weights") == "none":
        merged.setdefault("backbone_rate", 1.0)
    return from_plain(TrainConfig, to_plain(merged), where="")


def _own_defaults(model: str) -> dict[str, Any]:
    """Return the settings in whose place `TrainConfig` has a detector's."""
    if model_task(model) != "classify":
        return {}
    return {**vars(usual_input(model)), "fit": "centre-crop", "augment": "classify"}


def write_config(path: Path, config: TrainConfig) -> None:
    """Write all settings of a run as a recipe that repeats it.

    Raises:
        OutputError: if the file cannot be written.

    """
    settings = {key: value for key, value in to_plain(config).items() if value is not None}
    lines = (f"{key} = {_to_toml(value)}\n" for key, value in settings.items())
    write_text(path, "".join(lines))


def _to_toml(value: Any) -> str:  # noqa: ANN401  # any plain value
    """Return a plain value as TOML, which JSON is but for objects and one character."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_to_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_to_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
