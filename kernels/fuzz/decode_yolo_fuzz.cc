// Fuzzes decode_yolo.

#include "decode_yolo/decode_yolo.h"
#include "fuzz/decoder_fuzz.h"

namespace edgecv::fuzz {
namespace {

std::size_t Decode(FuzzInput& input, const DecoderOptions& options, const Detections& out) {
  const Head head(input, 4 + options.selection.num_classes, options);
  return DecodeYoloCpu(head.view, options.num_anchors, options.selection, options.suppression, out);
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::FuzzDecoder({bytes, size}, edgecv::fuzz::Decode);
  return 0;
}
