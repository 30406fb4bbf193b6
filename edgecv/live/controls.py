"""The sliders: which thresholds a running model has, and their change from the next batch on."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgecv.errors import InputError
from edgecv.output_spec import DetrOutput, ObjectsOutput, RowsOutput
from edgecv.stream.runner import OF_OBJECTS, models_of
from edgecv.stream.settings import Settings

NAMES = ("score", "iou")

_SELECTED = (DetrOutput, RowsOutput, ObjectsOutput)
_UNUSED_IOU = "this model keeps one box an object by itself: no overlap is compared."


@dataclass(frozen=True)
class Control:
    """One threshold.

    Args:
        value: that applies, in [0, 1]; None where it is unknown, inside a graph.
        fixed: why it cannot be changed, empty if it can.

    """

    value: float | None
    fixed: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def controls(settings: Settings) -> dict[str, Control]:
    """Return the thresholds by name; empty of a model that has none, such as a classifier."""
    finding = [
        model for model in models_of(settings.current.runner) if model.spec.task in OF_OBJECTS
    ]
    if not finding or not all(hasattr(model, "with_thresholds") for model in finding):
        return {}
    fixed, values = settings.fixed(), settings.effective
    if all(isinstance(model.spec.output, _SELECTED) for model in finding):
        fixed["iou"] = _UNUSED_IOU
    return {
        name: Control(None, fixed[name]) if name in fixed else Control(values[name])
        for name in NAMES
    }


def adjust(settings: Settings, changes: Mapping[str, float]) -> dict[str, Control]:
    """Change thresholds of a running stream; no frame is lost, none waits.

    Args:
        settings: of the stream.
        changes: by name, in [0, 1].

    Returns:
        The thresholds that apply now.

    Raises:
        InputError: if one cannot be changed; then none is.

    """
    known = controls(settings)
    for name in changes:
        if name not in known:
            raise InputError(f"a model of task {settings.current.runner.spec.task} has no {name}.")
        if known[name].fixed:
            raise InputError(known[name].fixed)
    settings.adjust(**changes)
    return controls(settings)


def parse_changes(body: bytes) -> dict[str, float]:
    """Return the thresholds in a JSON object such as `{"score": 0.4}`.

    Raises:
        InputError: if it holds anything else.

    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body must be a JSON object: {error}.") from error
    if not isinstance(given, dict) or not given:
        raise InputError('the body must be a JSON object, such as {"score": 0.4}.')
    for name, value in given.items():
        if name not in NAMES:
            raise InputError(f"there is no threshold {name!r}, only {' and '.join(NAMES)}.")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and 0 <= value <= 1):
            raise InputError(f"`{name}` must be in [0, 1], got {value!r}.")
    return {name: float(value) for name, value in given.items()}
