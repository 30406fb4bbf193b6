// Fuzzes decode_nanodet.

#include "decode_nanodet/decode_nanodet.h"
#include "fuzz/decoder_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace edgecv;
  fuzz::FuzzDecoder({bytes, size}, fuzz::OfDistributions(DecodeNanodetCpu));
  return 0;
}
