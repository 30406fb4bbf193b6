"""EdgeRoiAlign and EdgeRoiPool: features of regions of interest as ONNX operators.

As with EdgeNMS, a native implementation may know the nodes, and the file carries definitions of
standard operators for a runtime without one.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import parser

from edgecv.export.operators.edge_nms import DOMAIN


@dataclass(frozen=True)
class EdgeRoiAlign:
    """The attributes of one EdgeRoiAlign node.

    Contract: `EdgeRoiAlign(rois [B, R, 4] xyxy f32, features [B, C, Hi, Wi] T, ...) ->
    [B, R, C, h, w] T`, T of f32 or f16: averages of bilinear samples in the bins of each RoI, on
    the level that suits its size, floor(canonical_level + log2(sqrt(area) / canonical_size) +
    1e-6), clamped to the levels given. Results are those of `torchvision.ops.MultiScaleRoIAlign`.
    Coordinates and sums are float32 whatever T is; a result is rounded to T once.

    Args:
        output_size_hw: h and w, the number of bins.
        spatial_scales: cells per pixel of each map, 1 / 2**k for a whole k, each half the one
            before.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin is cells long.
        aligned: whether the centre of the first cell is at half a cell.
        canonical_level: k of the level for a square RoI of `canonical_size`.
        canonical_size: in pixels.

    """

    output_size_hw: tuple[int, int]
    spatial_scales: tuple[float, ...]
    sampling_ratio: int = 2
    aligned: bool = False
    canonical_level: int = 4
    canonical_size: float = 224.0

    OPERATOR = "EdgeRoiAlign"

    def function(self, *, opset: int) -> onnx.FunctionProto:
        """Return the definition in operators of the standard opset `opset` (19 or 20).

        Each RoI is aligned on its own level alone, which is three to four times faster than all
        RoIs on all four levels and a choice afterwards.
        """
        height, width = self.output_size_hw
        mode = "half_pixel" if self.aligned else "output_half_pixel"
        levels = range(len(self.spatial_scales))
        maps = ", ".join(f"map_{level}" for level in levels)
        text = f"""
<domain: "{DOMAIN}", opset_import: ["" : {opset}]>
{self.OPERATOR} <output_height, output_width, spatial_scales, sampling_ratio, aligned,
  canonical_level, canonical_size, plugin_version, plugin_namespace>
