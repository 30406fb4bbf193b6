"""Decoders of detection heads on a GPU, see `edgecv.kernels.decode`.

A batch of heads becomes detections in rows of a fixed number per image, `EdgeNmsOutput`; nothing
waits for the GPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from edgecv.kernels.arguments import Side, check_at_least
from edgecv.kernels.cuda.arrays import (
    AnyDeviceArray,
    DeviceView,
    check_view,
    stream_of,
    view_of,
)
from edgecv.kernels.cuda.edge_nms import detection_arrays, threshold_of
from edgecv.kernels.cuda.native import cuda
from edgecv.kernels.cuda.workspace import workspace_for
from edgecv.kernels.head_arguments import (
    NUM_SIDES,
    Layout,
    check_levels,
    check_size,
    count_pairs,
    shape_of_head,
)
from edgecv.placement import Placement

_MAX_LEVELS = 8
_MAX_SOFTMAX_CLASSES = 2048
_BATCH_AXES = 3  # of a head with a leading axis


@dataclass(frozen=True)
class BatchSuppression:
    """Which candidates of a batch become detections, and where in the frames.

    Args:
        score_threshold: a number in [0, 1] or an array of one float32 on the GPU.
        iou_threshold: likewise.
        max_detections: K, rows per image.
        class_agnostic: whether a box suppresses those of other classes too.
        placement: how every frame lies in the input, or of the images each, (B, 4) float32 on the
            GPU: scale_x, scale_y, offset_x, offset_y; None for boxes in input pixels.
        out: (B,) int32, (B, K, 4) float32, (B, K) float32 and (B, K) int32 to fill, or None.
        workspace: see `edgecv.kernels.edge_nms`.
        stream: see `edgecv.kernels.cuda.arrays.stream_of`.

    """

    score_threshold: float | AnyDeviceArray
    iou_threshold: float | AnyDeviceArray
    max_detections: int
    class_agnostic: bool
    placement: Placement | AnyDeviceArray | None
    out: Sequence[AnyDeviceArray] | None
    workspace: AnyDeviceArray | None
    stream: object

    def check(self, function: str) -> None:
        """Refuse no rows, in the name of `function`; `run` refuses the rest."""
        check_at_least(function, "max_detections", self.max_detections, 1)

    def run(
        self,
        function: str,
        kernel: Callable[..., None],
        like: AnyDeviceArray,
        size: tuple[int, int],
        **described: Any,  # noqa: ANN401  # passed on
    ) -> Sequence[AnyDeviceArray]:
        """Enqueue a decoder and return its outputs.

        Args:
            function: for messages.
            kernel: of the native module.
            like: an array on the GPU that the others must be on too.
            size: the numbers of images and of pairs of an anchor and a class of each.
            described: the kernel's arguments that describe the head.

        """
        batch, num_pairs = size
        on = stream_of(self.stream, like)
        device = view_of(function, "head", like).device
        rows = (batch, self.max_detections)
        out, pointers = detection_arrays(function, self.out, like, rows, device, on)
        score_threshold = threshold_of(
            function, "score_threshold", self.score_threshold, device, on
        )
        iou_threshold = threshold_of(function, "iou_threshold", self.iou_threshold, device, on)
        mapping, mappings_at = self._mapping(function, batch, device, on)
        _workspace, address = workspace_for(
            function, self.workspace,
            cuda().decode_workspace_bytes(batch, num_pairs, self.max_detections),
            f"{batch} heads of {num_pairs} candidates and {self.max_detections} detections",
            like=like, stream=on,
        )  # fmt: skip
        kernel(
            **described,
            score_threshold=score_threshold[0],
            score_threshold_at=score_threshold[1],
            iou_threshold=iou_threshold[0],
            iou_threshold_at=iou_threshold[1],
            max_detections=self.max_detections,
            class_agnostic=self.class_agnostic,
            mapping=mapping,
            mappings_at=mappings_at,
            num_detections=pointers[0],
            boxes=pointers[1],
            scores=pointers[2],
            class_ids=pointers[3],
            workspace=address,
            device=device,
            stream=on,
        )
        return out

    def _mapping(
        self, function: str, batch: int, device: int, on: int
    ) -> tuple[tuple[float, ...], int]:
        """Return the mapping of all images, or the address of one for each."""
        same = (1.0, 1.0, 0.0, 0.0)
        if self.placement is None:
            return same, 0
        if isinstance(self.placement, Placement):
            return (*self.placement.scale_xy, *self.placement.offset_xy), 0
        view = check_view(
            function, "placement", self.placement, np.float32, (batch, 4), device=device, stream=on
        )
        return same, view.pointer


def decode_yolo(
    head: AnyDeviceArray,
    suppression: BatchSuppression,
    *,
    multi_label: bool,
    layout: Layout,
    reg_max: int,
    strides: Sequence[int],
    size_hw: tuple[int, int] | None,
) -> Sequence[AnyDeviceArray]:
    """Return what `EdgeNmsOutput` has, in its order."""
    function = "decode_yolo"
    suppression.check(function)
    num_box_channels = NUM_SIDES * max(reg_max, 1)
    on = stream_of(suppression.stream, head)
    view = _head(function, "head", head, f"{num_box_channels} + C", layout, on)
    batch, num_channels, count = view.size
    num_classes = num_channels - num_box_channels
    num_pairs = count_pairs(function, "head", view.view.shape, num_classes, count)
    levels = _levels(function, count, size_hw, strides) if reg_max else ([], [], [])
    return suppression.run(
        function,
        cuda().decode_yolo,
        head,
        (batch, num_pairs),
        head=view.pointer,
        is_half=view.is_half,
        channels_first=layout == "cn",
        num_images=batch,
        num_channels=num_channels,
        num_anchors=count,
        num_bins=reg_max,
        first_anchors=levels[0],
        columns=levels[1],
        strides=levels[2],
        multi_label=multi_label,
    )


def decode_ssd(
    offsets: AnyDeviceArray,
    logits: AnyDeviceArray,
    anchors_cxcywh: AnyDeviceArray,
    suppression: BatchSuppression,
    *,
    variances: tuple[float, float],
    is_sigmoid: bool,
    layout: Layout,
) -> Sequence[AnyDeviceArray]:
    """Return what `EdgeNmsOutput` has, in its order."""
    function = "decode_ssd"
    suppression.check(function)
    on = stream_of(suppression.stream, offsets)
    offset_view = _head(function, "offsets", offsets, NUM_SIDES, layout, on)
    batch, _, count = offset_view.size
    num_others, channels = (0, "C") if is_sigmoid else (1, "1 + C")
    view = _head(function, "logits", logits, channels, layout, on, like=offset_view)
    num_classes = view.size[1] - num_others
    num_pairs = count_pairs(function, "logits", view.view.shape, num_classes, count)
    if not is_sigmoid and num_classes > _MAX_SOFTMAX_CLASSES:
        raise ValueError(
            f"{function}: `logits` must have at most {_MAX_SOFTMAX_CLASSES} classes on a GPU, "
            f"got {num_classes}. Decode them on the processor."
        )
    anchors = check_view(
        function, "anchors_cxcywh", anchors_cxcywh, np.float32, (count, 4),
        device=offset_view.view.device, stream=on,
    )  # fmt: skip
    return suppression.run(
        function,
        cuda().decode_ssd,
        offsets,
        (batch, num_pairs),
        offsets=offset_view.pointer,
        logits=view.pointer,
        is_half=view.is_half,
        channels_first=layout == "cn",
        num_images=batch,
        num_logits=view.size[1],
        num_anchors=count,
        anchors_cxcywh=anchors.pointer,
        centre_variance=variances[0],
        size_variance=variances[1],
        sigmoid=is_sigmoid,
    )


@dataclass(frozen=True)
class _Head:
    """A head on a GPU: its numbers of images, channels and anchors."""

    view: DeviceView
    size: tuple[int, int, int]

    @property
    def pointer(self) -> int:
        return self.view.pointer

    @property
    def is_half(self) -> bool:
        return bool(self.view.dtype == np.float16)


def _head(
    function: str,
    name: str,
    head: AnyDeviceArray,
    num_channels: Side,
    layout: Layout,
    on: int,
    *,
    like: _Head | None = None,
) -> _Head:
    """Check a head, (channels, anchors) or the like, or a batch of them."""
    axes = view_of(function, name, head).shape
    images: tuple[Side, ...] = ("B",) if len(axes) == _BATCH_AXES else ()
    num_anchors: Side = "N"
    dtypes: Any = (np.float32, np.float16)
    device = None
    if like is not None:
        images = images and (like.size[0],)
        num_anchors, dtypes, device = like.size[2], like.view.dtype, like.view.device
    sides = shape_of_head(function, num_channels, num_anchors, layout)
    view = check_view(function, name, head, dtypes, (*images, *sides), device=device, stream=on)
    rows, columns = view.shape[-2:]
    batch = view.shape[0] if images else 1
    if like is not None and batch != like.size[0]:
        raise ValueError(
            f"{function}: `{name}` must hold as many images as the other head, {like.size[0]}, "
            f"got shape {view.shape}."
        )
    return _Head(view, (batch, rows, columns) if layout == "cn" else (batch, columns, rows))


def _levels(
    function: str, count: int, size_hw: tuple[int, int] | None, strides: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Return the first anchor, the columns and the stride of each level of a raw head."""
    size_hw = check_size(function, size_hw)
    if len(strides) > _MAX_LEVELS:
        raise ValueError(
            f"{function}: `len(strides)` must be at most {_MAX_LEVELS} on a GPU, "
            f"got {len(strides)}."
        )
    levels = check_levels(function, count, size_hw, strides)
    ends = list(accumulate(rows * columns for rows, columns in levels))
    return [0, *ends[:-1]], [columns for _, columns in levels], list(strides)
