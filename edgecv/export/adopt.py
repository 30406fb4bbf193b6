"""Somebody else's ONNX file becomes an edgecv model by gaining a description, nothing retrained."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.metadata import write_spec
from edgecv.export.model_file import read_onnx
from edgecv.files import replacing
from edgecv.output_spec import (
    AnchorLayer,
    LogitsOutput,
    NanodetOutput,
    OutputSpec,
    ProbabilitiesOutput,
    SSDOutput,
    YoloOutput,
    YoloxOutput,
)
from edgecv.placement import Fit
from edgecv.provenance import versions_in_use
from edgecv.records import from_plain
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec, Provenance

Format = Literal["yolox", "yolo", "nanodet", "ssd", "logits", "probabilities"]
Shapes = Mapping[str, tuple[int, ...]]

_NEARLY_ONE = 1e-3  # how far the sum of float16 probabilities may be from it
_OF_CLASSIFIERS: tuple[Format, ...] = ("logits", "probabilities")


@dataclass(frozen=True)
class Preprocessing:
    """What a user says of the input; what is None follows from the format's own convention.

    Args:
        colour: order of the channels.
        fit: how frames are fitted.
        pad: pixel value of the bars.
        scale: factor on the pixel value.
        mean: per channel, subtracted after the scale.
        std: per channel, divided by at the end.
        size_hw: height and width, needed where the graph leaves them open.

    """

    colour: Literal["rgb", "bgr"] | None = None
    fit: Fit | None = None
    pad: int | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size_hw: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Convention:
    """How the project that a format comes from feeds its networks, and its usual IoU threshold."""

    colour: Literal["rgb", "bgr"]
    fit: Fit
    scale: float
    iou_threshold: float = PostprocessSpec.iou_threshold
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


# What torchvision's and nearly all of timm's classifiers were trained with.
_IMAGENET = _Convention(
    "rgb", "centre-crop", 1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)

_CONVENTIONS: dict[Format, _Convention] = {
    # YOLOX ≥ 0.1.1rc0, `ValTransform(legacy=False)` and `nmsthre` of its experiments.
    "yolox": _Convention("bgr", "top-left", 1.0, 0.65),
    # Ultralytics' `LetterBox` and the default `iou` of its validation.
    "yolo": _Convention("rgb", "letterbox", 1 / 255, 0.7),
    # NanoDet-Plus, `normalize` and `keep_ratio: False` of its configurations.
    "nanodet": _Convention(
        "bgr", "stretch", 1.0, 0.6, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    ),
    # SSDs differ in their normalisation: values in 0..1 unless `--mean` and `--std` say otherwise.
    # Images are stretched and the threshold is 0.45 in Liu et al. 2016, sections 2.2 and 3.
    "ssd": _Convention("rgb", "stretch", 1 / 255, 0.45),
    "logits": _IMAGENET,
    "probabilities": _IMAGENET,
}


def adopt(
    source: Path,
    path: Path,
    format: Format,  # noqa: A002  # the option's name
    classes: tuple[str, ...],
    *,
    preprocessing: Preprocessing,
    anchors: Path | None = None,
) -> ModelSpec:
    """Write `source` with a description to `path`.

    Args:
        source: an ONNX file with one image input [B, 3, H, W] float32.
        path: the file to write; may not be `source`.
        format: what the outputs mean, see the output classes of `edgecv.spec`.
        classes: names in the order of the class ids.
        preprocessing: what is known of the input.
        anchors: for `ssd`, a JSON file with the anchor layers, see `read_anchor_layers`.

    Returns:
        The description that was written.

    Raises:
        InputError: if the file is not ONNX, has another input, or its outputs do not have the
            shapes that the format wants; the message says what was found.
        OutputError: if `path` cannot be written.

    """
    if source.resolve() == path.resolve():
        raise InputError(f"adopt: the output must be another file than `{source}`. Change `-o`.")
    model = read_onnx(source)
    convention = _CONVENTIONS[format]
    name, size_hw = _image_input(model, preprocessing.size_hw, source)
    values = _output_values(source, name, size_hw)
    shapes = {output: value.shape for output, value in values.items()}
    layers = _anchor_layers(format, anchors)
    recognised = _recognise(format, shapes, len(classes), size_hw, layers)
    _refuse_other_scores(recognised, values)
    spec = ModelSpec(
        task="classify" if format in _OF_CLASSIFIERS else "detect",
        classes=classes,
        input=InputSpec(
            name=name,
            size_hw=size_hw,
            colour=preprocessing.colour or convention.colour,
            fit=preprocessing.fit or convention.fit,
            pad=114 if preprocessing.pad is None else preprocessing.pad,
            scale=preprocessing.scale or convention.scale,
            mean=preprocessing.mean or convention.mean,
            std=preprocessing.std or convention.std,
        ),
        output=recognised,
        postprocess=PostprocessSpec(iou_threshold=convention.iou_threshold),
        provenance=Provenance(model=source.name, versions=versions_in_use("onnx")),
    )
    write_spec(model, spec)
    with replacing(path) as partial:
        onnx.save(model, partial)
        with contextlib.closing(OnnxruntimeSession(partial, "cpu")) as session:
            session.warm_up()
    return spec


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


def _image_input(
    model: onnx.ModelProto, wanted: tuple[int, int] | None, source: Path
) -> tuple[str, tuple[int, int]]:
    """Return the name and the size of the one image input."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise InputError(f"`{source}` must have one input, got {len(inputs)}: {names}.")
    tensor = inputs[0].type.tensor_type
    dims = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]
    is_float = tensor.elem_type == onnx.TensorProto.FLOAT
    if len(dims) != 4 or dims[1] not in (3, "?") or not is_float:  # noqa: PLR2004  # NCHW
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise InputError(
            f"`{source}`: the input must be [B, 3, H, W] float32, got {dims} {kind}. "
            "Export it from its project in this form."
        )
    height, width = dims[2], dims[3]
    if isinstance(height, int) and isinstance(width, int):
        if wanted not in (None, (height, width)):
            raise InputError(
                f"`--size` is {wanted}, but the graph's input is fixed at {(height, width)}. "
                "Leave `--size` out."
            )
        return inputs[0].name, (height, width)
    if wanted is None:
        raise InputError(
            f"`{source}`: the graph leaves its input size open ({dims}). Give it with `--size`."
        )
    return inputs[0].name, wanted


