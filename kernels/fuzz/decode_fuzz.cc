// Fuzzes the decoders of detection heads.

#include <algorithm>
#include <vector>

#include "decode_nanodet/decode_nanodet.h"
#include "decode_ssd/decode_ssd.h"
#include "decode_yolo/decode_yolo.h"
#include "decode_yolox/decode_yolox.h"
#include "fuzz/fuzz_input.h"

namespace edgecv::fuzz {
namespace {

struct Head {
  std::vector<float> values;
  HeadView view;

  Head(FuzzInput& input, std::size_t channels, std::size_t anchors, bool channels_first)
      : values(input.Floats(channels * anchors)),
        view(channels_first ? HeadView{values.data(), anchors, 1}
                            : HeadView{values.data(), 1, channels}) {}
};

void Run(FuzzInput input) {
  const std::size_t decoder = input.Size(0, 4);
  const std::size_t anchors = input.Size(0, 600), num_bins = input.Size(1, 20);
  const Selection selection{input.Size(1, 90), input.Fraction(), input.Bool()};
  const Suppression suppression{input.Fraction(), input.Bool(), {input.Scale(), input.Scale()},
                                {input.Float(), input.Float()}};
  const std::size_t capacity = input.Size(1, 400);
  std::vector<float> boxes(4 * capacity), scores(capacity);
  std::vector<std::int32_t> class_ids(capacity);
  const Detections out{boxes.data(), scores.data(), class_ids.data(), capacity};
  const bool channels_first = input.Bool();
  const std::size_t num_others[] = {4, 4 * num_bins, 5, 4 * num_bins, 1};
  const Head head(input, num_others[decoder] + selection.num_classes, anchors, channels_first);
  const auto points = input.Floats(3 * anchors);

  std::size_t count = 0;
  if (decoder == 0) {
    count = DecodeYoloCpu(head.view, anchors, selection, suppression, out);
  } else if (decoder == 1) {
    count = DecodeYoloDflCpu(head.view, points.data(), anchors, num_bins, selection, suppression,
                             out);
  } else if (decoder == 2) {
    count = DecodeYoloxCpu(head.view, points.data(), anchors, selection, suppression, out);
  } else if (decoder == 3) {
    count = DecodeNanodetCpu(head.view, points.data(), anchors, num_bins, selection, suppression,
                             out);
  } else {
    const Head offsets(input, 4, anchors, channels_first);
    const auto anchor_boxes = input.Floats(4 * anchors);
    count = DecodeSsdCpu({offsets.view, head.view, anchor_boxes.data(), anchors,
                          selection.num_classes, input.Float(), input.Float()},
                         selection.score_threshold, suppression, out);
  }
  Check(count <= capacity, "there are no more detections than there is room for");
  Check(std::is_sorted(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(count),
                       [](float a, float b) { return a > b; }),
        "the best detection comes first");
  for (std::size_t i = 0; i < count; ++i) {
    Check(scores[i] > selection.score_threshold, "scores are above the threshold");
    Check(static_cast<std::size_t>(class_ids[i]) < selection.num_classes, "classes exist");
  }
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::Run({bytes, size});
  return 0;
}
