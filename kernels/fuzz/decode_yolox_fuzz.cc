// Fuzzes decode_yolox.

#include "decode_yolox/decode_yolox.h"
#include "fuzz/decoder_fuzz.h"

namespace edgecv::fuzz {
namespace {

std::size_t Decode(FuzzInput& input, const DecoderOptions& options, const Detections& out) {
  const Head head(input, 5 + options.selection.num_classes, options);
  const auto points = input.Floats(3 * options.num_anchors);
  return DecodeYoloxCpu(head.view, points.data(), options.num_anchors, options.selection,
                        options.suppression, out);
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::FuzzDecoder({bytes, size}, edgecv::fuzz::Decode);
  return 0;
}
