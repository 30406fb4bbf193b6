"""Batched non-maximum suppression on the GPU: the contract of the operator EdgeNMS.

`candidates.py` ranks the candidates of each image; here one program an image visits them, 64 at a
time, as `edgecv.kernels.nms` visits them one by one. The boxes kept so far are read back from the
output: it is the list that the next candidates are compared with.

Among 64 candidates, whether one is kept depends on the better ones: keep[j] = not any(keep[i] and
i suppresses j, i < j). Starting with all, the rule is applied to all of them at once until nothing
changes. After n steps those are settled whose chain of suppressions has fewer than n links, so that
it ends, and with the one solution that there is; in most crowds after three or four steps.
"""

from typing import Literal, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgecv.kernels.arguments import check_at_least, check_choice, check_fraction
from edgecv.kernels.cuda.edge_nms import check_num_pairs
from edgecv.kernels.triton.arguments import check_tensor, output
from edgecv.kernels.triton.candidates import pair_of, ranked_candidates, score_of
from edgecv.kernels.triton.overlap import compare_float32, compare_float64, load_boxes

ScoreLayout = Literal["nc", "cn"]

_MAX_BATCH = 65535  # the second axis of a grid
_VISIT = tl.constexpr(64)  # candidates, one for each bit of a word
# Rivals that they are compared with at a time: 64 x 32 pairs, 8 for each thread of 8 warps, fill
# the registers without spilling. With fewer warps the one program of an image would compute longer,
# with more of them wait longer at its barriers.
_RIVALS = tl.constexpr(32)
_NUM_WARPS = 8


class NmsOutput(NamedTuple):
    """What `edge_nms` found in each image, best first, in rows of fixed number.

    Args:
        num_detections: (B,) int32, how many rows are filled.
        boxes: (B, K, 4) float32, x1, y1, x2, y2; 0 past the count.
        scores: (B, K) float32; 0 past the count.
        class_ids: (B, K) int32; -1 past the count.

    """

    num_detections: Tensor
    boxes: Tensor
    scores: Tensor
    class_ids: Tensor


def edge_nms(
    boxes_xyxy: Tensor,
    scores: Tensor,
    *,
    score_threshold: float | Tensor,
    iou_threshold: float | Tensor,
    max_detections: int,
    class_agnostic: bool = False,
    background_class: int = -1,
    layout: ScoreLayout = "nc",
    out: NmsOutput | None = None,
    box_rows: Tensor | None = None,
) -> NmsOutput:
    """Return the best boxes of every image that no better one of their class overlaps too much.

    A pair (box, class) takes part if its score exceeds the score threshold; NaN does not. Within a
    class the best box removes those whose IoU with it exceeds the IoU threshold; a box without a
    positive, finite area overlaps nothing. Of equal scores the lower box is the better one, then
    the lower class. At most the 30000 best pairs of an image take part.

    Thresholds on the device are read when the kernels run: in a CUDA graph, what they hold at each
    replay counts. As in EdgeNMS, thresholds are float32; a Python float is rounded to it.

    Args:
        boxes_xyxy: (B, N, 4) float32, B at most 65535. What is not contiguous is copied first.
        scores: (B, N, C) float32 or float16, or (B, C, N) if `layout` says so, N * C below 2**31;
            read in place, whatever the strides.
        score_threshold: in [0, 1], or a float32 tensor with one element on the same device.
        iou_threshold: likewise.
        max_detections: K, at least 1.
        class_agnostic: a box suppresses boxes of other classes too; each takes part with its best
            class, the lowest of equals.
        background_class: a class that is never reported, -1 for none.
        layout: `nc` or `cn`, see `scores`.
        out: contiguous tensors to write the result to instead of allocating them.
        box_rows: (B, K) int32, contiguous, filled with where in `boxes_xyxy` each detection's box
            is, -1 past the count; None if that is not wanted.

    Returns:
        Fixed-size outputs, `out` itself if given; nothing waits for the device.

    Raises:
        ValueError: if a shape, a device, a number or an option is not as described.
        TypeError: if a tensor has another dtype; nothing is converted silently.

    Source:
        Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006, section 2: the greedy
        definition.

    """
    function = "edge_nms"
    check_choice(function, "layout", layout, ("nc", "cn"))
    check_at_least(function, "max_detections", max_detections, 1)
    check_at_least(function, "background_class", background_class, -1)
    check_tensor(function, "boxes_xyxy", boxes_xyxy, (torch.float32,), ("B", "N", 4))
    device = boxes_xyxy.device
    batch, num_boxes, _ = boxes_xyxy.shape
    shape = (batch, num_boxes, "C") if layout == "nc" else (batch, "C", num_boxes)
    check_tensor(function, "scores", scores, (torch.float32, torch.float16), shape, device)
    scores_bnc = scores if layout == "nc" else scores.mT
    num_classes = scores_bnc.shape[2]
    check_num_pairs(num_boxes, num_classes)
    if batch > _MAX_BATCH:
        raise ValueError(
            f"{function}: `boxes_xyxy` must be those of at most {_MAX_BATCH} images with "
            f"`implementation` 'triton', got {batch}. Pass a part of them at a time."
        )
    score_limit = _threshold(function, "score_threshold", score_threshold, device)
    iou_limit = _threshold(function, "iou_threshold", iou_threshold, device)

    rows = (batch, max_detections)
    given: NmsOutput | tuple[None, ...] = (None,) * 4 if out is None else out
    count, boxes, best_scores, class_ids = (
        output(function, f"out.{name}", tensor, dtype, wanted, device)
        for name, tensor, dtype, wanted in zip(
            NmsOutput._fields,
            given,
            (torch.int32, torch.float32, torch.float32, torch.int32),
            ((batch,), (*rows, 4), rows, rows),
            strict=True,
        )
    )
    if box_rows is not None:
        output(function, "box_rows", box_rows, torch.int32, rows, device)
    if batch > 0:
        with torch.cuda.device_of(scores):  # Triton launches on the current device
            ranked, num_candidates = ranked_candidates(
                scores_bnc,
                score_limit,
                class_agnostic=class_agnostic,
                background_class=background_class,
            )
            _suppress_kernel[(batch,)](
                boxes_xyxy.contiguous(), num_boxes, num_classes, ranked, num_candidates,
                ranked.shape[1], iou_limit, count, boxes, best_scores, class_ids, box_rows,
                max_detections, class_agnostic, num_warps=_NUM_WARPS, enable_fp_fusion=False,
            )  # fmt: skip
    return NmsOutput(count, boxes, best_scores, class_ids) if out is None else out


