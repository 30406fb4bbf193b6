"""ModelSpec: the one description that travels with a model, in ONNX metadata and beside engines.

It says what a frame must become before the network and what the network's outputs mean after it,
so that nothing about pre- or post-processing is configured a second time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias

from edgecv.errors import SpecError
from edgecv.placement import Fit
from edgecv.records import from_plain, to_plain

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
        _require(min(self.size_hw) >= 1, "input.size_hw", "be at least 1 x 1", self.size_hw)
        for key in ("mean", "std"):
            values = getattr(self, key)
            rule = f"have {channels} entries for colour {self.colour}"
            _require(len(values) == channels, f"input.{key}", rule, values)
        _require(min(self.std) > 0, "input.std", "be positive", self.std)
        _require(self.scale > 0, "input.scale", "be positive", self.scale)
        _require(0 <= self.pad <= 255, "input.pad", "be in 0..255", self.pad)  # noqa: PLR2004


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
        _require(self.count >= 1, "proposals.count", "be at least 1", self.count)


@dataclass(frozen=True)
class AnchorLayer:
    """Anchors of one feature map: every shape, centred in every cell of the grid.

    Args:
        grid_hw: rows and columns of the feature map.
        shapes_wh: width and height of each anchor as fractions of the input's width and height.

    """

    grid_hw: tuple[int, int]
    shapes_wh: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuse an empty grid and shapes without area."""
        _require(min(self.grid_hw) >= 1, "anchors.grid_hw", "be at least 1 x 1", self.grid_hw)
        flat = [side for shape in self.shapes_wh for side in shape]
        rule = "hold at least one shape of positive sides"
        _require(bool(flat) and min(flat) > 0, "anchors.shapes_wh", rule, self.shapes_wh)


@dataclass(frozen=True)
class FusedOutput:
    """The graph suppresses by itself (`EdgeNMS`): K rows an image, the first `num` of them valid.

    Args:
        num_detections: output [B] int32.
        boxes: output [B, K, 4] float32, xyxy in input pixels.
        scores: output [B, K] float32, descending.
        classes: output [B, K] int32; -1 past the count.
        score_threshold: scalar float32 input with a default, None where the graph fixes it.
        iou_threshold: likewise.
        masks: output [B, K, h, w] of task `instance`, None in any other.
        keypoints: output [B, K, J, 3] of task `keypoints`: x and y in input pixels and a score,
            the J points in the order of the model's `keypoints`; None in any other task.

    """

    FORMAT: ClassVar[str] = "fused"
    num_detections: str = "num_detections"
    boxes: str = "boxes"
    scores: str = "scores"
    classes: str = "classes"
    score_threshold: str | None = "score_threshold"
    iou_threshold: str | None = "iou_threshold"
    masks: str | None = None
    keypoints: str | None = None


@dataclass(frozen=True)
class SSDOutput:
    """Raw heads over anchors, as SSD (Liu et al. 2016) and RetinaNet (Lin et al. 2017) have them.

    Args:
        offsets: output [B, N, 4], dx, dy, dw, dh.
        logits: output [B, N, 1 + C], the background first (`softmax`), or [B, N, C] (`sigmoid`).
        anchors: the feature maps in the order of the N rows; cells row by row, then shapes.
        variances: factors of the centre and of the size offsets.
        activation: how logits become scores.

    """

    FORMAT: ClassVar[str] = "ssd"
    anchors: tuple[AnchorLayer, ...]
    offsets: str = "offsets"
    logits: str = "logits"
    variances: tuple[float, float] = (0.1, 0.2)
    activation: Literal["softmax", "sigmoid"] = "softmax"

    def __post_init__(self) -> None:
        """Refuse a head without anchors and variances that cannot be divided by."""
        _require(bool(self.anchors), "output.anchors", "hold at least one layer", self.anchors)
        _require(min(self.variances) > 0, "output.variances", "be positive", self.variances)


@dataclass(frozen=True)
class YoloOutput:
    """Anchor-free YOLO head in one tensor.

    Args:
        head: output [B, 4 + C, N] (`cn`) or [B, N, 4 + C] (`nc`): cx, cy, w, h in input pixels
            and probabilities; with `reg_max` R > 0 the raw head, 4R + C, whose distances are
            distributions over R bins (Li et al. 2020) and whose classes are logits.
        layout: order of the last two axes.
        reg_max: bins a distance, 0 for boxes that are already decoded.
        strides: input pixels per cell of each level, used with `reg_max`.

    """

    FORMAT: ClassVar[str] = "yolo"
    head: str = "output0"
    layout: Literal["cn", "nc"] = "cn"
    reg_max: int = 0
    strides: tuple[int, ...] = (8, 16, 32)

    def __post_init__(self) -> None:
        """Refuse negative bins and strides that are no strides."""
        _require(self.reg_max >= 0, "output.reg_max", "be 0 or more", self.reg_max)
        _check_strides(self.strides)


@dataclass(frozen=True)
class YoloxOutput:
    """YOLOX head (Ge et al. 2021), grid offsets not yet applied.

    Args:
        head: output [B, N, 5 + C]: x, y, log w, log h, objectness, class probabilities.
        strides: input pixels per cell of each level, in the order of the N rows.

    """

    FORMAT: ClassVar[str] = "yolox"
    head: str = "output"
    strides: tuple[int, ...] = (8, 16, 32)

    def __post_init__(self) -> None:
        """Refuse strides that are no strides."""
        _check_strides(self.strides)


