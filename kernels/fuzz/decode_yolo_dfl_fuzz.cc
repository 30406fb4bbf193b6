// Fuzzes decode_yolo_dfl.

#include "decode_yolo/decode_yolo.h"
#include "fuzz/decoder_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace edgecv;
  fuzz::FuzzDecoder({bytes, size}, fuzz::OfDistributions(DecodeYoloDflCpu));
  return 0;
}
