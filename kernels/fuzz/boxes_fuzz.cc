// Fuzzes nms, soft_nms and box_iou.

#include <vector>

#include "box_iou/box_iou.h"
#include "fuzz/fuzz_input.h"
#include "nms/nms.h"
#include "soft_nms/soft_nms.h"

namespace edgecv::fuzz {
namespace {

void CheckKept(const std::vector<std::int64_t>& kept, std::size_t count, std::size_t num_boxes) {
  Check(count <= kept.size(), "no more are kept than there is room for");
  std::vector<bool> seen(num_boxes, false);
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = static_cast<std::size_t>(kept[i]);
    Check(row < num_boxes && !seen[row], "kept rows are rows, each once");
    seen[row] = true;
  }
}

void Run(FuzzInput input) {
  const std::size_t n = input.MostlySmall(0, 40, 300);
  const auto boxes = input.Floats(4 * n), scores = input.Floats(n);
  const std::size_t max_detections = input.Size(0, n + 1);
  const bool has_classes = input.Bool();
  const auto class_ids =
      input.Bool() ? input.Integers<std::int32_t>(n, 0, 3)
                   : input.Integers<std::int32_t>(n, INT32_MIN, INT32_MAX);
  const std::int32_t* const classes = has_classes ? class_ids.data() : nullptr;
  const double iou_threshold = input.Fraction();
  std::vector<std::int64_t> kept(std::min(n, max_detections));
  switch (input.Size(0, 2)) {
    case 0:
      CheckKept(kept,
                NmsCpu(boxes.data(), scores.data(), classes, n, iou_threshold, max_detections,
                       kept.data()),
                n);
      break;
    case 1: {
      std::vector<float> kept_scores(kept.size());
      const SoftNmsDecay decay{input.Bool(), input.Scale(), iou_threshold};
      const double score_threshold = input.Fraction();
      CheckKept(kept,
                SoftNmsCpu(boxes.data(), scores.data(), classes, n, decay, score_threshold,
                           max_detections, kept.data(), kept_scores.data()),
                n);
      break;
    }
    default: {
      const std::size_t m = input.Size(0, 70);
      const auto others = input.Floats(4 * m);
      const auto kind = static_cast<Overlap>(input.Size(0, 3));
      std::vector<float> out(n * m, std::numeric_limits<float>::quiet_NaN());
      BoxIouCpu(boxes.data(), n, others.data(), m, kind, out.data());
      for (const float value : out)
        Check(value >= -1.5001f && value <= 1.0001f, "overlaps lie in [-1.5, 1]");
    }
  }
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::Run({bytes, size});
  return 0;
}