def _threshold(function: str, name: str, value: float | Tensor, device: torch.device) -> Tensor:
    """Return a threshold on the device, without waiting for what it holds."""
    if not isinstance(value, Tensor):
        check_fraction(function, name, value)
        return torch.full((1,), value, dtype=torch.float32, device=device)
    check_tensor(function, name, value.reshape(-1), (torch.float32,), (1,), device)
    return value


@triton.jit
def _rivalries(
    box, class_id, num_classes, ranked_ptr, boxes_ptr, visited, num_candidates,
    kept_boxes_ptr, kept_classes_ptr, num_kept, threshold,
    AGNOSTIC: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Compare the candidates of a visit with the boxes kept before and with each other.

    Returns whether a kept box suppresses each; a word each, of which bit i tells whether candidate
    i, a better one, suppresses it; and how many pairs are undecided, none if EXACT.
    """
    lane = tl.arange(0, _VISIT)
    column = tl.arange(0, _RIVALS)
    # Matrices, so that threads meet once at the end and not in every turn.
    is_suppressed = tl.zeros((_VISIT, _RIVALS), tl.int1)
    is_undecided = tl.zeros((_VISIT, _RIVALS), tl.int1)
    for first in range(0, num_kept, _RIVALS):
        exists = first + column < num_kept
        rival = load_boxes(kept_boxes_ptr, first + column, exists)
        rival_class = tl.load(kept_classes_ptr + first + column, mask=exists, other=-1)
        meet = AGNOSTIC | (class_id[:, None] == rival_class[None, :])
        if EXACT:
            is_suppressed |= compare_float64(box, rival, threshold) & meet
        else:
            above, undecided = compare_float32(box, rival, threshold)
            is_suppressed |= above & meet
            is_undecided |= undecided & meet

    suppressors = tl.zeros((_VISIT,), tl.int64)
    for first in range(0, _VISIT, _RIVALS):
        place = visited + first + column
        exists = place < num_candidates
        pair = pair_of(tl.load(ranked_ptr + place, mask=exists, other=0))
        rival = load_boxes(boxes_ptr, pair // num_classes, exists)
        rival_class = (pair % num_classes).to(tl.int32)
        meet = AGNOSTIC | (class_id[:, None] == rival_class[None, :])
        meet &= (first + column)[None, :] < lane[:, None]
        if EXACT:
            above = compare_float64(box, rival, threshold)
        else:
            above, undecided = compare_float32(box, rival, threshold)
            is_undecided |= undecided & meet
        bit = tl.full((_RIVALS,), 1, tl.int64) << (first + column).to(tl.int64)
        suppressors |= tl.sum(tl.where(above & meet, bit[None, :], 0), axis=1)
    is_beaten = tl.max(is_suppressed.to(tl.int32), axis=1) > 0
    return is_beaten, suppressors, tl.sum(is_undecided.to(tl.int32))


@triton.jit(do_not_specialize=["num_boxes", "num_classes", "capacity", "max_detections"])
def _suppress_kernel(
    boxes_ptr, num_boxes, num_classes, ranked_ptr, num_candidates_ptr, capacity, iou_threshold_ptr,
    count_ptr, out_boxes_ptr, out_scores_ptr, out_class_ids_ptr, out_rows_ptr, max_detections,
    AGNOSTIC: tl.constexpr,
):  # fmt: skip
    """Visit the candidates of one image, best first, and write the rows that are kept."""
    image = tl.program_id(0).to(tl.int64)
    boxes_ptr += image * num_boxes * 4
    ranked_ptr += image * capacity
    out_boxes_ptr += image * max_detections * 4
    out_scores_ptr += image * max_detections
    out_class_ids_ptr += image * max_detections
    if out_rows_ptr is not None:
        out_rows_ptr += image * max_detections
    num_candidates = tl.minimum(tl.load(num_candidates_ptr + image), capacity)
    threshold = tl.load(iou_threshold_ptr)

    lane = tl.arange(0, _VISIT)
    corner = tl.arange(0, 4)[None, :]
    bit = tl.full((_VISIT,), 1, tl.int64) << lane.to(tl.int64)
    num_kept = 0
    visited = 0
    while (visited < num_candidates) & (num_kept < max_detections):
        is_candidate = visited + lane < num_candidates
        key = tl.load(ranked_ptr + visited + lane, mask=is_candidate, other=0)
        pair = pair_of(key)
        row = pair // num_classes
        class_id = (pair % num_classes).to(tl.int32)
        box = load_boxes(boxes_ptr, row, is_candidate)
        is_beaten, suppressors, undecided = _rivalries(
            box, class_id, num_classes, ranked_ptr, boxes_ptr, visited, num_candidates,
            out_boxes_ptr, out_class_ids_ptr, num_kept, threshold, AGNOSTIC, EXACT=False,
        )  # fmt: skip
        if undecided > 0:
            is_beaten, suppressors, undecided = _rivalries(
                box, class_id, num_classes, ranked_ptr, boxes_ptr, visited, num_candidates,
                out_boxes_ptr, out_class_ids_ptr, num_kept, threshold, AGNOSTIC, EXACT=True,
            )  # fmt: skip

        # A word of a bit for each candidate that is kept, as far as is known.
        is_open = is_candidate & ~is_beaten
        kept = tl.sum(tl.where(is_open, bit, 0))
        before = ~kept
        while kept != before:
            before = kept
            is_free = is_open & ((suppressors & before) == 0)
            kept = tl.sum(tl.where(is_free, bit, 0))

        is_kept = (bit & kept) != 0
        place = num_kept + tl.cumsum(is_kept.to(tl.int32)) - 1
        is_kept &= place < max_detections
        # As they came, not as compared: a box without an area is reported, too.
        source = boxes_ptr + 4 * row[:, None] + corner
        corners = tl.load(source, mask=is_kept[:, None], other=0.0)
        tl.store(out_boxes_ptr + 4 * place[:, None] + corner, corners, mask=is_kept[:, None])
        tl.store(out_scores_ptr + place, score_of(key), mask=is_kept)
        tl.store(out_class_ids_ptr + place, class_id, mask=is_kept)
        if out_rows_ptr is not None:
            tl.store(out_rows_ptr + place, row.to(tl.int32), mask=is_kept)
        num_kept += tl.sum(is_kept.to(tl.int32))
        visited += _VISIT
        tl.debug_barrier()  # before other threads read what was stored

    tl.store(count_ptr + image, num_kept)
    for first in range(0, max_detections, _VISIT):
        place = first + lane
        is_rest = (place >= num_kept) & (place < max_detections)
        zeros = tl.zeros((_VISIT, 4), tl.float32)
        tl.store(out_boxes_ptr + 4 * place[:, None] + corner, zeros, mask=is_rest[:, None])
        tl.store(out_scores_ptr + place, tl.zeros((_VISIT,), tl.float32), mask=is_rest)
        none = tl.full((_VISIT,), -1, tl.int32)
        tl.store(out_class_ids_ptr + place, none, mask=is_rest)
        if out_rows_ptr is not None:
            tl.store(out_rows_ptr + place, none, mask=is_rest)
