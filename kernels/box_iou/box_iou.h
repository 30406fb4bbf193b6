// Pairwise overlap of two sets of boxes.
//
// Contract of every implementation in this folder:
//   - `a_xyxy` holds `n` boxes and `b_xyxy` holds `m` boxes, each x1, y1, x2, y2, row-major;
//   - `out[i * m + j]` receives the overlap of a[i] and b[j]. With C their hull, d the distance of
//     their centres, c the diagonal of C and v = 4 / pi^2 (atan(w/h of a) - atan(w/h of b))^2:
//       iou:  |a ∩ b| / |a ∪ b|, in [0, 1];
//       giou: IoU - (|C| - |a ∪ b|) / |C|, in [-1, 1];
//       diou: IoU - d^2 / c^2, in [-1, 1];
//       ciou: DIoU - v^2 / (1 - IoU + v), 0 for 0 / 0, in [-1.5, 1];
//   - a box that is empty or inverted, or has a coordinate that is not finite, has with every box an
//     IoU of 0 and a value of -1 in the other kinds: that of boxes infinitely far apart. No value is
//     ever NaN;
//   - the absolute error is a few units of 2^-24; results are the same at every CPU level;
//   - n == 0 or m == 0 is valid and touches no memory;
//   - `out` does not overlap `a_xyxy` or `b_xyxy`; 4-byte alignment is enough.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>

namespace edgecv {

enum class Overlap { kIou, kGiou, kDiou, kCiou };

void BoxIouCpu(const float* a_xyxy, std::size_t n, const float* b_xyxy, std::size_t m, Overlap kind,
               float* out);

}  // namespace edgecv
