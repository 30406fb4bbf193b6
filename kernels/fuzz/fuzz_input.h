// Turns the bytes of a fuzzer into sizes, options and arrays.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace edgecv::fuzz {

// What an operator promises. The sanitizers see the rest.
inline void Check(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* bytes, std::size_t size) : bytes_(bytes, size) {}

  template <typename T>
  T In(T low, T high) {
    return bytes_.ConsumeIntegralInRange<T>(low, high);
  }
  std::size_t Size(std::size_t low, std::size_t high) { return In(low, high); }
  std::ptrdiff_t Offset(std::ptrdiff_t low, std::ptrdiff_t high) { return In(low, high); }
  bool Bool() { return bytes_.ConsumeBool(); }
  float Fraction() { return bytes_.ConsumeProbability<float>(); }

  // Any float at all, the ones that break things more often.
  float Float() {
    constexpr float kMax = std::numeric_limits<float>::max();
    constexpr float kSpecial[] = {0.0f, -0.0f, 0.5f, 1.0f, -1.0f, 2.5f, 1e-40f, kMax, -kMax,
                                  0x1p22f, 0x1p24f, -0x1p24f, 0x1p30f, 0x1p31f, -0x1p31f, 0x1p32f,
                                  0x1p63f, -0x1p63f, 0x1p64f,
                                  std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity(),
                                  std::numeric_limits<float>::quiet_NaN()};
    constexpr std::size_t kNumSpecial = sizeof kSpecial / sizeof *kSpecial;
    const std::size_t choice = Size(0, 255);
    if (choice < kNumSpecial) return kSpecial[choice];
    if (choice < 128) return static_cast<float>(In(-512, 512)) / 4.0f;
    return FloatOf(In<std::uint32_t>(0, UINT32_MAX));
  }
  // A positive, finite number.
  float Scale() { return bytes_.ConsumeFloatingPointInRange<float>(1e-6f, 1e3f); }

  // Exactly `count` elements on the heap, so that the sanitizer sees a step over either end. Most
  // come from a generator, because the input is short; a few are the fuzzer's own.
  std::vector<float> Floats(std::size_t count) {
    std::mt19937 bits(In<std::uint32_t>(0, UINT32_MAX));
    struct Range {
      float low, high;
    };
    constexpr Range kRanges[] = {{0.0f, 1.0f}, {-8.0f, 8.0f}, {-20.0f, 120.0f}, {-1e6f, 1e6f}};
    const std::size_t choice = Size(0, 4);
    std::vector<float> values(count);
    for (float& value : values) {
      const auto word = static_cast<std::uint32_t>(bits());
      if (choice == 4) {
        value = FloatOf(word);
      } else {
        const Range range = kRanges[choice];
        value = range.low + (range.high - range.low) * static_cast<float>(word >> 8) * 0x1p-24f;
      }
    }
    if (count > 0) {
      for (std::size_t i = Size(0, 12); i > 0; --i) values[Size(0, count - 1)] = Float();
    }
    return values;
  }

  template <typename T>
  std::vector<T> Integers(std::size_t count, T low, T high) {
    std::mt19937 bits(In<std::uint32_t>(0, UINT32_MAX));
    std::uniform_int_distribution<std::int64_t> any(low, high);
    std::vector<T> values(count);
    for (T& value : values) value = static_cast<T>(any(bits));
    if (count > 0) {
      for (std::size_t i = Size(0, 12); i > 0; --i) values[Size(0, count - 1)] = In(low, high);
    }
    return values;
  }

 private:
  static float FloatOf(std::uint32_t word) {
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }

  FuzzedDataProvider bytes_;
};

// Rows of bytes with any stride, of which the last row ends with the memory.
struct Rows {
  std::vector<std::uint8_t> memory;
  std::ptrdiff_t stride;
  std::uint8_t* first;

  Rows(FuzzInput& input, std::size_t num_rows, std::size_t row_bytes) {
    const std::size_t step = row_bytes + input.Size(0, 9);
    memory = input.Integers<std::uint8_t>((num_rows - 1) * step + row_bytes, 0, 255);
    const bool flipped = input.Bool();
    stride = flipped ? -static_cast<std::ptrdiff_t>(step) : static_cast<std::ptrdiff_t>(step);
    first = memory.data() + (flipped ? (num_rows - 1) * step : 0);
  }
};

}  // namespace edgecv::fuzz
