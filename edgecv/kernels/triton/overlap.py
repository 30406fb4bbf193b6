"""Whether boxes overlap too much, decided as `edgecv.kernels.nms` decides it, in float64.

Pairs are compared in float32 first. Let I, A, B be the true areas of the intersection and of two
boxes, t the threshold, c = t / (1 + t) and u = 2^-24. The float64 quotient exceeds t if and only if
I > c (A + B), but for pairs within 2^-48 of equality. In float32 the left side is off by at most
3u, relatively, and c' (A + B) by 8u: with c' = c (1 + 16u) a pair that exceeds it is above the
threshold, with c' = c (1 - 16u) one that does not is below. What is in between is left undecided,
pairs at the very threshold in practice, and so is what these bounds do not hold for: products that
overflow or lose bits to underflow, that is sides outside [2^-50, 2^60] or t < 2^-20.

The kernels that use this are launched with `enable_fp_fusion=False`: a fused multiplication and
addition would round the union of areas otherwise than the definition.
"""

import triton
import triton.language as tl


@triton.jit
def load_boxes(boxes_ptr, row, mask):
    """Return x1, y1, x2, y2 of boxes; those that are masked off, or have no area, are 0."""
    x1 = tl.load(boxes_ptr + 4 * row + 0, mask=mask, other=0.0)
    y1 = tl.load(boxes_ptr + 4 * row + 1, mask=mask, other=0.0)
    x2 = tl.load(boxes_ptr + 4 * row + 2, mask=mask, other=0.0)
    y2 = tl.load(boxes_ptr + 4 * row + 3, mask=mask, other=0.0)
    # Nor infinite: the low corner is the lesser one, so that each needs one comparison.
    infinity = float("inf")
    has_area = (x2 > x1) & (y2 > y1)
    has_area &= (x1 > -infinity) & (y1 > -infinity) & (x2 < infinity) & (y2 < infinity)
    x1, y1 = tl.where(has_area, x1, 0.0), tl.where(has_area, y1, 0.0)
    x2, y2 = tl.where(has_area, x2, 0.0), tl.where(has_area, y2, 0.0)
    return x1, y1, x2, y2


@triton.jit
def compare_float32(p, q, threshold):
    """Return which row boxes `p` and column boxes `q` have IoU > threshold; which are undecided.

    Boxes are (x1, y1, x2, y2) each; one of zeros overlaps nothing.
    """
    left, right = tl.maximum(p[0][:, None], q[0][None, :]), tl.minimum(p[2][:, None], q[2][None, :])
    top, bottom = tl.maximum(p[1][:, None], q[1][None, :]), tl.minimum(p[3][:, None], q[3][None, :])
    share_area = (right > left) & (bottom > top)
    inter = (right - left) * (bottom - top)

    share = tl.div_rn(threshold, 1.0 + threshold)
    areas = _area(p)[:, None] + _area(q)[None, :]
    above = inter > (share * (1.0 + 2.0**-20)) * areas
    below = inter <= (share * (1.0 - 2.0**-20)) * areas
    shortest = tl.where(threshold >= 2.0**-20, 2.0**-50, float("inf"))  # no side is that long
    is_plain = _is_plain(p, shortest)[:, None] & _is_plain(q, shortest)[None, :]
    return share_area & above & is_plain, share_area & ~((above | below) & is_plain)


@triton.jit
def compare_float64(p, q, threshold):
    """Return which row boxes `p` and column boxes `q` have IoU > threshold."""
    p = (p[0].to(tl.float64), p[1].to(tl.float64), p[2].to(tl.float64), p[3].to(tl.float64))
    q = (q[0].to(tl.float64), q[1].to(tl.float64), q[2].to(tl.float64), q[3].to(tl.float64))
    left, right = tl.maximum(p[0][:, None], q[0][None, :]), tl.minimum(p[2][:, None], q[2][None, :])
    top, bottom = tl.maximum(p[1][:, None], q[1][None, :]), tl.minimum(p[3][:, None], q[3][None, :])
    share_area = (right > left) & (bottom > top)
    inter = tl.where(share_area, (right - left) * (bottom - top), 0.0)
    union = _area(p)[:, None] + _area(q)[None, :] - inter
    iou = inter / tl.where(share_area, union, 1.0)  # two boxes of zeros have no union
    return share_area & (iou > threshold.to(tl.float64))


@triton.jit
def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


@triton.jit
def _is_plain(box, shortest):
    width, height = box[2] - box[0], box[3] - box[1]
    return (tl.minimum(width, height) >= shortest) & (tl.maximum(width, height) <= 2.0**60)
