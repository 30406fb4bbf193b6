"""The operators of detectors that an exported graph keeps whole, in PyTorch.

Run eagerly, each is a plain function of torchvision's operators and can be differentiated. While a
model is exported, each is one node, which becomes `EdgeNMS`, `EdgeRoiAlign` or `EdgeRoiPool` (see
`edgecv.export.operators.definitions`) and not the dozens that its definition would leave behind.

On a GPU a node is one of our kernels, where torchvision's operators would wait for the GPU once a
class, image or level: an exported program always runs it, a network does within `on_kernels`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor
from torchvision import ops

from edgecv import kernels

CANONICAL_LEVEL, CANONICAL_SIZE = 4, 224  # the defaults of `edgecv.kernels.roi_align_pyramid`

_on_gpu: Any = kernels  # whose arrays are tensors there
_runs_kernels: ContextVar[bool] = ContextVar("runs_kernels", default=False)


@contextmanager
def on_kernels() -> Iterator[None]:
    """Let the operators be `edgecv.kernels` for tensors on a GPU, so that they can be captured.

    Nothing is differentiated, and the module of the CUDA kernels must be there.
    """
    token = _runs_kernels.set(True)
    try:
        yield
    finally:
        _runs_kernels.reset(token)


def _is_node(x: Tensor) -> bool:
    return torch.compiler.is_exporting() or (x.is_cuda and _runs_kernels.get())


def suppress(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: float | Tensor,
    iou_threshold: float | Tensor,
    *,
    max_detections: int,
    class_agnostic: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the contract of `EdgeNMS` for a batch.

    Args:
        boxes_xyxy: [B, N, 4] float32.
        scores: [B, N, C] float32.
        score_threshold: a pair of box and class takes part if its score exceeds it.
        iou_threshold: the better of two boxes of a class that overlap more removes the other.
        max_detections: K.
        class_agnostic: a box suppresses boxes of other classes too; each takes part with its best
            class.

    Returns:
        num_detections [B] int32, boxes [B, K, 4], scores [B, K], classes [B, K] int32; rows past
        the count are 0, their class is -1.

    """
    if _is_node(boxes_xyxy):
        score_limit, iou_limit = (
            torch.as_tensor(value, dtype=torch.float32)
            for value in (score_threshold, iou_threshold)
        )
        return cast(
            "tuple[Tensor, Tensor, Tensor, Tensor]",
            _nms_node(boxes_xyxy, scores, score_limit, iou_limit, max_detections, class_agnostic),
        )
    return _suppressed(
        boxes_xyxy,
        scores,
        float(score_threshold),
        float(iou_threshold),
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )


