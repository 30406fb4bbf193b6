"""Does an exported file compute what the PyTorch model computes? Asked on real images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import ParityError
from edgecv.images import read_image
from edgecv.output_spec import ClassMapOutput, FusedOutput
from edgecv.placement import Placement
from edgecv.precision import Precision
from edgecv.proposals import Proposals, as_input, sliding_windows
from edgecv.results import Classification, Detections, Poses, Result, Segmentation
from edgecv.runtime.model import Model
from edgecv.runtime.session import Outputs, Session
from edgecv.spec import ModelSpec

_MASKS = "masks"
_KEYPOINTS = "keypoints"
_SAME_PROBABILITY = 1e-3  # apart: which of two such classes comes first is a matter of rounding
_SAME_BOX_PX = 2.0  # corners this close, and the same class: the same detection
_SAME_POINT_PX = 2.0  # a keypoint that is farther away was found in another place


@dataclass(frozen=True)
class Tolerance:
    """How far an export may be from PyTorch.

    The defaults allow for another order of float32 sums through some fifty layers, which was seen
    to cost 2.5e-6 of the largest value, and little more: a wrong weight or layout is far beyond.

    Args:
        relative: of an output, the largest difference over its largest magnitude.
        unmatched: fraction of detections that only one of the two reports; a score or an overlap
            within rounding of its threshold falls on either side. Of a classifier, fraction of
            images that the two put into other classes; of a segmentation, of pixels.
        box_px: corner of matched detections, in frame pixels.
        score: of matched detections, of a classifier that of the most probable class.
        mask: of the probabilities of an `instance` graph's masks, in place of `relative`: they are
            read at the very corners of boxes that differ already.
        strayed: fraction of the keypoints of matched detections that lie in another place: which of
            two places that are as likely as each other wins is a matter of rounding.

    """

    relative: float = 1e-4
    unmatched: float = 0.01
    box_px: float = 0.1
    score: float = 1e-3
    mask: float = 1e-3
    strayed: float = 0.01


TOLERANCES: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(),
    # Somewhat more than four detectors were seen to cost on real images in onnxruntime's float16:
    # 0.16 of a raw output, 5 % of the objects near the threshold, 1.9 px and 0.010 of a score.
    "fp16": Tolerance(0.25, 0.1, _SAME_BOX_PX, 0.02, 0.05, 0.05),
}
"""What two models may differ by in the coarser of their precisions; 8 bits are measured by AP."""


@dataclass(frozen=True)
class OutputDifference:
    """The largest differences of one output over all images.

    Args:
        name: the graph's output.
        absolute: largest |candidate - reference|.
        relative: `absolute` over the largest magnitude of the reference.
        snr_db: signal-to-noise ratio, the reference's power over that of the difference, in
            decibels; None where they are equal or the reference is 0.

    """

    name: str
    absolute: float
    relative: float
    snr_db: float | None = None


@dataclass(frozen=True)
class ParityReport:
    """What was compared and how far the two were apart.

    Args:
        num_images: real images that both ran on.
        outputs: a difference per output of the graph; of a fused graph the boxes, scores,
            classes and masks of the rows that both report (the counts are the next fields; of
            keypoints see the last two). None of a class map, whose labels are compared below.
        num_reference: detections of the reference through the whole pipeline; of a classifier,
            images; of a segmentation, pixels of the frames.
        num_candidate: those of the exported file.
        num_matched: those of the same class and place in both.
        box_px: largest difference of a corner of matched detections, in frame pixels.
        score: largest difference of their scores.
        unit: what was counted, `detections`, `images` or `pixels`.
        num_keypoints: of matched detections.
        num_strayed: those of them that lie more than 2 frame pixels from where PyTorch finds them.
        incomparable: outputs of the reference that the other has not, or in another shape.
        worst_image: index of the image whose outputs differ most.

    """

    num_images: int
    outputs: tuple[OutputDifference, ...]
    num_reference: int
    num_candidate: int
    num_matched: int
    box_px: float
    score: float
    unit: str = "detections"
    num_keypoints: int = 0
    num_strayed: int = 0
    incomparable: tuple[str, ...] = ()
    worst_image: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers."""
        return asdict(self)

    def violations(self, tolerance: Tolerance) -> list[str]:
        """Return what exceeds `tolerance`, one phrase each."""
        found = []
        for output in self.outputs:
            allowed = tolerance.mask if output.name == _MASKS else tolerance.relative
            if not output.relative <= allowed:  # NaN is a violation too
                found.append(
                    f"output `{output.name}` differs by {output.relative:.2e} of its largest value "
                    f"(allowed {allowed:.0e})"
                )
        total = max(self.num_reference, self.num_candidate)
        unmatched = total - self.num_matched
        if unmatched > tolerance.unmatched * total:
            fate = "are of another class" if self.unit == "pixels" else "have no counterpart"
            found.append(f"{unmatched} of {total} {self.unit} {fate}")
        if not self.box_px <= tolerance.box_px:
            found.append(f"boxes differ by {self.box_px:.3g} px (allowed {tolerance.box_px:g})")
        if not self.score <= tolerance.score:
            found.append(f"scores differ by {self.score:.3g} (allowed {tolerance.score:g})")
        if self.num_strayed > tolerance.strayed * self.num_keypoints:
            found.append(
                f"{self.num_strayed} of {self.num_keypoints} keypoints lie more than "
                f"{_SAME_POINT_PX:g} px from where they should"
            )
        return found


