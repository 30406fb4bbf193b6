"""EdgeNMS: non-maximum suppression as an ONNX operator that any runtime can execute.

The node belongs to the domain `edgecv`, where a native implementation may know it. The file also
carries its definition as a model-local function of standard operators, which a runtime without
one falls back on.
"""

from dataclasses import dataclass

import onnx
from onnx import parser

DOMAIN = "edgecv"
VERSION = 1
OPERATOR = "EdgeNMS"


@dataclass(frozen=True)
class EdgeNMS:
    """The attributes of one EdgeNMS node.

    Contract: `EdgeNMS(boxes [B, N, 4] xyxy f32, scores [B, N, C] f32, score_threshold [] f32,
    iou_threshold [] f32) -> num_detections [B] i32, boxes [B, K, 4] f32, scores [B, K] f32,
    classes [B, K] i32`, with N of at least 1. A pair (box, class) takes part if its score exceeds
    the score threshold. Within a class, the best box removes those that overlap it by more than
    the IoU threshold. The best K of all classes are returned in descending order, ties with the
    lower box, then the lower class, first. Rows past the count are zero, their class is -1. An
    inverted box has no area and overlaps nothing.

    Args:
        max_detections: K, at least 1.
        class_agnostic: a box suppresses boxes of other classes too; each takes part with its best
            class.
        background_class: a class that is never reported, -1 for none.

    """

    max_detections: int
    class_agnostic: bool = False
    background_class: int = -1

    def function(self, *, opset: int) -> onnx.FunctionProto:
        """Return the definition in operators of the standard opset `opset` (19 or 20).

        A function cannot branch on an attribute without paying for both sides at run time, so
        the body is written for these attributes; the node names them for native implementations.
        """
        candidates = _BEST_CLASS if self.class_agnostic else _EVERY_CLASS
        allowed = _WITHOUT_BACKGROUND if self.background_class >= 0 else _WITH_EVERY_CLASS
        values = {"K": self.max_detections, "BACKGROUND": self.background_class, "OPSET": opset}
        text = _SIGNATURE + allowed + candidates + _SUPPRESS_AND_PACK
        for name, value in values.items():
            text = text.replace(f"${name}", str(value))
        return parser.parse_function(text)


_SIGNATURE = f"""
<domain: "{DOMAIN}", opset_import: ["" : $OPSET]>
{OPERATOR} <max_detections, class_agnostic, background_class, plugin_version, plugin_namespace>
(all_boxes, all_scores, score_threshold, iou_threshold)
=> (num_detections, boxes, scores, classes)
{{
  zero = Constant <value_ints: ints = [0]> ()
  one = Constant <value_ints: ints = [1]> ()
  last = Constant <value_ints: ints = [-1]> ()
  k = Constant <value_ints: ints = [$K]> ()
  nothing = Constant <value_floats: floats = [-1.0]> ()
  zero_f = Constant <value_float: float = 0.0> ()
  score_limit = Reshape (score_threshold, one)
  iou_limit = Reshape (iou_threshold, one)
"""

_WITH_EVERY_CLASS = """
  allowed_scores = Identity (all_scores)
"""

_WITHOUT_BACKGROUND = """
  class_axis = Shape <start: int = 2> (all_scores)
  class_count = Squeeze (class_axis)
  class_zero = Constant <value_int: int = 0> ()
  class_one = Constant <value_int: int = 1> ()
  class_index = Range (class_zero, class_count, class_one)
  background = Constant <value_int: int = $BACKGROUND> ()
  is_background = Equal (class_index, background)
  allowed_scores = Where (is_background, nothing, all_scores)
"""

# Either way: `candidate_scores` [B, N, G], the scores of G groups that are suppressed apart, and
# `class_of` [B, N, G], the class that each stands for.
_EVERY_CLASS = """
  candidate_scores = Identity (allowed_scores)
  shape = Shape (candidate_scores)
  count = Shape <start: int = 2> (candidate_scores)
  count_0 = Squeeze (count)
  from_0 = Constant <value_int: int = 0> ()
  step_1 = Constant <value_int: int = 1> ()
  class_ids = Range (from_0, count_0, step_1)
  class_of = Expand (class_ids, shape)
"""

# ReduceMax would let one class's NaN hide the others.
_BEST_CLASS = """
  is_score = GreaterOrEqual (allowed_scores, zero_f)
  known_scores = Where (is_score, allowed_scores, nothing)
  candidate_scores = ReduceMax <keepdims: int = 1> (known_scores, last)
  class_of = ArgMax <axis: int = -1, keepdims: int = 1> (known_scores)
"""

_SUPPRESS_AND_PACK = """
  top_left, low_right = Split <axis: int = -1, num_outputs: int = 2> (all_boxes)
  bottom_right = Max (top_left, low_right)
  proper_boxes = Concat <axis: int = -1> (top_left, bottom_right)
  scores_bgn = Transpose <perm: ints = [0, 2, 1]> (candidate_scores)
  kept = NonMaxSuppression (proper_boxes, scores_bgn, k, iou_limit, score_limit)
  kept_scores = GatherND (scores_bgn, kept)
  shape_bgn = Shape (scores_bgn)
  none_kept = Expand (nothing, shape_bgn)
  only_kept = ScatterND (none_kept, kept, kept_scores)
  only_kept_bng = Transpose <perm: ints = [0, 2, 1]> (only_kept)
  batch_size = Shape <start: int = 0, end: int = 1> (all_boxes)
  rows_by_pairs = Concat <axis: int = 0> (batch_size, last)
  flat = Reshape (only_kept_bng, rows_by_pairs)
  rows_by_k = Concat <axis: int = 0> (batch_size, k)
  padding = Expand (nothing, rows_by_k)
  padded = Concat <axis: int = 1> (flat, padding)
  best, best_pair = TopK <axis: int = 1> (padded, k)
  is_valid = GreaterOrEqual (best, zero_f)
  pair = Where (is_valid, best_pair, zero)
  num_groups = Shape <start: int = 2> (candidate_scores)
  box_index = Div (pair, num_groups)
  box_index_3 = Unsqueeze (box_index, last)
  gathered = GatherND <batch_dims: int = 1> (all_boxes, box_index_3)
  is_valid_3 = Unsqueeze (is_valid, last)
  boxes = Where (is_valid_3, gathered, zero_f)
  scores = Where (is_valid, best, zero_f)
  flat_classes = Reshape (class_of, rows_by_pairs)
  pair_class = GatherElements <axis: int = 1> (flat_classes, pair)
  class_or_none = Where (is_valid, pair_class, last)
  classes = Cast <to: int = 6> (class_or_none)
  valid_i = Cast <to: int = 6> (is_valid)
  num_detections = ReduceSum <keepdims: int = 0> (valid_i, one)
}
"""
