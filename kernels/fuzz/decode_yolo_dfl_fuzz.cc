// Fuzzes decode_yolo_dfl.

#include "decode_yolo/decode_yolo.h"
#include "fuzz/decoder_fuzz.h"

namespace edgecv::fuzz {
namespace {

std::size_t Decode(FuzzInput& input, const DecoderOptions& options, const Detections& out) {
  const std::size_t num_bins = input.MostlySmall(1, 6, 20);
  const Head head(input, 4 * num_bins + options.selection.num_classes, options);
  const auto points = input.Floats(3 * options.num_anchors);
  return DecodeYoloDflCpu(head.view, points.data(), options.num_anchors, num_bins,
                          options.selection, options.suppression, out);
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::FuzzDecoder({bytes, size}, edgecv::fuzz::Decode);
  return 0;
}
