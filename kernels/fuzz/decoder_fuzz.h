// What the fuzzers of the decoders share: the options, a head in either layout, and what every
// decoder promises of its detections.
#pragma once

#include <algorithm>
#include <vector>

#include "common/candidates.h"
#include "fuzz/fuzz_input.h"

namespace edgecv::fuzz {

struct DecoderOptions {
  bool channels_first;
  std::size_t num_anchors;
  Selection selection;
  Suppression suppression;

  explicit DecoderOptions(FuzzInput& input)
      : channels_first(input.Bool()),
        num_anchors(input.MostlySmall(0, 70, 1100)),
        // Many of both would be searched and suppressed for a tenth of a second.
        selection{input.MostlySmall(1, 9, num_anchors > 70 ? 9 : 90), input.Fraction(), input.Bool()},
        suppression{input.Fraction(), input.Bool(), {input.Scale(), input.Scale()},
                    {input.Float(), input.Float()}} {}
};

struct Head {
  std::vector<float> values;
  HeadView view;

  Head(FuzzInput& input, std::size_t num_channels, const DecoderOptions& options)
      : values(input.Floats(num_channels * options.num_anchors)),
        view(options.channels_first ? HeadView{values.data(), options.num_anchors, 1}
                                    : HeadView{values.data(), 1, num_channels}) {}
};

// `decode(input, options, out)` makes what else the decoder takes, and runs it.
template <typename Decode>
void FuzzDecoder(FuzzInput input, Decode decode) {
  const DecoderOptions options(input);
  const std::size_t capacity = input.MostlySmall(1, 40, 400);
  std::vector<float> boxes(4 * capacity), scores(capacity);
  std::vector<std::int32_t> class_ids(capacity);
  const Detections out{boxes.data(), scores.data(), class_ids.data(), capacity};
  const std::size_t count = decode(input, options, out);
  Check(count <= capacity, "there are no more detections than there is room for");
  Check(std::is_sorted(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(count),
                       [](float a, float b) { return a > b; }),
        "the best detection comes first");
  for (std::size_t i = 0; i < count; ++i) {
    Check(scores[i] > options.selection.score_threshold, "scores are above the threshold");
    Check(static_cast<std::size_t>(class_ids[i]) < options.selection.num_classes, "classes exist");
  }
}

// What FuzzDecoder runs for a decoder of distances that are distributions.
template <typename Decode>
auto OfDistributions(Decode decode) {
  return [decode](FuzzInput& input, const DecoderOptions& options, const Detections& out) {
    const std::size_t num_bins = input.MostlySmall(1, 6, 20);
    const Head head(input, 4 * num_bins + options.selection.num_classes, options);
    const auto points = input.Floats(3 * options.num_anchors);
    return decode(head.view, points.data(), options.num_anchors, num_bins, options.selection,
                  options.suppression, out);
  };
}

}  // namespace edgecv::fuzz