@dataclass(frozen=True)
class NanodetOutput:
    """NanoDet-Plus head: class probabilities, then distributions of the four distances.

    Args:
        head: output [B, N, C + 4 * (reg_max + 1)].
        strides: input pixels per cell of each level, in the order of the N rows.
        reg_max: the largest distance in strides; a distance has reg_max + 1 bins.

    """

    FORMAT: ClassVar[str] = "nanodet"
    head: str = "output"
    strides: tuple[int, ...] = (8, 16, 32, 64)
    reg_max: int = 7

    def __post_init__(self) -> None:
        """Refuse a head without bins and strides that are no strides."""
        _require(self.reg_max >= 1, "output.reg_max", "be 1 or more", self.reg_max)
        _check_strides(self.strides)


@dataclass(frozen=True)
class DetrOutput:
    """DETR heads (Carion et al. 2020): a set of queries, no suppression.

    Args:
        logits: output [B, Q, C] (`sigmoid`) or [B, Q, C + 1] with no-object last (`softmax`).
        boxes: output [B, Q, 4], cx, cy, w, h as fractions of the input.
        activation: how logits become scores.

    """

    FORMAT: ClassVar[str] = "detr"
    logits: str = "logits"
    boxes: str = "pred_boxes"
    activation: Literal["softmax", "sigmoid"] = "softmax"


@dataclass(frozen=True)
class LogitsOutput:
    """Scores before softmax: [B, C] of task `classify`, [B, C, h, w] of task `segment`."""

    FORMAT: ClassVar[str] = "logits"
    logits: str = "logits"


@dataclass(frozen=True)
class ProbabilitiesOutput:
    """Scores after softmax: [B, C] of task `classify`, [B, C, h, w] of task `segment`."""

    FORMAT: ClassVar[str] = "probabilities"
    probabilities: str = "probabilities"


@dataclass(frozen=True)
class ImageOutput:
    """An image of the input's size, [B, 3, H, W]; `image * scale` is a pixel value 0..255."""

    FORMAT: ClassVar[str] = "image"
    image: str = "image"
    scale: float = 255.0

    def __post_init__(self) -> None:
        """Refuse a scale that makes no picture."""
        _require(self.scale > 0, "output.scale", "be positive", self.scale)


OutputSpec: TypeAlias = (
    FusedOutput
    | SSDOutput
    | YoloOutput
    | YoloxOutput
    | NanodetOutput
    | DetrOutput
    | LogitsOutput
    | ProbabilitiesOutput
    | ImageOutput
)

_FORMATS_OF_TASK: dict[str, tuple[str, ...]] = {
    "detect": ("fused", "ssd", "yolo", "yolox", "nanodet", "detr"),
    "instance": ("fused",),
    "keypoints": ("fused",),
    "segment": ("logits", "probabilities"),
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
            _require(0 <= value <= 1, f"postprocess.{key}", "be in [0, 1]", value)
        rule = "be at least 1"
        _require(self.max_detections >= 1, "postprocess.max_detections", rule, self.max_detections)


@dataclass(frozen=True)
class Provenance:
    """Where a model came from and what was measured of it; nothing here changes a result."""

    model: str = ""
    data: str = ""
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
        _require(self.output.FORMAT in formats, "output.format", rule, self.output.FORMAT)
        if self.task == "stylize":
            _require(not self.classes, "classes", "be empty for task stylize", self.classes)
        else:
            _require(bool(self.classes), "classes", f"not be empty for task {self.task}", [])
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        _require(not twice, "classes", "hold each name once", twice)
        if isinstance(self.output, FusedOutput):
            has_masks = self.output.masks is not None
            rule = "name an output for task instance and be null for every other"
            _require(has_masks == (self.task == "instance"), "output.masks", rule, has_masks)
            has_keypoints = self.output.keypoints is not None
            rule = "name an output for task keypoints and be null for every other"
            is_right = has_keypoints == (self.task == "keypoints")
            _require(is_right, "output.keypoints", rule, has_keypoints)
        self._refuse_keypoints()

    def _refuse_keypoints(self) -> None:
        """Refuse names of keypoints that do not suit the task, and limbs between none of them."""
        is_right = bool(self.keypoints) == (self.task == "keypoints")
        rule = "name points for task keypoints and be empty for every other"
        _require(is_right, "keypoints", rule, self.keypoints)
        twice = sorted({name for name in self.keypoints if self.keypoints.count(name) > 1})
        _require(not twice, "keypoints", "hold each name once", twice)
        ends = range(len(self.keypoints))
        wrong = [limb for limb in self.skeleton if not all(end in ends for end in limb)]
        _require(not wrong, "skeleton", "join rows of `keypoints`", wrong)

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
                "Give it one with `edgecv adopt MODEL.onnx --format ... --classes ... -o OUT.onnx`."
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
    _require(schema == SCHEMA and schema is not True, "schema", f"be {SCHEMA}", schema)


def _check_strides(strides: tuple[int, ...]) -> None:
    _require(bool(strides) and min(strides) >= 1, "output.strides", "be positive", strides)


def _require(holds: bool, key: str, rule: str, value: object) -> None:  # noqa: FBT001
    if not holds:
        raise SpecError(f"`{key}` must {rule}, got {value!r}.")
