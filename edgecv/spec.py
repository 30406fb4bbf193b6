"""ModelSpec: the one description that travels with a model, in ONNX metadata and beside engines.

It says what a frame must become before the network and what the network's outputs mean after it,
so that nothing about pre- or post-processing is configured a second time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from edgecv.errors import SpecError
from edgecv.output_spec import FusedOutput, OutputSpec
from edgecv.placement import Fit
from edgecv.precision import Precision
from edgecv.records import from_plain, require, to_plain

METADATA_KEY = "edgecv.spec"
SCHEMA = 1

Task = Literal["detect", "instance", "keypoints", "segment", "classify", "stylize"]
ProposalMethod = Literal["selective-search", "sliding-windows"]


@dataclass(frozen=True)
class InputSpec:
    """How a frame becomes the network's input: `(pixel * scale - mean) / std`, channel by channel.

    Args:
        name: the graph's input.
        size_hw: height and width in pixels.
        layout: order of the input's axes.
        dtype: element type of the input.
        colour: order of the channels; `gray` has one.
        mean: per channel, in the units of `pixel * scale`, in the order of `colour`.
        std: per channel, positive.
        scale: factor on the pixel value 0..255, positive.
        fit: how the frame is fitted into `size_hw`, see `edgecv.placement.Placement.of`.
        pad: pixel value 0..255 of the bars that `letterbox` and `top-left` leave.

    """

    name: str
    size_hw: tuple[int, int]
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    fit: Fit = "letterbox"
    pad: int = 114

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        channels = 1 if self.colour == "gray" else 3
        require(min(self.size_hw) >= 1, "input.size_hw", "be at least 1 x 1", self.size_hw)
        for key in ("mean", "std"):
            values = getattr(self, key)
            rule = f"have {channels} entries for colour {self.colour}"
            require(len(values) == channels, f"input.{key}", rule, values)
        require(min(self.std) > 0, "input.std", "be positive", self.std)
        require(self.scale > 0, "input.scale", "be positive", self.scale)
        require(0 <= self.pad <= 255, "input.pad", "be in 0..255", self.pad)  # noqa: PLR2004


@dataclass(frozen=True)
class ProposalsSpec:
    """A second input [B, `count`, 4] float32: the regions of each image that the network looks at.

    Rows are xyxy in input pixels, best first; rows of zeros are no region.

    Args:
        name: the graph's input.
        count: rows an image.
        method: how regions are made where the caller brings none, None for not at all; see
            `edgecv.proposals`.

    """

    name: str = "proposals"
    count: int = 300
    method: ProposalMethod | None = None

    def __post_init__(self) -> None:
        """Refuse an input without rows."""
        require(self.count >= 1, "proposals.count", "be at least 1", self.count)


_FORMATS_OF_TASK: dict[str, tuple[str, ...]] = {
    "detect": ("fused", "ssd", "yolo", "yolox", "nanodet", "detr", "rows", "objects"),
    "instance": ("fused",),
    "keypoints": ("fused",),
    "segment": ("logits", "probabilities", "class-map"),
    "classify": ("logits", "probabilities"),
    "stylize": ("image",),
}


@dataclass(frozen=True)
class PostprocessSpec:
    """Defaults of the suppression; a caller may override each.

    Args:
        score_threshold: a detection's score exceeds it, in [0, 1].
        iou_threshold: of two boxes of a class that overlap more, the better stays, in [0, 1].
        max_detections: at most so many a frame, the best.
        class_agnostic: boxes suppress those of other classes too.
        multi_label: a location may report several classes, not its best alone. SSD and `fused`
            heads always do.

    """

    score_threshold: float = 0.25
    iou_threshold: float = 0.45
    max_detections: int = 100
    class_agnostic: bool = False
    multi_label: bool = False

    def __post_init__(self) -> None:
        """Refuse thresholds that no score can meet and a limit below one."""
        for key in ("score_threshold", "iou_threshold"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"postprocess.{key}", "be in [0, 1]", value)
        rule = "be at least 1"
        require(self.max_detections >= 1, "postprocess.max_detections", rule, self.max_detections)


@dataclass(frozen=True)
class Provenance:
    """Where a model came from and what was measured of it; nothing here changes a result.

    Args:
        model: the model's name, or the file that was adopted.
        data: what it was trained on.
        precision: what the graph computes with.
        metrics: what was measured, by name.
        versions: of Python and the packages that made it.
        git_revision: of the folder in which it was made.

    """

    model: str = ""
    data: str = ""
    precision: Precision = "fp32"
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    git_revision: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """Everything that is needed to run a model, see the classes of its fields.

    Args:
        task: what it does.
        classes: the names of what it tells apart, in the order of the class ids.
        input: how a frame becomes its input.
        output: what its outputs mean.
        postprocess: defaults of the suppression.
        provenance: where it came from.
        proposals: a second input, None where the network finds its regions itself.
        keypoints: the names of the J points that it finds of every object in task `keypoints`.
        skeleton: pairs of rows of `keypoints` between which a limb is drawn.

    Raises:
        SpecError: if two values contradict each other; the message names the key.

    """

    task: Task
    classes: tuple[str, ...]
    input: InputSpec
    output: OutputSpec
    postprocess: PostprocessSpec = field(default_factory=PostprocessSpec)
    provenance: Provenance = field(default_factory=Provenance)
    proposals: ProposalsSpec | None = None
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a task, classes and an output that do not belong together."""
        formats = _FORMATS_OF_TASK[self.task]
        rule = f"be one of {', '.join(formats)} for task {self.task}"
        require(self.output.FORMAT in formats, "output.format", rule, self.output.FORMAT)
        if self.task == "stylize":
            require(not self.classes, "classes", "be empty for task stylize", self.classes)
        else:
            require(bool(self.classes), "classes", f"not be empty for task {self.task}", [])
        if self.task == "segment":
            rule = "be letterbox, top-left or stretch for task segment"
            require(self.input.fit != "centre-crop", "input.fit", rule, self.input.fit)
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        require(not twice, "classes", "hold each name once", twice)
        if isinstance(self.output, FusedOutput):
            has_masks = self.output.masks is not None
            rule = "name an output for task instance and be null for every other"
            require(has_masks == (self.task == "instance"), "output.masks", rule, has_masks)
            has_keypoints = self.output.keypoints is not None
            rule = "name an output for task keypoints and be null for every other"
            is_right = has_keypoints == (self.task == "keypoints")
            require(is_right, "output.keypoints", rule, has_keypoints)
        self._refuse_keypoints()

    def _refuse_keypoints(self) -> None:
        """Refuse names of keypoints that do not suit the task, and limbs between none of them."""
        is_right = bool(self.keypoints) == (self.task == "keypoints")
        rule = "name points for task keypoints and be empty for every other"
        require(is_right, "keypoints", rule, self.keypoints)
        twice = sorted({name for name in self.keypoints if self.keypoints.count(name) > 1})
        require(not twice, "keypoints", "hold each name once", twice)
        ends = range(len(self.keypoints))
        wrong = [limb for limb in self.skeleton if not all(end in ends for end in limb)]
        require(not wrong, "skeleton", "join rows of `keypoints`", wrong)

    def with_postprocess(
        self,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
    ) -> "ModelSpec":
        """Return the same model with other thresholds; what is None stays."""
        wanted = {
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "max_detections": max_detections,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return replace(self, postprocess=replace(self.postprocess, **given))  # type: ignore[arg-type]

    def to_json(self) -> str:
        """Return the description as JSON text, the value of the metadata key `METADATA_KEY`.

        Raises:
            SpecError: if a number is infinite or NaN, which JSON cannot hold.

        """
        plain = {"schema": SCHEMA, **to_plain(self)}
        try:
            return json.dumps(plain, ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise SpecError(f"every number of a description must be finite: {error}.") from error

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Return the model that `text` describes.

        Raises:
            SpecError: if `text` is not JSON, of a newer schema, has unknown or missing keys, or
                contradicts itself; the message names the key and the remedy.

        """
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:  # also too many digits, too deep a nesting
            raise SpecError(
                f"the model description is not JSON: {error}. Export the model again."
            ) from error
        if not isinstance(plain, dict):
            raise SpecError("the model description is not a JSON object. Export the model again.")
        _check_schema(plain.pop("schema", None))
        return from_plain(cls, plain, where="")

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, path: object) -> "ModelSpec":
        """Return the description in a model file's metadata.

        Args:
            metadata: the file's key-value pairs.
            path: the file, for messages.

        Raises:
            SpecError: if there is none, or it is refused by `from_json`.

        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise SpecError(
                f"`{path}` carries no edgecv description (metadata key `{METADATA_KEY}`). "
                "Give it one with `edgecv adopt MODEL.onnx --classes ... -o OUT.onnx`."
            )
        try:
            return cls.from_json(text)
        except SpecError as error:
            raise SpecError(f"`{path}`: {error}") from error


def _check_schema(schema: Any) -> None:  # noqa: ANN401  # parsed JSON
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise SpecError(
            f"`schema` is {schema}, this edgecv reads up to {SCHEMA}. "
            "Update it with `pip install --upgrade edgecv`."
        )
    require(schema == SCHEMA and schema is not True, "schema", f"be {SCHEMA}", schema)
