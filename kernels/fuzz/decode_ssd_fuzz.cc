// Fuzzes decode_ssd.

#include "decode_ssd/decode_ssd.h"
#include "fuzz/decoder_fuzz.h"

namespace edgecv::fuzz {
namespace {

std::size_t Decode(FuzzInput& input, const DecoderOptions& options, const Detections& out) {
  const bool sigmoid = input.Bool();
  const Head logits(input, options.selection.num_classes + (sigmoid ? 0 : 1), options);
  const Head offsets(input, 4, options);
  const auto anchors = input.Floats(4 * options.num_anchors);
  const float centre_variance = input.Float(), size_variance = input.Float();
  return DecodeSsdCpu({offsets.view, logits.view, anchors.data(), options.num_anchors,
                       options.selection.num_classes, centre_variance, size_variance,
                       sigmoid ? Activation::kSigmoid : Activation::kSoftmax},
                      options.selection.score_threshold, options.suppression, out);
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::FuzzDecoder({bytes, size}, edgecv::fuzz::Decode);
  return 0;
}
