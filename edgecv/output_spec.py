"""What a model's outputs mean: a dataclass per format, told apart by `FORMAT`."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from edgecv.records import require


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
        require(min(self.grid_hw) >= 1, "anchors.grid_hw", "be at least 1 x 1", self.grid_hw)
        flat = [side for shape in self.shapes_wh for side in shape]
        rule = "hold at least one shape of positive sides"
        require(bool(flat) and min(flat) > 0, "anchors.shapes_wh", rule, self.shapes_wh)


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
        require(bool(self.anchors), "output.anchors", "hold at least one layer", self.anchors)
        require(min(self.variances) > 0, "output.variances", "be positive", self.variances)


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
        has_objectness: whether the probability of any object stands before those of the classes,
            5 + C columns, and a score is their product: YOLOv3 to v7, and YOLOX once decoded.

    """

    FORMAT: ClassVar[str] = "yolo"
    head: str = "output0"
    layout: Literal["cn", "nc"] = "cn"
    reg_max: int = 0
    strides: tuple[int, ...] = (8, 16, 32)
    has_objectness: bool = False

    def __post_init__(self) -> None:
        """Refuse negative bins, strides that are no strides and a raw head with objectness."""
        require(self.reg_max >= 0, "output.reg_max", "be 0 or more", self.reg_max)
        _check_strides(self.strides)
        rule = "be false for a head with `reg_max`"
        is_known = not (self.has_objectness and self.reg_max)
        require(is_known, "output.has_objectness", rule, self.has_objectness)


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
        require(self.reg_max >= 1, "output.reg_max", "be 1 or more", self.reg_max)
        _check_strides(self.strides)


@dataclass(frozen=True)
class DetrOutput:
    """DETR heads (Carion et al. 2020): a set of queries, no suppression.

    Args:
        logits: output [B, Q, C] (`sigmoid`, `none`) or [B, Q, C + 1] with no-object last
            (`softmax`).
        boxes: output [B, Q, 4], cx, cy, w, h as fractions of the input. Where `logits` names the
            same output, that is [B, Q, 4 + C], the boxes first.
        activation: how logits become scores; `none` where they are probabilities already.

    """

    FORMAT: ClassVar[str] = "detr"
    logits: str = "logits"
    boxes: str = "pred_boxes"
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"


@dataclass(frozen=True)
class RowsOutput:
    """What is left after the graph's own selection, a row an object, as YOLOv10 has it.

    Args:
        rows: output [B, K, 6]: x1, y1, x2, y2 in input pixels, score, class id, in any order of
            rows; those past the last object have score 0.

    """

    FORMAT: ClassVar[str] = "rows"
    rows: str = "output0"


@dataclass(frozen=True)
class ObjectsOutput:
    """The same in three outputs, as torchvision's detectors (N differs) and RT-DETR have it.

    Args:
        boxes: output [N, 4] or [1, N, 4], xyxy in input pixels.
        scores: output [N] or [1, N], in any order.
        labels: output [N] or [1, N] of whole numbers.
        first_label: the label of the first class; 1 where 0 is the background.

    """

    FORMAT: ClassVar[str] = "objects"
    boxes: str = "boxes"
    scores: str = "scores"
    labels: str = "labels"
    first_label: int = 0

    def __post_init__(self) -> None:
        """Refuse a label that stands for nothing."""
        require(self.first_label >= 0, "output.first_label", "be 0 or more", self.first_label)


@dataclass(frozen=True)
class LogitsOutput:
    """Scores before softmax: [B, C] of task `classify`, [B, C, h, w] of task `segment`.

    With two classes task `segment` may have one plane, [B, 1, h, w]: the score before sigmoid of
    the second class.
    """

    FORMAT: ClassVar[str] = "logits"
    logits: str = "logits"


@dataclass(frozen=True)
class ProbabilitiesOutput:
    """Scores after softmax: [B, C] of task `classify`, [B, C, h, w] of task `segment`.

    With two classes task `segment` may have one plane, [B, 1, h, w]: the score after sigmoid of
    the second class.
    """

    FORMAT: ClassVar[str] = "probabilities"
    probabilities: str = "probabilities"


@dataclass(frozen=True)
class ClassMapOutput:
    """The class of each pixel, found in the graph (`ArgMax`).

    Args:
        labels: output [B, h, w] or [B, 1, h, w] of any integer type, 0..C-1, at any fraction of
            the input's size.

    """

    FORMAT: ClassVar[str] = "class-map"
    labels: str = "labels"


@dataclass(frozen=True)
class ImageOutput:
    """An image of the input's size, [B, 3, H, W]; `image * scale` is a pixel value 0..255."""

    FORMAT: ClassVar[str] = "image"
    image: str = "image"
    scale: float = 255.0

    def __post_init__(self) -> None:
        """Refuse a scale that makes no picture."""
        require(self.scale > 0, "output.scale", "be positive", self.scale)


OutputSpec: TypeAlias = (
    FusedOutput
    | SSDOutput
    | YoloOutput
    | YoloxOutput
    | NanodetOutput
    | DetrOutput
    | RowsOutput
    | ObjectsOutput
    | LogitsOutput
    | ProbabilitiesOutput
    | ClassMapOutput
    | ImageOutput
)


def _check_strides(strides: tuple[int, ...]) -> None:
    require(bool(strides) and min(strides) >= 1, "output.strides", "be positive", strides)