def check_parity(
    reference: Session,
    candidate: Session,
    images: Sequence[Path],
    *,
    tolerance: Tolerance,
    proposals: Proposals | None = None,
) -> ParityReport:
    """Run both on the same images and compare outputs and detections.

    Args:
        reference: the PyTorch model.
        candidate: the exported file; its outputs bear the reference's names.
        images: files, at least one.
        tolerance: what may differ by how much.
        proposals: see `compare`.

    Raises:
        ParityError: if they differ by more; the message lists what.
        InputError: if an image cannot be read.

    """
    report = compare(Model(reference), Model(candidate), images, proposals=proposals)
    violations = report.violations(tolerance)
    violations += [
        f"output `{name}` is missing or has another shape" for name in report.incomparable
    ]
    if violations:
        raise ParityError(
            f"the exported model does not match PyTorch on {report.num_images} images: "
            f"{'; '.join(violations)}. Nothing was written. Try another `--opset`, and report it."
        )
    return report


def compare(
    reference: Model,
    candidate: Model,
    images: Sequence[Path],
    *,
    proposals: Proposals | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> ParityReport:
    """Return how far two models are apart on the same images, without a verdict.

    Each gets the image as its own description asks for it. Outputs that only one of them has are
    left out: results are compared all the same. Models that look at given regions get those of
    `proposals`, or windows where that is None.
    """
    is_same_input = replace(candidate.spec.input, name="") == replace(reference.spec.input, name="")
    output = candidate.spec.output
    differences = _Differences()
    matches = []
    for path in images:
        pixels = read_image(path)
        batch, placement = reference.fit(pixels, format="rgb24")
        regions = _regions(reference.spec, path, placement, proposals)
        wanted = reference.infer(batch, regions)
        expected = reference.finish(wanted, placement)
        if not (is_same_input and isinstance(batch, np.ndarray)):
            batch, placement = candidate.fit(pixels, format="rgb24")
            regions = _regions(candidate.spec, path, placement, proposals)
        found = candidate.infer(batch, regions)
        match = _match(expected, candidate.finish(found, placement))
        matches.append(match)
        if isinstance(output, FusedOutput):
            differences.add_rows(wanted, found, match.rows)
        elif not isinstance(output, ClassMapOutput):
            differences.add(wanted, found)
        on_image()
    return ParityReport(
        num_images=len(images),
        outputs=differences.summary(),
        num_reference=sum(match.num_reference for match in matches),
        num_candidate=sum(match.num_candidate for match in matches),
        num_matched=sum(match.num_matched for match in matches),
        box_px=max(match.box_px for match in matches),
        score=max(match.score for match in matches),
        unit=matches[0].unit,
        num_keypoints=sum(match.num_keypoints for match in matches),
        num_strayed=sum(match.num_strayed for match in matches),
        incomparable=tuple(sorted(differences.incomparable)),
        worst_image=differences.worst_image,
    )


@dataclass(frozen=True)
class _Match:
    """How far two results of one image are apart, see `ParityReport`; rows are (M, 2) pairs."""

    unit: str
    num_reference: int
    num_candidate: int
    num_matched: int
    rows: NDArray[np.int64]
    score: float = 0.0
    box_px: float = 0.0
    num_keypoints: int = 0
    num_strayed: int = 0


@singledispatch
def _match(expected: Result, actual: Result) -> _Match:
    kinds = f"a {type(expected).__name__} with a {type(actual).__name__}"
    raise TypeError(f"compare: nothing is known of how to compare {kinds}.")


@_match.register
def _(expected: Detections, actual: Detections) -> _Match:
    rows = match_detections(expected, actual)
    left, right = rows.T
    return _Match(
        "detections",
        len(expected),
        len(actual),
        len(rows),
        rows,
        score=_largest(expected.scores[left] - actual.scores[right]),
        box_px=_largest(expected.boxes_xyxy[left] - actual.boxes_xyxy[right]),
    )


@_match.register
def _(expected: Poses, actual: Poses) -> _Match:
    objects: _Match = _match.dispatch(Detections)(expected, actual)
    left, right = objects.rows.T
    steps = (expected.keypoints[left] - actual.keypoints[right])[..., :2]
    is_near = np.hypot(steps[..., 0], steps[..., 1]) <= _SAME_POINT_PX  # NaN is not
    return replace(objects, num_keypoints=is_near.size, num_strayed=int((~is_near).sum()))


@_match.register
def _(expected: Classification, actual: Classification) -> _Match:
    score = float(actual.probabilities[expected.class_id])  # NaN is no match
    is_same = actual.score - score <= _SAME_PROBABILITY
    rows = np.zeros((int(is_same), 2), np.int64)
    return _Match("images", 1, 1, len(rows), rows, score=abs(expected.score - score))


@_match.register
def _(expected: Segmentation, actual: Segmentation) -> _Match:
    num_same = int(np.count_nonzero(expected.labels == actual.labels))
    no_rows = np.zeros((0, 2), np.int64)
    return _Match("pixels", expected.labels.size, actual.labels.size, num_same, no_rows)


def _regions(
    spec: ModelSpec, path: Path, placement: Placement, proposals: Proposals | None
) -> NDArray[np.float32] | None:
    if spec.proposals is None:
        return None
    count, frame_hw = spec.proposals.count, placement.frame_hw
    given = sliding_windows(frame_hw, count) if proposals is None else proposals.of(path, frame_hw)
    return as_input(given, placement, count)


def match_detections(expected: Detections, actual: Detections) -> NDArray[np.int64]:
    """Return (M, 2) row pairs of the same class whose corners are nearest, within 2 pixels.

    Each row is used once; pairs are formed in the order of `expected`, best score first.
    """
    pairs: list[tuple[int, int]] = []
    is_free = np.ones(len(actual), bool)
    for row in range(len(expected)):
        distance = np.abs(actual.boxes_xyxy - expected.boxes_xyxy[row]).max(axis=1, initial=0.0)
        distance[~is_free | (actual.class_ids != expected.class_ids[row])] = np.inf
        if len(distance) and distance.min() <= _SAME_BOX_PX:
            nearest = int(distance.argmin())
            is_free[nearest] = False
            pairs.append((row, nearest))
    return np.array(pairs, np.int64).reshape(-1, 2)


class _Differences:
    """Gathers the largest difference, the largest magnitude and the power of each output."""

    def __init__(self) -> None:
        self.incomparable: set[str] = set()
        self._absolute: dict[str, float] = {}
        self._magnitude: dict[str, float] = {}
        self._signal: dict[str, float] = {}
        self._noise: dict[str, float] = {}
        self._by_image: list[float] = []

    @property
    def worst_image(self) -> int:
        """The index of the image whose outputs differ most, relative to their magnitude."""
        return int(np.argmax(self._by_image)) if self._by_image else 0  # the first NaN, if any

    def add(self, wanted: Outputs, found: Outputs) -> None:
        """Take in the outputs of one image."""
        self._by_image.append(0.0)
        for name, values in wanted.items():
            if name not in found or found[name].shape != values.shape:
                self.incomparable.add(name)
            else:
                self._note(name, values, found[name])

    def add_rows(self, wanted: Outputs, found: Outputs, rows: NDArray[np.int64]) -> None:
        """Take in the rows of one image that both report, as (M, 2) pairs."""
        self._by_image.append(0.0)
        left, right = rows.T
        for name, values in wanted.items():
            # A row for each detection, unlike their number; keypoints may stray, and are counted.
            if values.ndim <= 1 or name == _KEYPOINTS:
                continue
            if name not in found or found[name].shape[2:] != values.shape[2:]:
                self.incomparable.add(name)
            else:
                self._note(name, values[0][left], found[name][0][right])

    def summary(self) -> tuple[OutputDifference, ...]:
        """Return a difference for each output."""
        return tuple(
            OutputDifference(
                name,
                value,
                value / max(self._magnitude[name], 1e-12),
                _decibels(self._signal[name], self._noise[name]),
            )
            for name, value in self._absolute.items()
        )

    def _note(self, name: str, wanted: NDArray[Any], found: NDArray[Any]) -> None:
        reference = wanted.astype(np.float64)
        difference = reference - found.astype(np.float64)
        largest, magnitude = _largest(difference), _largest(reference)
        # np.maximum keeps a NaN, max() may lose it.
        self._absolute[name] = float(np.maximum(self._absolute.get(name, 0.0), largest))
        self._magnitude[name] = max(self._magnitude.get(name, 0.0), magnitude)
        self._signal[name] = self._signal.get(name, 0.0) + float(np.square(reference).sum())
        self._noise[name] = self._noise.get(name, 0.0) + float(np.square(difference).sum())
        relative = largest / max(magnitude, 1e-12)
        self._by_image[-1] = float(np.maximum(self._by_image[-1], relative))


def _decibels(signal: float, noise: float) -> float | None:
    ratio = signal / noise if noise > 0 else 0.0
    return 10 * math.log10(ratio) if 0 < ratio < math.inf else None


def _largest(values: NDArray[Any]) -> float:
    return float(np.abs(values).max(initial=0.0))
