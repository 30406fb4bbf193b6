"""A picture that shows whether an adopted model is fed as it was trained.

A wrong order of colours, range of values or fit raises no error: the model only finds less. So the
model runs on one image under the described input and under its likely alternatives, side by side.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, singledispatch
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecv.colour import class_colours
from edgecv.contact_sheet import contact_sheet
from edgecv.errors import InputError
from edgecv.export.adoption.conventions import IMAGENET_MEAN, IMAGENET_STD
from edgecv.files import replacing
from edgecv.images import read_image
from edgecv.results import Classification, Detections, Result
from edgecv.runtime.model import Model
from edgecv.spec import InputSpec
from edgecv.stream.annotate import annotated
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.placement import Fit

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_TOP = 5  # scores whose mean stands under a picture
# By how much the confidence on an image may differ without reason. YOLOX-nano on 14 images of COCO:
# letterbox in the place of top-left, which is only a shift, gave 0.6 to 3 times as much, 1.04 times
# on all of them together; wrong colours gave 0 to 1.04 times, 0.72 together; wrong values nothing.
_VARIATION = 0.5
_TILE = 420  # pixels of a picture's longer side
_FRAME = 5  # pixels of the frame around the best picture
_BEST, _DESCRIBED = (86, 222, 120), (236, 238, 242)


@dataclass(frozen=True)
class Trial:
    """What the model finds when it is fed in one way.

    Args:
        input: how it was fed.
        changed: in words, what differs from the description; empty for the described input.
        result: what it found on the first image.
        confidence: the sum of the scores above the threshold, or a classifier's best score; the
            mean over the images.
        top_mean: the mean of the five best scores of an image, those that are missing counted as
            0; likewise.

    """

    input: InputSpec
    changed: tuple[str, ...]
    result: Result
    confidence: float
    top_mean: float


@dataclass(frozen=True)
class _Change:
    words: str  # empty where nothing changes
    apply: Callable[[InputSpec], InputSpec]


def try_inputs(
    model: Model,
    images: Sequence[Path],
    progress: Callable[[int, int], None] = lambda done, count: None,  # noqa: ARG005
) -> tuple[Trial, ...]:
    """Run `model` on images in every likely way of feeding it, the described one first.

    Args:
        model: an open model.
        images: files, at least one; the more, the surer a difference.
        progress: called with the number of ways done and that of all.

    Raises:
        InputError: if an image cannot be read, or the model's task has no scores to compare.

    """
    frames = [read_image(image) for image in images]
    ways = tuple(product(*_axes(model.spec.input)))
    trials = []
    for index, changes in enumerate(ways):
        wanted = model.spec.input
        for change in changes:
            wanted = change.apply(wanted)
        fed = Model(model.session)
        fed.spec = replace(model.spec, input=wanted)
        results = [fed(frame, format="rgb24") for frame in frames]
        confidence, top_mean = np.mean([confidences(result) for result in results], axis=0)
        words = tuple(change.words for change in changes if change.words)
        trials.append(Trial(wanted, words, results[0], float(confidence), float(top_mean)))
        progress(index + 1, len(ways))
    return tuple(trials)


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the greatest confidence; of equal ones that with the fewest changes."""
    return max(trials, key=lambda trial: (round(trial.confidence, 3), -len(trial.changed)))


def is_clear(best: Trial, described: Trial, num_images: int) -> bool:
    """Tell whether `best` is better by more than so many images vary without reason."""
    return best.confidence > described.confidence * (1 + _VARIATION / math.sqrt(num_images))


def write_check(
    trials: Sequence[Trial], images: Sequence[Path], path: Path, classes: Sequence[str]
) -> None:
    """Write a picture of the described input, of those that differ in one thing, and of the best.

    Args:
        trials: of `try_inputs`.
        images: theirs; the first is shown.
        path: the picture to write.
        classes: the name of each class id.

    Raises:
        OutputError: if the picture cannot be written.

    """
    best = best_of(trials)
    shown = [trial for trial in trials if len(trial.changed) <= 1 or trial is best]
    tiles, captions = [], []
    seen: set[int] = set()
    frame = read_image(images[0])
    for trial in shown:
        colour = _BEST if trial is best else _DESCRIBED if trial is trials[0] else None
        tiles.append(_tile(frame, trial.result, classes, colour))
        seen.update(trial.result.counted())
        captions.append(
            f"{' + '.join(trial.changed) or 'as described'}: sum {trial.confidence:.2f}, "
            f"mean of top {_TOP} {trial.top_mean:.2f}{', best' if trial is best else ''}"
        )
    class_ids = np.array(sorted(seen), np.int32)
    colours = class_colours(class_ids).tolist()
    wanted = trials[0].input
    shared = "" if len(images) == 1 else f"; the figures are means over {len(images)} images"
    sheet = contact_sheet(
        tiles,
        captions,
        title=f"{images[0].name}: how the model is fed",
        subtitle=f"described: {describe_input(wanted)}{shared}",
        legend=[
            (classes[class_id], tuple(colour))
            for class_id, colour in zip(class_ids.tolist(), colours, strict=True)
        ],
    )
    with replacing(path) as unfinished:
        sheet.save(unfinished, quality=92)