def _output_values(
    source: Path, name: str, size_hw: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Run the graph once on zeros: what comes out needs no shape inference to be believed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(source), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(None, {name: np.zeros((1, 3, *size_hw), np.float32)})
    except Exception as error:  # onnxruntime's errors share no public base class
        raise InputError(
            f"`{source}` does not run at {size_hw} in onnxruntime: {str(error).splitlines()[0]}."
        ) from error
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, values, strict=True))


def _refuse_other_scores(output: OutputSpec, values: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse probabilities that are called logits, and the other way round."""
    if isinstance(output, LogitsOutput):
        scores = values[output.logits]
    elif isinstance(output, ProbabilitiesOutput):
        scores = values[output.probabilities]
    else:
        return
    sums_to_one = np.abs(scores.sum(axis=1) - 1).max() < _NEARLY_ONE
    is_softmax = bool(sums_to_one and scores.min() >= 0)
    if is_softmax == isinstance(output, LogitsOutput):
        kind = "are probabilities" if is_softmax else "are no probabilities"
        other = "probabilities" if is_softmax else "logits"
        raise InputError(
            f"`--format {output.FORMAT}`, but the values that the graph gives for a black image "
            f"{kind}: {scores.min():.3g} to {scores.max():.3g}, their sum {scores[0].sum():.3g}. "
            f"Use `--format {other}`."
        )


def _anchor_layers(format: Format, anchors: Path | None) -> tuple[AnchorLayer, ...]:  # noqa: A002
    if (format == "ssd") != (anchors is not None):
        raise InputError(
            "`--anchors FILE` belongs to `--format ssd`, which cannot be decoded without it: "
            '[{"grid_hw": [rows, columns], "shapes_wh": [[width, height], ...]}, ...].'
        )
    return () if anchors is None else read_anchor_layers(anchors)


def _recognise(
    format: Format,  # noqa: A002
    shapes: Shapes,
    num_classes: int,
    size_hw: tuple[int, int],
    layers: tuple[AnchorLayer, ...],
) -> OutputSpec:
    """Return the output of `format`, or refuse with what was found and what would fit."""
    case = _Case(shapes, num_classes, size_hw, layers)
    found = _MATCHERS[format](case)
    if found is not None:
        return found
    seen = ", ".join(f"`{name}` {list(shape)}" for name, shape in shapes.items())
    others = [name for name, matcher in _MATCHERS.items() if matcher(case) is not None]
    advice = (
        f"The shapes fit `--format {others[0]}`."
        if others
        else ("Check `--format`, the number of `--classes` and `--size`.")
    )
    raise InputError(
        f"`--format {format}` with {num_classes} classes at {size_hw[0]}x{size_hw[1]} wants "
        f"{_wanted(format, case)}, got {seen}. {advice}"
    )


@dataclass(frozen=True)
class _Case:
    shapes: Shapes
    num_classes: int
    size_hw: tuple[int, int]
    layers: tuple[AnchorLayer, ...]

    def cells(self, strides: tuple[int, ...]) -> int:
        height, width = self.size_hw
        return sum(math.ceil(height / s) * math.ceil(width / s) for s in strides)

    def only(self, shape: tuple[int, ...]) -> str | None:
        """Return the name of the only output if it has `shape` after the batch."""
        (name, found), *others = self.shapes.items()
        return name if not others and found[1:] == shape else None


def _match_yolox(case: _Case) -> YoloxOutput | None:
    blank = YoloxOutput()
    name = case.only((case.cells(blank.strides), 5 + case.num_classes))
    return None if name is None else YoloxOutput(head=name)


def _match_yolo(case: _Case) -> YoloOutput | None:
    blank = YoloOutput()
    cells, width = case.cells(blank.strides), 4 + case.num_classes
    name = case.only((width, cells))
    if name is not None:
        return YoloOutput(head=name, layout="cn")
    name = case.only((cells, width))
    return None if name is None else YoloOutput(head=name, layout="nc")


def _match_nanodet(case: _Case) -> NanodetOutput | None:
    blank = NanodetOutput()
    for strides in (blank.strides, blank.strides[:3]):  # Plus has four levels, the first had three
        width = case.num_classes + 4 * (blank.reg_max + 1)
        name = case.only((case.cells(strides), width))
        if name is not None:
            return NanodetOutput(head=name, strides=strides)
    return None


def _match_ssd(case: _Case) -> SSDOutput | None:
    rows = sum(math.prod(layer.grid_hw) * len(layer.shapes_wh) for layer in case.layers)
    by_shape = {shape[1:]: name for name, shape in case.shapes.items()}
    offsets = by_shape.get((rows, 4))
    logits = by_shape.get((rows, 1 + case.num_classes))
    if len(case.shapes) != 2 or offsets is None or logits is None or offsets == logits:  # noqa: PLR2004
        return None
    return SSDOutput(anchors=case.layers, offsets=offsets, logits=logits)


def _match_logits(case: _Case) -> LogitsOutput | None:
    name = case.only((case.num_classes,))
    return None if name is None else LogitsOutput(logits=name)


def _match_probabilities(case: _Case) -> ProbabilitiesOutput | None:
    name = case.only((case.num_classes,))
    return None if name is None else ProbabilitiesOutput(probabilities=name)


_MATCHERS: dict[Format, Callable[[_Case], OutputSpec | None]] = {
    "yolox": _match_yolox,
    "yolo": _match_yolo,
    "nanodet": _match_nanodet,
    "ssd": _match_ssd,
    "logits": _match_logits,
    "probabilities": _match_probabilities,
}


def _wanted(format: Format, case: _Case) -> str:  # noqa: A002
    count = case.num_classes
    if format in _OF_CLASSIFIERS:
        return f"one output [B, {count}]"
    if format == "yolox":
        return f"one output [B, {case.cells(YoloxOutput().strides)}, {5 + count}]"
    if format == "yolo":
        cells = case.cells(YoloOutput().strides)
        return f"one output [B, {4 + count}, {cells}] or [B, {cells}, {4 + count}]"
    if format == "nanodet":
        blank = NanodetOutput()
        width = count + 4 * (blank.reg_max + 1)
        return f"one output [B, {case.cells(blank.strides)}, {width}]"
    rows = sum(math.prod(layer.grid_hw) * len(layer.shapes_wh) for layer in case.layers)
    return f"offsets [B, {rows}, 4] and logits [B, {rows}, {1 + count}]"
