"""The definition of what is pooled from the bins of regions of interest."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_FAR_CELLS = 2.0**30


def roi_align(
    features: Floats,
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    batch_ids: Ints | None = None,
) -> Array:
    """Average the samples of each bin, one by one."""
    maps = _batch(features).astype(np.float64)
    bins_y, bins_x = output_size_hw
    out = np.zeros((len(rois_xyxy), maps.shape[1], bins_y, bins_x))
    for roi, box in enumerate(rois_xyxy.astype(np.float64)):
        x1, y1, x2, y2 = box * spatial_scale - (0.5 if aligned else 0.0)
        if not all(abs(corner) < _FAR_CELLS for corner in (x1, y1, x2, y2)):
            continue
        image = maps[0 if batch_ids is None else batch_ids[roi]]
        rows = _samples(y1, y2, bins_y, sampling_ratio, aligned=aligned)
        columns = _samples(x1, x2, bins_x, sampling_ratio, aligned=aligned)
        for i, ys in enumerate(rows):
            for j, xs in enumerate(columns):
                values = [_bilinear(image, y, x) for y in ys for x in xs]
                if values:
                    out[roi, :, i, j] = np.mean(values, axis=0)
    return out


def roi_align_pyramid(
    features: Sequence[Floats],
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 0,
    aligned: bool = True,
    canonical_size: float = 224,
    canonical_level: int = 4,
    batch_ids: Ints | None = None,
) -> Array:
    """Align each RoI on its level."""
    out = np.zeros((len(rois_xyxy), features[0].shape[-3], *output_size_hw))
    strides = [round(1 / scale) for scale in spatial_scales]
    for roi, (x1, y1, x2, y2) in enumerate(rois_xyxy.astype(np.float64)):
        area = (x2 - x1) * (y2 - y1)
        if not area >= 0:
            continue
        stride = 0.0
        if area > 0:
            octaves = math.log2(math.sqrt(area) / canonical_size) + 1e-6
            stride = 2.0 ** math.floor(canonical_level + octaves)
        level = strides.index(round(min(max(stride, strides[0]), strides[-1])))
        out[roi] = roi_align(
            features[level],
            rois_xyxy[roi : roi + 1],
            output_size_hw,
            spatial_scale=spatial_scales[level],
            sampling_ratio=sampling_ratio,
            aligned=aligned,
            batch_ids=None if batch_ids is None else batch_ids[roi : roi + 1],
        )[0]
    return out


def roi_pool(
    features: Floats,
    rois_xyxy: Floats,
    output_size_hw: tuple[int, int],
    *,
    spatial_scale: float,
    batch_ids: Ints | None = None,
) -> Array:
    """Take the greatest value of each bin; rounding to cells is in float32, as part of the rule."""
    maps = _batch(features).astype(np.float64)
    lowest = float(np.finfo(np.float32).min)
    out = np.zeros((len(rois_xyxy), maps.shape[1], *output_size_hw))
    for roi, box in enumerate(rois_xyxy * np.float32(spatial_scale)):
        if not (abs(box) < _FAR_CELLS).all():
            continue
        image = maps[0 if batch_ids is None else batch_ids[roi]]
        x1, y1, x2, y2 = (int(math.copysign(math.floor(abs(float(v)) + 0.5), v)) for v in box)
        for i, rows in enumerate(_cells(y1, y2, output_size_hw[0], image.shape[1])):
            for j, columns in enumerate(_cells(x1, x2, output_size_hw[1], image.shape[2])):
                values = image[:, rows, columns].reshape(len(image), -1)
                if values.shape[1]:
                    values = np.where(np.isnan(values), lowest, values)
                    out[roi, :, i, j] = np.maximum(values.max(axis=1), lowest)
    return out


def _batch(features: Floats) -> Floats:
    return features.reshape(-1, *features.shape[-3:])


def _samples(
    start: float, end: float, num_bins: int, sampling_ratio: int, *, aligned: bool
) -> list[list[float]]:
    """Return the positions of the samples of every bin along one axis, in cells."""
    size = end - start if aligned else max(end - start, 1.0)
    bin_size = size / num_bins
    count = sampling_ratio or max(math.ceil(bin_size), 0)
    return [
        [start + bin_size * (b + (i + 0.5) / count) for i in range(count)] for b in range(num_bins)
    ]


def _bilinear(image: Array, y: float, x: float) -> Array:
    """Return the value of every channel at a point: a hat around it on each axis."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(image))
    rows = np.maximum(0.0, 1.0 - np.abs(min(max(y, 0.0), height - 1) - np.arange(height)))
    columns = np.maximum(0.0, 1.0 - np.abs(min(max(x, 0.0), width - 1) - np.arange(width)))
    return np.asarray(image @ columns @ rows)


def _cells(first: int, last: int, num_bins: int, num_cells: int) -> list[slice]:
    """Return the cells of every bin along one axis, within the map."""
    bin_size = np.float32(max(last - first + 1, 1)) / np.float32(num_bins)
    edges = [
        (
            first + math.floor(np.float32(b) * bin_size),
            first + math.ceil(np.float32(b + 1) * bin_size),
        )
        for b in range(num_bins)
    ]
    return [slice(max(low, 0), max(min(high, num_cells), 0)) for low, high in edges]
