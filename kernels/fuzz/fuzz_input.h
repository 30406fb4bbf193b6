// Turns the bytes of a fuzzer into sizes, options and arrays.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
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
  // A size that is mostly small, for thousands of inputs a second, and now and then a large one.
  std::size_t MostlySmall(std::size_t low, std::size_t usual, std::size_t most) {
    return Size(low, Size(0, 63) == 63 ? most : usual);
  }
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
    const std::uint32_t seed = In<std::uint32_t>(0, UINT32_MAX);
    struct Range {
      float low, high;
    };
    constexpr Range kRanges[] = {{0.0f, 1.0f}, {-8.0f, 8.0f}, {-20.0f, 120.0f}, {-1e6f, 1e6f}};
    const std::size_t choice = Size(0, 4);
    std::vector<float> values(count);
    if (choice == 4) {
      Generate(seed, values, FloatOf);
    } else {
      const float low = kRanges[choice].low, step = (kRanges[choice].high - low) * 0x1p-24f;
      Generate(seed, values, [=](std::uint32_t word) {
        return low + step * static_cast<float>(word >> 8);
      });
    }
    if (count > 0) {
      for (std::size_t i = Size(0, 12); i > 0; --i) values[Size(0, count - 1)] = Float();
    }
    return values;
  }

  template <typename T>
  std::vector<T> Integers(std::size_t count, T low, T high) {
    const std::uint32_t seed = In<std::uint32_t>(0, UINT32_MAX);
    const std::uint64_t span = static_cast<std::uint64_t>(std::int64_t{high} - low) + 1;
    std::vector<T> values(count);
    Generate(seed, values, [=](std::uint32_t word) {
      return static_cast<T>(low + static_cast<std::int64_t>((word * span) >> 32));
    });
    if (count > 0) {
      for (std::size_t i = Size(0, 12); i > 0; --i) values[Size(0, count - 1)] = In(low, high);
    }
    return values;
  }

 private:
  // A counter that is scrambled (the finaliser of MurmurHash3) needs no state to be set up. Not
  // instrumented: most of an input is made here, and nothing of the kernels is tested by it.
  template <typename T, typename ElementOf>
  __attribute__((no_sanitize("address", "undefined", "coverage"))) static void Generate(
      std::uint32_t seed, std::vector<T>& values, ElementOf element_of) {
    T* const data = values.data();
    const std::size_t count = values.size();
    for (std::size_t i = 0; i < count; ++i) {
      std::uint32_t word = seed + static_cast<std::uint32_t>(i) * 0x9e3779b9u;
      word = (word ^ (word >> 16)) * 0x85ebca6bu;
      word = (word ^ (word >> 13)) * 0xc2b2ae35u;
      data[i] = element_of(word ^ (word >> 16));
    }
  }

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
