#pragma once

#include <cstddef>

namespace edgecv {

// Of an image's candidates only the best ones are suppressed. Bounds the time of suppression when the
// threshold lets nearly everything pass, as it does when mAP is measured. Source: `max_nms=30000` of
// Ultralytics' non_max_suppression.
constexpr std::size_t kMaxCandidates = 30000;

}  // namespace edgecv