def check_picture_path(path: Path) -> None:
    """Refuse a picture of a kind that is not written.

    Raises:
        InputError: with the kinds that are.

    """
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(
            f"`--check-output` must end in {', '.join(PICTURE_SUFFIXES)}, got `{path}`."
        )


def describe_input(wanted: InputSpec) -> str:
    """Return colour, values and fit of an input in a few words."""
    return f"{wanted.colour}, {_normalisation_words(wanted)}, {wanted.fit}, pad {wanted.pad}"


def options_of(wanted: InputSpec) -> str:
    """Return the options of `edgecv adopt` that describe an input."""
    return (
        f"--input-colour {wanted.colour} --fit {wanted.fit} --scale {wanted.scale:.8g} "
        f"--mean={_listed(wanted.mean)} --std {_listed(wanted.std)}"
    )


@singledispatch
def confidences(result: Result) -> tuple[float, float]:
    """Return how sure a result is, and the mean of its best scores.

    Raises:
        InputError: if it has no scores.

    """
    raise InputError(
        f"`--check` compares the scores of objects and classes, and a {type(result).__name__} has "
        "none. Look at it with `edgecv run MODEL --source IMAGE --save FOLDER`."
    )


@confidences.register
def _(result: Detections) -> tuple[float, float]:
    return float(result.scores.sum()), float(result.scores[:_TOP].sum()) / _TOP


@confidences.register
def _(result: Classification) -> tuple[float, float]:
    scores = [score for _, score in result.top(_TOP)]
    return scores[0], sum(scores) / _TOP


def _axes(wanted: InputSpec) -> Iterator[tuple[_Change, ...]]:
    """Yield for each property of the input what it may be instead, the described one first."""
    nothing = _Change("", lambda given: given)
    colours: tuple[Literal["rgb", "bgr"], ...] = ("rgb", "bgr")
    yield (
        nothing,
        *(_Change(colour, _with(colour=colour)) for colour in colours if colour != wanted.colour),
    )
    if wanted.dtype != "uint8":
        yield nothing, *_other_normalisations(wanted)
    fits: tuple[Fit, ...] = ("letterbox", "top-left", "stretch")
    if wanted.fit == "centre-crop":
        fits = ("letterbox", "stretch")
    yield (
        nothing,
        *(_Change(fit, _with(fit=fit)) for fit in fits if fit != wanted.fit),
    )


def _other_normalisations(wanted: InputSpec) -> Iterator[_Change]:
    for words, values in _NORMALISATIONS.items():
        if words != _normalisation_words(wanted):
            yield _Change(words, partial(_normalised, values=values))


_NOUGHT, _ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_Values = tuple[float, tuple[float, ...], tuple[float, ...]]  # scale, mean and std, red first
_NORMALISATIONS: dict[str, _Values] = {
    "0..1": (1 / 255, _NOUGHT, _ONE),
    "0..255": (1.0, _NOUGHT, _ONE),
    "-1..1": (1 / 127.5, _ONE, _ONE),
    "ImageNet": (1 / 255, IMAGENET_MEAN, IMAGENET_STD),
}


def _normalised(given: InputSpec, values: _Values) -> InputSpec:
    """Return the input with other values, in the order of its own channels."""
    scale, mean, std = values
    order = slice(None, None, -1 if given.colour == "bgr" else 1)
    return replace(given, scale=scale, mean=mean[order], std=std[order])


def _normalisation_words(wanted: InputSpec) -> str:
    given = (wanted.scale, *wanted.mean, *wanted.std)
    for words, values in _NORMALISATIONS.items():
        usual = _normalised(wanted, values)
        if np.allclose(given, (usual.scale, *usual.mean, *usual.std), rtol=1e-3):
            return words
    return f"(pixel * {wanted.scale:.4g} - {_listed(wanted.mean)}) / {_listed(wanted.std)}"


def _listed(values: tuple[float, ...]) -> str:
    return f"{values[0]:.6g}" if len(set(values)) == 1 else ",".join(f"{v:.6g}" for v in values)


def _with(**changes: object) -> Callable[[InputSpec], InputSpec]:
    return lambda given: replace(given, **changes)  # type: ignore[arg-type]


def _tile(
    frame: NDArray[np.uint8],
    result: Result,
    classes: Sequence[str],
    colour: tuple[int, int, int] | None,
) -> NDArray[np.uint8]:
    """Return the image, made smaller, with a result drawn in and a frame around it."""
    picture = Image.fromarray(frame)
    picture.thumbnail((_TILE, _TILE))
    pixels = np.array(picture)
    if isinstance(result, Detections):
        factors = np.array([pixels.shape[1], pixels.shape[0]] * 2, np.float32)
        factors /= np.array([frame.shape[1], frame.shape[0]] * 2, np.float32)
        result = Detections(result.boxes_xyxy * factors, result.scores, result.class_ids)
    drawn = annotated(result, Frame(0, pixels, "rgb24"), classes).to_array("rgb24")
    if colour is not None:
        for edge in (np.s_[:_FRAME], np.s_[-_FRAME:], np.s_[:, :_FRAME], np.s_[:, -_FRAME:]):
            drawn[edge] = colour
    return drawn
