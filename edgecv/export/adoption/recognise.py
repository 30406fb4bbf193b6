"""Which of the readings of a third-party graph is believed, and why; or why none can be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgecv.errors import InputError
from edgecv.export.adoption.formats import readings, wanted_shape
from edgecv.export.adoption.reading import FORMATS, Format, Reading
from edgecv.export.adoption.third_party import ThirdPartyGraph
from edgecv.output_spec import AnchorLayer

_TASKS_OF_ULTRALYTICS = ("", "detect", "classify")


def recognise(
    graph: ThirdPartyGraph,
    source: Path,
    wanted: Format | Literal["auto"],
    num_classes: int | None,
    layers: tuple[AnchorLayer, ...] = (),
) -> Reading:
    """Return what the outputs of `graph` mean.

    Shapes say what is possible, the number of classes and the values of the probes what is not. Of
    what remains, `auto` takes the one reading that the values speak for, or the only one.

    Args:
        graph: see `edgecv.export.adoption.third_party.prepare`.
        source: for messages.
        wanted: the format that the user named, or `auto`.
        num_classes: that the user or the file's metadata named, None for neither.
        layers: anchors of an SSD, empty for none.

    Raises:
        InputError: if nothing fits, several readings do, the values refute the format that the
            user named, or nobody named the classes; the message says what was seen.

    """
    if graph.hints.is_ultralytics and graph.hints.task not in _TASKS_OF_ULTRALYTICS:
        raise InputError(
            f"`{source}` is a model of Ultralytics' task `{graph.hints.task}`, and edgecv adopts "
            "those of `detect` and `classify`. Export one of these."
        )
    fitting = readings(graph, layers)
    if wanted != "auto":
        return _as_named(graph, source, wanted, num_classes, layers, fitting)
    counted = [reading for reading in fitting if reading.num_classes in (None, num_classes)]
    left = _best(counted if num_classes is not None else fitting)
    if num_classes is None:
        raise InputError(_missing_classes(source, _best(fitting)) + _seen(graph))
    if len(left) == 1 or (left and len({reading.format for reading in left}) == 1):
        return left[0]
    if left:
        options = "; ".join(f"`--format {reading.format}`: {_because(reading)}" for reading in left)
        raise InputError(
            f"`{source}` may be read in several ways with {num_classes} classes: {options}. "
            "Choose one with `--format`."
        )
    raise InputError(_nothing_fits(graph, source, num_classes, fitting, has_layers=bool(layers)))


def reasons(reading: Reading) -> str:
    """Return in one line what was believed of a graph, and why."""
    said = reading.finding.words if reading.finding.holds else "its values tell nothing"
    layout = getattr(reading.output, "layout", None)
    form = reading.format if layout is None else f"{reading.format} ({layout})"
    return f"{form}: {reading.shape}; {said}"


def _best(found: Sequence[Reading]) -> list[Reading]:
    """Return the readings that the values speak for, else those that they do not refute."""
    for_it = [reading for reading in found if reading.finding.holds]
    return for_it or [reading for reading in found if reading.finding.holds is None]


def _as_named(
    graph: ThirdPartyGraph,
    source: Path,
    wanted: Format,
    num_classes: int | None,
    layers: tuple[AnchorLayer, ...],
    fitting: Sequence[Reading],
) -> Reading:
    """Return the reading of the format that the user named, or refuse it."""
    named = [reading for reading in fitting if reading.format == wanted]
    if num_classes is None:
        raise InputError(_missing_classes(source, _best(named) or _best(fitting)) + _seen(graph))
    counted = [reading for reading in fitting if reading.num_classes in (None, num_classes)]
    of_format = [reading for reading in counted if reading.format == wanted]
    left = _best(of_format)
    if left:
        return left[0]
    others = list(dict.fromkeys(r.format for r in _best(counted) if r.format != wanted))
    if of_format:
        advice = f"Use `--format {others[0]}`." if others else "Check how it was exported."
        raise InputError(
            f"`--format {wanted}`, but in what the graph gives for a black image and for noise, "
            f"{of_format[0].finding.words}. {advice}"
        )
    height, width = graph.size_hw
    advice = (
        f"The shapes fit `--format {others[0]}`."
        if others
        else "Check `--format`, the number of `--classes` and `--size`."
    )
    raise InputError(
        f"`--format {wanted}` with {num_classes} classes at {height}x{width} wants "
        f"{wanted_shape(wanted, num_classes, graph.size_hw, layers)}, "
        f"got {graph.describe_outputs()}. {advice}"
    )


def _missing_classes(source: Path, found: Sequence[Reading]) -> str:
    """Return the line that asks for the names of the classes, with how many there seem to be."""
    counts = dict.fromkeys(
        f"{reading.num_classes} ({reading.format})" for reading in found if reading.num_classes
    )
    number = f" It seems to have {', or '.join(counts)}." if counts else ""
    return (
        f"`{source}` does not name its classes.{number} Name them with `--classes`: coco, coco91, "
        "voc, a file with a name a line, or names with commas."
    )


def _seen(graph: ThirdPartyGraph) -> str:
    return f" Its outputs are {graph.describe_outputs()}."


def _because(reading: Reading) -> str:
    count = "" if reading.num_classes is None else f"{reading.num_classes} classes, "
    return f"{count}{reading.shape}, {reading.finding.words}"


def _nothing_fits(
    graph: ThirdPartyGraph,
    source: Path,
    num_classes: int,
    fitting: Sequence[Reading],
    *,
    has_layers: bool,
) -> str:
    """Return what was seen, what came near and why it was refused."""
    height, width = graph.size_hw
    others = _best([r for r in fitting if r.num_classes not in (None, num_classes)])
    if others:
        looks = "; or ".join(f"{r.format} with {_because(r)}" for r in others)
        return (
            f"`{source}` does not have {num_classes} classes: it looks like {looks}. "
            "Check the number of `--classes`."
        )
    text = (
        f"`{source}` is none of {', '.join(FORMATS)} with {num_classes} classes at "
        f"{height}x{width}: its outputs are {graph.describe_outputs()}."
    )
    near = "; ".join(f"{reading.format}: {_because(reading)}" for reading in fitting)
    if near:
        text += f" Nearest: {near}."
    has_boxes = any(len(shape) == 3 and shape[2] == 4 for shape in graph.shapes.values())  # noqa: PLR2004
    if has_boxes and len(graph.shapes) == 2 and not has_layers:  # noqa: PLR2004
        return f"{text} If it is an SSD, describe its anchors with `--anchors`."
    return f"{text} Export it with decoded boxes in one output, or name `--format` and `--size`."
