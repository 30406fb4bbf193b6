"""Somebody else's ONNX file becomes an edgecv model by gaining a description, nothing retrained."""

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx

from edgecv.errors import InputError
from edgecv.export.adoption.conventions import CONVENTIONS, Preprocessing
from edgecv.export.adoption.reading import Format, Reading
from edgecv.export.adoption.recognise import reasons, recognise
from edgecv.export.adoption.third_party import prepare, without_output
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.graphs.model_file import read_onnx
from edgecv.files import replacing
from edgecv.output_spec import AnchorLayer, ObjectsOutput
from edgecv.provenance import versions_in_use
from edgecv.records import from_plain
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.spec import METADATA_KEY, ModelSpec, PostprocessSpec, Provenance

__all__ = ["Adoption", "Format", "Preprocessing", "adopt", "read_anchor_layers"]

_BACKGROUNDS = ("background", "__background__")


@dataclass(frozen=True)
class Adoption:
    """What became of a third-party file.

    Args:
        spec: the description that was written.
        format: what the outputs were taken for.
        reasons: why, in a line.
        notes: what else the user should know: what was changed, left out, or read from metadata.

    """

    spec: ModelSpec
    format: Format
    reasons: str
    notes: tuple[str, ...] = ()


def adopt(
    source: Path,
    path: Path,
    format: Format | Literal["auto"] = "auto",  # noqa: A002  # the option's name
    classes: tuple[str, ...] | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    anchors: Path | None = None,
) -> Adoption:
    """Write `source` with a description to `path`.

    Args:
        source: an ONNX file with one input of images: [B, 3, H, W] or [B, H, W, 3], also without
            the axis of images, of float32, float16 or uint8.
        path: the file to write; may not be `source`.
        format: what the outputs mean, see `edgecv.export.adoption.reading`; `auto` for what
            their shapes and values say.
        classes: names in the order of the class ids; None for those of the file's metadata.
        preprocessing: what is known of the input; None for nothing.
        anchors: for an SSD, a JSON file with the anchor layers, see `read_anchor_layers`.

    Raises:
        InputError: if the file is not ONNX, has another input, or its outputs are not what the
            format wants; the message says what was found.
        OutputError: if `path` cannot be written.

    """
    if source.resolve() == path.resolve():
        raise InputError(f"adopt: the output must be another file than `{source}`. Change `-o`.")
    needs_anchors, has_anchors = format == "ssd", anchors is not None
    if has_anchors != needs_anchors and format != "auto":
        raise InputError(
            "`--anchors FILE` belongs to `--format ssd`, which cannot be decoded without it: "
            '[{"grid_hw": [rows, columns], "shapes_wh": [[width, height], ...]}, ...].'
        )
    layers = () if anchors is None else read_anchor_layers(anchors)
    wanted = preprocessing or Preprocessing()
    graph = prepare(read_onnx(source), source, wanted.size_hw)
    notes = list(graph.notes)
    if any(entry.key == METADATA_KEY for entry in graph.model.metadata_props):
        notes.append("the file had an edgecv description, which is replaced")
    names = classes
    if names is None and graph.hints.names:
        names = graph.hints.names
        notes.append(f"the {len(names)} class names are those of the file's metadata")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"`{source}`: its metadata names several classes {', '.join(twice)}. "
                "Name them with `--classes`, each once."
            )
    reading = recognise(graph, source, format, None if names is None else len(names), layers)
    reading, names = _without_background(reading, names or ())
    model = graph.model
    for output in reading.unused:
        model = without_output(model, output)
        notes.append(f"the output `{output}` {list(graph.shapes[output])} is left out")
    convention = CONVENTIONS[reading.project]
    spec = ModelSpec(
        task=reading.task,
        classes=names,
        input=convention.input_spec(graph.input, graph.size_hw, graph.layout, graph.dtype, wanted),
        output=reading.output,
        postprocess=PostprocessSpec(
            iou_threshold=convention.iou_threshold, multi_label=convention.multi_label
        ),
        provenance=Provenance(model=source.name, versions=versions_in_use("onnx")),
    )
    write_spec(model, spec)
    with replacing(path) as partial:
        onnx.save(model, partial)
        with contextlib.closing(OnnxruntimeSession(partial, "cpu")) as session:
            session.warm_up()
    return Adoption(spec, reading.format, reasons(reading), tuple(notes))


def read_anchor_layers(path: Path) -> tuple[AnchorLayer, ...]:
    """Read SSD anchors: `[{"grid_hw": [19, 19], "shapes_wh": [[0.2, 0.2], ...]}, ...]`.

    Widths and heights are fractions of the input's; each shape is centred in each cell.

    Raises:
        InputError: if the file is missing, not JSON, or a layer is malformed.

    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"`--anchors {path}` cannot be read as JSON: {error}.") from error
    if not isinstance(plain, list):
        raise InputError(f"`--anchors {path}` must hold a list of layers, got {plain!r:.60}.")
    return tuple(
        from_plain(AnchorLayer, layer, where=f"anchors[{index}]")
        for index, layer in enumerate(plain)
    )


def _without_background(
    reading: Reading, classes: tuple[str, ...]
) -> tuple[Reading, tuple[str, ...]]:
    """Let labels count from the background where the user's names begin with it."""
    output = reading.output
    if isinstance(output, ObjectsOutput) and classes and classes[0] in _BACKGROUNDS:
        return replace(reading, output=replace(output, first_label=0)), classes
    return reading, classes
