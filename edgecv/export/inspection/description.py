"""A model's description in plain words."""

from functools import singledispatch

from edgecv.output_spec import (
    DetrOutput,
    FusedOutput,
    ImageOutput,
    NanodetOutput,
    OutputSpec,
    SSDOutput,
    YoloOutput,
    YoloxOutput,
)
from edgecv.spec import InputSpec, ModelSpec

_NAMES_SHOWN = 6
_METRICS_SHOWN = 3
_FITS = {
    "letterbox": "fitted inside, centred, bars of {pad}",
    "top-left": "fitted inside at the top left, bars of {pad}",
    "stretch": "stretched",
    "centre-crop": "its centre cropped",
}


def in_words(spec: ModelSpec) -> dict[str, str]:
    """Return a few words on each side of a model, by what they are about."""
    words = {
        "task": _task(spec),
        "input": _input(spec.input),
        "output": _output(spec.output),
    }
    if spec.proposals is not None:
        method = spec.proposals.method or "the caller"
        words["regions"] = f"{spec.proposals.count} an image, from {method}"
    if spec.task in ("detect", "instance", "keypoints"):
        limits = spec.postprocess
        among = "all classes" if limits.class_agnostic else "each class"
        words["limits"] = (
            f"scores above {limits.score_threshold:g}, overlaps above {limits.iou_threshold:g} "
            f"removed in {among}, at most {limits.max_detections} an image"
        )
    words["origin"] = _origin(spec)
    return {key: text for key, text in words.items() if text}


def _task(spec: ModelSpec) -> str:
    if not spec.classes:
        return spec.task
    number = len(spec.classes)
    text = f"{spec.task}, {number} {'class' if number == 1 else 'classes'}: {_some(spec.classes)}"
    return f"{text}; {len(spec.keypoints)} keypoints" if spec.keypoints else text


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, ..."


def _input(wanted: InputSpec) -> str:
    height, width = wanted.size_hw
    fit = _FITS[wanted.fit].format(pad=wanted.pad)
    parts = [f"{wanted.colour.upper()} {height}x{width} ({wanted.layout}), {fit}"]
    value = "pixel" if wanted.scale == 1 else f"pixel * {wanted.scale:.6g}"
    inverse = 1 / wanted.scale
    if wanted.scale != 1 and abs(inverse - round(inverse)) < 1e-6:  # noqa: PLR2004  # 1 / 255
        value = f"pixel / {round(inverse)}"
    if any(wanted.mean):
        value = f"({value} - {_values(wanted.mean)})"
    if any(entry != 1 for entry in wanted.std):
        value = f"{value} / {_values(wanted.std)}"
    return ", ".join([*parts, value])


def _values(values: tuple[float, ...]) -> str:
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return f"[{', '.join(f'{value:g}' for value in values)}]"


@singledispatch
def _output(output: OutputSpec) -> str:
    return output.FORMAT


@_output.register
def _(output: FusedOutput) -> str:
    further = [name for name in ("masks", "keypoints") if getattr(output, name)]
    thresholds = "thresholds are inputs" if output.score_threshold else "thresholds fixed"
    return f"{', '.join(['detections', *further])}, suppressed in the graph ({thresholds})"


@_output.register
def _(output: SSDOutput) -> str:
    number = sum(
        layer.grid_hw[0] * layer.grid_hw[1] * len(layer.shapes_wh) for layer in output.anchors
    )
    return f"SSD offsets and {output.activation} logits of {number} anchors"


@_output.register
def _(output: YoloOutput) -> str:
    kind = f"distances in {output.reg_max} bins" if output.reg_max else "decoded boxes"
    return f"YOLO head, {kind}, strides {_strides(output.strides)}"


@_output.register
def _(output: YoloxOutput) -> str:
    return f"YOLOX head, strides {_strides(output.strides)}"


@_output.register
def _(output: NanodetOutput) -> str:
    return f"NanoDet head, strides {_strides(output.strides)}"


@_output.register
def _(output: DetrOutput) -> str:
    return f"DETR queries, {output.activation}"


@_output.register
def _(output: ImageOutput) -> str:
    return f"an image, a pixel is value * {output.scale:g}"


def _strides(strides: tuple[int, ...]) -> str:
    return "/".join(map(str, strides))


def _origin(spec: ModelSpec) -> str:
    origin = spec.provenance
    parts = [origin.model, f"trained on {origin.data}" if origin.data else "", origin.precision]
    parts += [f"{name} {value:.3f}" for name, value in [*origin.metrics.items()][:_METRICS_SHOWN]]
    return ", ".join(filter(None, parts))
