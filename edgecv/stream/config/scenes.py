"""What a configured run watches in each source: lines and zones."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgecv.errors import InputError
from edgecv.stream.config.config import RunConfig
from edgecv.stream.config.locating import Located
from edgecv.stream.scene import SceneConfig
from edgecv.stream.watching import Scenes

if TYPE_CHECKING:
    from edgecv.runtime.model import Model


def scenes_of(config: RunConfig, names: Sequence[str], model: "Model") -> Scenes | None:
    """Return whom and what to watch in each source, None for nobody, see `scene_configs`.

    Raises:
        InputError: if the model finds no objects.

    """
    if config.tracker is None:
        return None
    if model.spec.task not in ("detect", "instance", "keypoints"):
        with Located(config, ("tracking",)):
            raise InputError(
                f"tracking: the model must find objects, got task {model.spec.task}. "
                "Leave out tracking, lines and zones."
            )
    return Scenes(scene_configs(config, names, model))


def scene_configs(
    config: RunConfig, names: Sequence[str], model: "Model"
) -> dict[str, SceneConfig]:
    """Return what is watched in each source, by its name.

    Args:
        config: of the run.
        names: of the sources, in order.
        model: whose classes are meant.

    Raises:
        InputError: if the model does not have a class, or a line or zone forgets too soon.

    """
    tracker = config.tracker
    if tracker is None:
        return {}
    ids = {name: number for number, name in enumerate(model.spec.classes)}
    lines, zones = [], []
    for number, one in enumerate(config.lines):
        with Located(config, ("line", number)):
            lines.append(replace(one.line, class_ids=_ids("line", one.classes, ids)))
            SceneConfig(tracker, lines=(lines[-1],))
    for number, place in enumerate(config.zones):
        with Located(config, ("zone", number)):
            zones.append(replace(place.zone, class_ids=_ids("zone", place.classes, ids)))
            SceneConfig(tracker, zones=(zones[-1],))

    def of(source: str) -> SceneConfig:
        return SceneConfig(
            tracker,
            tuple(
                line
                for line, one in zip(lines, config.lines, strict=True)
                if not one.sources or source in one.sources
            ),
            tuple(
                zone
                for zone, one in zip(zones, config.zones, strict=True)
                if not one.sources or source in one.sources
            ),
        )

    return {name: of(name) for name in names}


def _ids(kind: str, classes: Sequence[str], ids: Mapping[str, int]) -> tuple[int, ...] | None:
    for name in classes:
        if name not in ids:
            near = difflib.get_close_matches(name, ids, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(ids)}."
            raise InputError(f"{kind}: `classes` must be the model's, got {name!r}. {hint}")
    return tuple(ids[name] for name in classes) or None