def _suppressed(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: float,
    iou_threshold: float,
    *,
    max_detections: int,
    class_agnostic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do what `suppress` says with torchvision's operator, image by image and class by class."""
    batch, _, num_classes = scores.shape
    counts = torch.zeros(batch, dtype=torch.int32, device=scores.device)
    out_boxes = boxes_xyxy.new_zeros(batch, max_detections, 4)
    out_scores = scores.new_zeros(batch, max_detections)
    out_classes = torch.full_like(out_scores, -1, dtype=torch.int32)
    for image in range(batch):
        pair = _kept_pairs(
            boxes_xyxy[image],
            scores[image],
            score_threshold,
            iou_threshold,
            class_agnostic=class_agnostic,
        )
        best = scores[image].flatten()[pair].sort(descending=True, stable=True)
        pair = pair[best.indices[:max_detections]]
        count = len(pair)
        counts[image] = count
        out_boxes[image, :count] = boxes_xyxy[image, pair // num_classes]
        out_scores[image, :count] = best.values[:count]
        out_classes[image, :count] = (pair % num_classes).int()
    return counts, out_boxes, out_scores, out_classes


def _kept_pairs(
    boxes: Tensor,
    scores: Tensor,
    score_threshold: float,
    iou_threshold: float,
    *,
    class_agnostic: bool,
) -> Tensor:
    """Return the pairs `box * num_classes + class` that survive, ascending."""
    num_classes = scores.shape[1]
    if class_agnostic:
        best, best_class = scores.max(dim=1)
        rows = torch.nonzero(best > score_threshold).flatten()
        rows = rows[ops.nms(boxes[rows], best[rows], iou_threshold)].sort().values
        return rows * num_classes + best_class[rows]
    pairs = []
    for class_id in range(num_classes):
        rows = torch.nonzero(scores[:, class_id] > score_threshold).flatten()
        kept = ops.nms(boxes[rows], scores[rows, class_id], iou_threshold)
        pairs.append(rows[kept] * num_classes + class_id)
    return torch.cat(pairs).sort().values


def align_pyramid(
    features: Sequence[Tensor],
    rois_xyxy: Tensor,
    output_size_hw: tuple[int, int],
    *,
    strides: Sequence[int],
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> Tensor:
    """Return the RoIs of each image, each aligned on the pyramid level that suits its size.

    The level is floor(4 + log2(sqrt(area) / 224) + 1e-6), clamped to the levels given: level k is
    the one of stride 2**k, as in `torchvision.ops.MultiScaleRoIAlign`.

    Args:
        features: [B, C, Hi, Wi] each, finest first.
        rois_xyxy: [B, R, 4] float32 in input pixels.
        output_size_hw: h and w, the number of bins.
        strides: input pixels per cell of each map, powers of two, each twice the one before.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin is cells long.
        aligned: see `edgecv.kernels.roi_align`.

    Returns:
        [B, R, C, h, w].

    Source:
        Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, equation 1.

    """
    if _is_node(rois_xyxy):
        return cast(
            "Tensor",
            _roi_align_node(
                rois_xyxy,
                list(features),
                list(output_size_hw),
                [1 / stride for stride in strides],
                sampling_ratio,
                aligned,
            ),
        )
    return _aligned(
        features,
        rois_xyxy,
        output_size_hw,
        strides=strides,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


def _aligned(
    features: Sequence[Tensor],
    rois_xyxy: Tensor,
    output_size_hw: tuple[int, int],
    *,
    strides: Sequence[int],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Do what `align_pyramid` says with torchvision's operator, level by level."""
    batch, num_rois = rois_xyxy.shape[:2]
    pooled = align_pyramid_rows(
        features,
        rois_xyxy.flatten(0, 1),
        _image_of_each(batch, num_rois, rois_xyxy.device),
        output_size_hw,
        strides=strides,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    return pooled.view(batch, num_rois, *pooled.shape[1:])


def align_pyramid_rows(
    features: Sequence[Tensor],
    rois_xyxy: Tensor,
    batch_ids: Tensor,
    output_size_hw: tuple[int, int],
    *,
    strides: Sequence[int],
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> Tensor:
    """Return what `align_pyramid` does, for images that have different numbers of RoIs.

    Args:
        features: see `align_pyramid`.
        rois_xyxy: [M, 4] float32.
        batch_ids: [M] int64, the image of each.
        output_size_hw: see `align_pyramid`.
        strides: see `align_pyramid`.
        sampling_ratio: see `align_pyramid`.
        aligned: see `align_pyramid`.

    Returns:
        [M, C, h, w], differentiable in the features.

    """
    levels = pyramid_levels(rois_xyxy, strides)
    rows = torch.cat([batch_ids[:, None].to(rois_xyxy.dtype), rois_xyxy], dim=1)
    pooled = features[0].new_zeros(len(rows), features[0].shape[1], *output_size_hw)
    for level, (x, stride) in enumerate(zip(features, strides, strict=True)):
        here = torch.nonzero(levels == level).flatten()
        found = ops.roi_align(
            x,
            rows[here],
            output_size_hw,
            spatial_scale=1 / stride,
            sampling_ratio=sampling_ratio,
            aligned=aligned,
        )
        pooled[here] = found.to(pooled.dtype)
    return pooled


def pyramid_levels(rois_xyxy: Tensor, strides: Sequence[int]) -> Tensor:
    """Return the index among `strides` of the level of each RoI: [M, 4] float32 to [M] int64."""
    finest = strides[0].bit_length() - 1
    size = ops.box_area(rois_xyxy).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(size / CANONICAL_SIZE) + 1e-6)
    return level.clamp(finest, finest + len(strides) - 1).long() - finest


def pool_max(
    features: Tensor, rois_xyxy: Tensor, output_size_hw: tuple[int, int], *, stride: int
) -> Tensor:
    """Return the greatest value in the bins of each RoI, see `edgecv.kernels.roi_pool`.

    Args:
        features: [B, C, H, W].
        rois_xyxy: [B, R, 4] float32 in input pixels.
        output_size_hw: h and w, the number of bins.
        stride: input pixels per cell.

    Returns:
        [B, R, C, h, w].

    """
    if _is_node(rois_xyxy):
        return cast("Tensor", _roi_pool_node(features, rois_xyxy, list(output_size_hw), 1 / stride))
    return _pooled(features, rois_xyxy, output_size_hw, stride=stride)


def _pooled(
    features: Tensor, rois_xyxy: Tensor, output_size_hw: tuple[int, int], *, stride: int
) -> Tensor:
    """Do what `pool_max` says with torchvision's operator."""
    batch, num_rois = rois_xyxy.shape[:2]
    ids = _image_of_each(batch, num_rois, rois_xyxy.device)
    rows = torch.cat([ids[:, None].to(rois_xyxy.dtype), rois_xyxy.flatten(0, 1)], dim=1)
    pooled: Tensor = ops.roi_pool(features, rows, output_size_hw, spatial_scale=1 / stride)
    return pooled.view(batch, num_rois, *pooled.shape[1:])


def _image_of_each(batch: int, num_rois: int, device: torch.device) -> Tensor:
    return torch.arange(batch, device=device).repeat_interleave(num_rois)


# The nodes. The functions above call them where the exporter looks at shapes, for which the fake
# implementations stand, and within `on_kernels`; exported programs call them always.


@torch.library.custom_op("edgecv::nms", mutates_args=())
def _nms_node(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: Tensor,
    iou_threshold: Tensor,
    max_detections: int,
    class_agnostic: bool,  # noqa: FBT001  # a schema has no keywords
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _suppressed(
        boxes_xyxy,
        scores,
        float(score_threshold),
        float(iou_threshold),
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )


@_nms_node.register_kernel("cuda")
def _nms_on_gpu(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: Tensor,
    iou_threshold: Tensor,
    max_detections: int,
    class_agnostic: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = _on_gpu.edge_nms(
        boxes_xyxy.float().contiguous(),
        scores.contiguous(),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
        layout="nc",
    )
    return found.num_detections, found.boxes, found.scores, found.class_ids


@_nms_node.register_fake
def _(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: Tensor,  # noqa: ARG001
    iou_threshold: Tensor,  # noqa: ARG001
    max_detections: int,
    class_agnostic: bool,  # noqa: ARG001, FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch = boxes_xyxy.shape[0]
    return (
        boxes_xyxy.new_empty(batch, dtype=torch.int32),
        boxes_xyxy.new_empty(batch, max_detections, 4),
        scores.new_empty(batch, max_detections),
        boxes_xyxy.new_empty(batch, max_detections, dtype=torch.int32),
    )


@torch.library.custom_op("edgecv::roi_align", mutates_args=())
def _roi_align_node(
    rois_xyxy: Tensor,
    features: list[Tensor],
    output_size_hw: list[int],
    spatial_scales: list[float],
    sampling_ratio: int,
    aligned: bool,  # noqa: FBT001
) -> Tensor:
    height, width = output_size_hw
    return _aligned(
        features,
        rois_xyxy,
        (height, width),
        strides=[round(1 / scale) for scale in spatial_scales],
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


@_roi_align_node.register_kernel("cuda")
def _align_on_gpu(
    rois_xyxy: Tensor,
    features: list[Tensor],
    output_size_hw: list[int],
    spatial_scales: list[float],
    sampling_ratio: int,
    aligned: bool,  # noqa: FBT001
) -> Tensor:
    height, width = output_size_hw
    batch, num_rois = rois_xyxy.shape[:2]
    pooled: Tensor = _on_gpu.roi_align_pyramid(
        [x.contiguous() for x in features],
        rois_xyxy.flatten(0, 1).contiguous(),
        (height, width),
        spatial_scales=spatial_scales,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        batch_ids=_image_of_each(batch, num_rois, rois_xyxy.device).int(),
    )
    return pooled.view(batch, num_rois, *pooled.shape[1:])


@_roi_align_node.register_fake
def _(
    rois_xyxy: Tensor,
    features: list[Tensor],
    output_size_hw: list[int],
    spatial_scales: list[float],  # noqa: ARG001
    sampling_ratio: int,  # noqa: ARG001
    aligned: bool,  # noqa: ARG001, FBT001
) -> Tensor:
    return features[0].new_empty(*rois_xyxy.shape[:2], features[0].shape[1], *output_size_hw)


@torch.library.custom_op("edgecv::roi_pool", mutates_args=())
def _roi_pool_node(
    features: Tensor, rois_xyxy: Tensor, output_size_hw: list[int], spatial_scale: float
) -> Tensor:
    height, width = output_size_hw
    return _pooled(features, rois_xyxy, (height, width), stride=round(1 / spatial_scale))


@_roi_pool_node.register_kernel("cuda")
def _pool_on_gpu(
    features: Tensor, rois_xyxy: Tensor, output_size_hw: list[int], spatial_scale: float
) -> Tensor:
    height, width = output_size_hw
    batch, num_rois = rois_xyxy.shape[:2]
    pooled: Tensor = _on_gpu.roi_pool(
        features.contiguous(),
        rois_xyxy.flatten(0, 1).contiguous(),
        (height, width),
        spatial_scale=spatial_scale,
        batch_ids=_image_of_each(batch, num_rois, rois_xyxy.device).int(),
    )
    return pooled.view(batch, num_rois, *pooled.shape[1:])


@_roi_pool_node.register_fake
def _(
    features: Tensor,
    rois_xyxy: Tensor,
    output_size_hw: list[int],
    spatial_scale: float,  # noqa: ARG001
) -> Tensor:
    return features.new_empty(*rois_xyxy.shape[:2], features.shape[1], *output_size_hw)
