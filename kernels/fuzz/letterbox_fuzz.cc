// Fuzzes letterbox: every frame format, size and stride, into every type and layout of input.

#include <vector>

#include "fuzz/fuzz_input.h"
#include "letterbox/letterbox.h"

namespace edgecv::fuzz {
namespace {

struct PlaneSize {
  std::size_t rows, row_bytes;
};

std::vector<PlaneSize> PlaneSizes(PixelFormat format, std::size_t height, std::size_t width) {
  const std::size_t half_height = (height + 1) / 2, half_width = (width + 1) / 2;
  switch (format) {
    case PixelFormat::kBgr24:
    case PixelFormat::kRgb24: return {{height, 3 * width}};
    case PixelFormat::kYuv420p:
      return {{height, width}, {half_height, half_width}, {half_height, half_width}};
    case PixelFormat::kNv12: return {{height, width}, {half_height, 2 * half_width}};
    case PixelFormat::kYuyv422: return {{height, 4 * half_width}};
    default: return {{height, width}};
  }
}

void Run(FuzzInput input) {
  const auto format = static_cast<PixelFormat>(input.Size(0, 9));
  const std::size_t least = format >= PixelFormat::kBayerRggb8 ? 3 : 1;
  const std::size_t height = input.MostlySmall(least, 16, 80);
  const std::size_t width = input.MostlySmall(least, 70, 200);
  Frame frame{format, static_cast<ColourMatrix>(input.Size(0, 1)),
              static_cast<ColourRange>(input.Size(0, 1)), static_cast<std::ptrdiff_t>(height),
              static_cast<std::ptrdiff_t>(width), {}};
  std::vector<Rows> planes;
  for (const PlaneSize size : PlaneSizes(format, height, width)) {
    planes.emplace_back(input, size.rows, size.row_bytes);
    frame.planes[planes.size() - 1] = {planes.back().first, static_cast<std::ptrdiff_t>(size.rows),
                                       static_cast<std::ptrdiff_t>(size.row_bytes),
                                       planes.back().stride};
  }
  Check(PlanesFit(frame, planes.size()), "the planes hold the frame");

  const std::ptrdiff_t largest = input.Bool() ? 150 : 1 << 24;
  const FramePlacement placement{input.Offset(1, largest), input.Offset(1, largest),
                                 input.Offset(-largest, largest), input.Offset(-largest, largest)};
  const Normalisation norm{static_cast<Colour>(input.Size(0, 2)), input.Float(),
                           {input.Float(), input.Float(), input.Float()},
                           {input.Float(), input.Float(), input.Float()}};
  const auto type = static_cast<ElementType>(input.Size(0, 2));
  const std::size_t out_height = input.MostlySmall(1, 16, 70);
  const std::size_t out_width = input.MostlySmall(1, 70, 150);
  const std::size_t num_elements = (norm.colour == Colour::kGray ? 1 : 3) * out_height * out_width;
  const std::size_t element_bytes[] = {4, 2, 1};
  std::vector<unsigned char> out(num_elements * element_bytes[static_cast<std::size_t>(type)]);
  LetterboxCpu(frame, placement, static_cast<Interpolation>(input.Size(0, 1)), norm,
               {out.data(), type, input.Bool(), static_cast<std::ptrdiff_t>(out_height),
                static_cast<std::ptrdiff_t>(out_width)});
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::Run({bytes, size});
  return 0;
}
