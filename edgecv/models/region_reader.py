"""How the bins of a region are read from feature maps: RoI align or RoI max pooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import roi_pool

from edgecv.models.operators import align_pyramid, align_pyramid_rows, pool_max, pyramid_levels

RoiOperator = Literal["align", "pool"]


@dataclass(frozen=True)
class RegionReader:
    """Reads each region from the map that suits its size, see `operators.align_pyramid`.

    Args:
        strides: input pixels per cell of each map, powers of two, each twice the one before.
        operator: `align` averages bilinear samples (He et al. 2017), `pool` takes the greatest
            cell of each bin (Girshick 2015).
        aligned: whether the centre of the first cell is at half a cell, for `align`.

    """

    strides: tuple[int, ...]
    operator: RoiOperator = "align"
    aligned: bool = False

    def of_images(
        self, maps: Sequence[Tensor], rois_xyxy: Tensor, size_hw: tuple[int, int]
    ) -> Tensor:
        """Return bins [B, R, C, h, w] of as many regions in each image; can be exported.

        Args:
            maps: [B, C, Hi, Wi] each, one of each stride.
            rois_xyxy: [B, R, 4] float32 in input pixels.
            size_hw: h and w, the number of bins.

        """
        if self.operator == "align":
            return align_pyramid(
                maps, rois_xyxy, size_hw, strides=self.strides, aligned=self.aligned
            )
        levels = pyramid_levels(rois_xyxy.flatten(0, 1), self.strides).view(rois_xyxy.shape[:2])
        pooled = pool_max(maps[0], rois_xyxy, size_hw, stride=self.strides[0])
        for level in range(1, len(maps)):
            # Every map pools every row, or shapes would hang on the data; a row that is not of
            # this level is an empty region, a cell a bin, which costs next to nothing.
            is_here = levels == level
            rows = rois_xyxy * is_here[..., None]
            found = pool_max(maps[level], rows, size_hw, stride=self.strides[level])
            pooled = torch.where(is_here[..., None, None, None], found, pooled)
        return pooled

    def of_rows(
        self,
        maps: Sequence[Tensor],
        rois_xyxy: Tensor,
        batch_ids: Tensor,
        size_hw: tuple[int, int],
    ) -> Tensor:
        """Return bins [M, C, h, w] of different numbers of regions, to train with.

        Args:
            maps: [B, C, Hi, Wi] each, one of each stride.
            rois_xyxy: [M, 4] float32 in input pixels.
            batch_ids: [M] int64, the image of each.
            size_hw: h and w, the number of bins.

        """
        if self.operator == "align":
            return align_pyramid_rows(
                maps, rois_xyxy, batch_ids, size_hw, strides=self.strides, aligned=self.aligned
            )
        levels = pyramid_levels(rois_xyxy, self.strides)
        rows = torch.cat([batch_ids[:, None].to(rois_xyxy.dtype), rois_xyxy], dim=1)
        pooled = maps[0].new_zeros(len(rows), maps[0].shape[1], *size_hw)
        for level, (x, stride) in enumerate(zip(maps, self.strides, strict=True)):
            here = torch.nonzero(levels == level).flatten()
            found = roi_pool(x.float(), rows[here], size_hw, spatial_scale=1 / stride)
            pooled[here] = found.to(pooled.dtype)
        return pooled


@dataclass(frozen=True)
class ContextReader(RegionReader):
    """Reads regions with something of their surroundings.

    Args:
        strides: see `RegionReader`.
        operator: see `RegionReader`.
        aligned: see `RegionReader`.
        enlargement: factor on both sides of a region, around its centre.

    """

    enlargement: float = 1.0

    def of_images(
        self, maps: Sequence[Tensor], rois_xyxy: Tensor, size_hw: tuple[int, int]
    ) -> Tensor:
        """Return the bins of enlarged regions, see `RegionReader.of_images`."""
        return super().of_images(maps, self._enlarged(rois_xyxy), size_hw)

    def of_rows(
        self,
        maps: Sequence[Tensor],
        rois_xyxy: Tensor,
        batch_ids: Tensor,
        size_hw: tuple[int, int],
    ) -> Tensor:
        """Return the bins of enlarged regions, see `RegionReader.of_rows`."""
        return super().of_rows(maps, self._enlarged(rois_xyxy), batch_ids, size_hw)

    def _enlarged(self, rois_xyxy: Tensor) -> Tensor:
        margin = (rois_xyxy[..., 2:] - rois_xyxy[..., :2]) * ((self.enlargement - 1) / 2)
        return torch.cat([rois_xyxy[..., :2] - margin, rois_xyxy[..., 2:] + margin], dim=-1)