(rois, {maps}) => (bins)
{{{_FLAT_ROIS}
  x1, y1, x2, y2 = Split <axis: int = 1, num_outputs: int = 4> (flat)
  long = Sub (x2, x1)
  high = Sub (y2, y1)
  area_2 = Mul (long, high)
  area = Reshape (area_2, last)
"""
        # A RoI is on a level if it reaches that level's area and not the next one's.
        for level in levels[1:]:
            text += f"""
  limit_{level} = Constant <value_float: float = {self._least_area(level)!r}> ()
  reaches_{level} = GreaterOrEqual (area, limit_{level})
  short_of_{level} = Not (reaches_{level})
"""
        for level in levels:
            conditions = [f"reaches_{level}"] if level else []
            conditions += [f"short_of_{level + 1}"] if level + 1 in levels else []
            text += f"""
  {_here(level, conditions)}
  where_{level} = NonZero (here_{level})
  row_{level} = Reshape (where_{level}, last)
  rois_{level} = Gather <axis: int = 0> (flat, row_{level})
  image_{level} = Gather <axis: int = 0> (image, row_{level})
  map_f_{level} = CastLike (map_{level}, rois)
  bins_{level} = RoiAlign <mode: string = "avg", coordinate_transformation_mode: string = "{mode}",
    output_height: int = {height}, output_width: int = {width},
    sampling_ratio: int = {self.sampling_ratio},
    spatial_scale: float = {self.spatial_scales[level]!r}>
    (map_f_{level}, rois_{level}, image_{level})
"""
        text += f"""
  found = Concat <axis: int = 0> ({", ".join(f"bins_{level}" for level in levels)})
  row = Concat <axis: int = 0> ({", ".join(f"row_{level}" for level in levels)})
  place = ScatterElements <axis: int = 0> (row, row, count_up)
  in_order_f = Gather <axis: int = 0> (found, place)
  in_order = CastLike (in_order_f, map_0)
{_BY_IMAGE}}}
"""
        return parser.parse_function(text)

    def _least_area(self, level: int) -> float:
        """Return the least float32 area of a RoI that the rule puts on `level` or above.

        Found by bisection over the bits of a float32, so that the comparison of areas decides just
        as the logarithm in float32 does.
        """
        finest = round(-math.log2(self.spatial_scales[0]))
        low, high = 1, int(np.float32(3e38).view(np.int32))  # bits of positive floats are ordered
        while low < high:
            middle = (low + high) // 2
            area = np.int32(middle).view(np.float32)
            ratio = np.sqrt(area) / np.float32(self.canonical_size)
            found = np.float32(self.canonical_level) + np.log2(ratio) + np.float32(1e-6)
            if np.floor(found) >= finest + level:
                high = middle
            else:
                low = middle + 1
        return float(np.int32(low).view(np.float32))


@dataclass(frozen=True)
class EdgeRoiPool:
    """The attributes of one EdgeRoiPool node.

    Contract: `EdgeRoiPool(features [B, C, H, W] T, rois [B, R, 4] xyxy f32) ->
    [B, R, C, h, w] T`, T of f32 or f16: the greatest value in the bins of each RoI, as
    `torchvision.ops.roi_pool` cuts them.

    Args:
        output_size_hw: h and w, the number of bins.
        spatial_scale: cells per pixel.

    """

    output_size_hw: tuple[int, int]
    spatial_scale: float

    OPERATOR = "EdgeRoiPool"

    def function(self, *, opset: int) -> onnx.FunctionProto:
        """Return the definition in operators of the standard opset `opset` (19 or 20).

        The standard says of `MaxRoiPool` neither how corners are rounded nor how bins are cut;
        onnxruntime does both as torchvision does, halves away from 0.
        """
        height, width = self.output_size_hw
        return parser.parse_function(f"""
<domain: "{DOMAIN}", opset_import: ["" : {opset}]>
{self.OPERATOR} <output_height, output_width, spatial_scale, plugin_version, plugin_namespace>
(features, rois) => (bins)
{{{_FLAT_ROIS}
  image_f = CastLike (image, rois)
  column = Constant <value_ints: ints = [-1, 1]> ()
  image_column = Reshape (image_f, column)
  rows = Concat <axis: int = 1> (image_column, flat)
  features_f = CastLike (features, rois)
  in_order_f = MaxRoiPool <pooled_shape: ints = [{height}, {width}],
    spatial_scale: float = {self.spatial_scale!r}> (features_f, rows)
  in_order = CastLike (in_order_f, features)
{_BY_IMAGE}}}
""")


# `flat` [B * R, 4] and `image` [B * R], the image of each.
_FLAT_ROIS = """
  last = Constant <value_ints: ints = [-1]> ()
  coordinates = Constant <value_ints: ints = [-1, 4]> ()
  flat = Reshape (rois, coordinates)
  from_0 = Constant <value_int: int = 0> ()
  step_1 = Constant <value_int: int = 1> ()
  total_1 = Shape <start: int = 0, end: int = 1> (flat)
  total = Squeeze (total_1)
  count_up = Range (from_0, total, step_1)
  num_rois = Shape <start: int = 1, end: int = 2> (rois)
  image = Div (count_up, num_rois)
"""

# `in_order` [B * R, C, h, w], by image.
_BY_IMAGE = """
  batch_and_rois = Shape <start: int = 0, end: int = 2> (rois)
  rest = Shape <start: int = 1> (in_order)
  shape = Concat <axis: int = 0> (batch_and_rois, rest)
  bins = Reshape (in_order, shape)
"""


def _here(level: int, conditions: list[str]) -> str:
    """Return the node that makes `here_{level}` [B * R] of one or two conditions."""
    if not conditions:
        return f"here_{level} = Equal (count_up, count_up)"
    if len(conditions) == 1:
        return f"here_{level} = Identity ({conditions[0]})"
    return f"here_{level} = And ({', '.join(conditions)})"
