// CPU implementation of resize_argmax.h. Between four neighbouring logits the difference of two
// classes is bilinear, so that a class that wins at all four wins in between: where the winners at
// the logits of a tile of output agree, the tile is filled. In the other tiles all classes are
// interpolated horizontally once per pair of rows of logits, those that cannot win are dropped, and
// the rest are compared pixel by pixel, in registers, for all output rows of that pair.

#include "resize_argmax/resize_argmax.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "common/parallel.h"
#include "common/intrinsics.h"
#include "common/simd.h"
#include "resize_argmax/interpolation.h"
#include "resize_argmax/tile.h"

namespace edgecv {
namespace resize_argmax {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Each `Picker` fetches, for a vector of output columns, the logits left and right of them. With
// AVX, neighbouring columns draw on a few neighbouring logits: one load, from the first of them,
// and two permutations; a load is masked to what the columns need, so that it reads no further.

#if defined(__x86_64__)
namespace v4 {
#define EDGECV_LANES_TARGET EDGECV_TARGET_V4
constexpr std::size_t kLanes = 16;
typedef float Float __attribute__((vector_size(64)));
typedef std::int32_t Int __attribute__((vector_size(64)));

EDGECV_LANES_TARGET inline bool Any(const Int& mask) {
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
}

struct Picker {
  // Masked forms, although all lanes are meant: GCC 12 takes the others for uninitialised reads.
  static constexpr __mmask16 kAll = 0xffff;

  EDGECV_LANES_TARGET explicit Picker(const Taps& taps) {
    const std::int32_t span = taps.high[kLanes - 1] - taps.low[0] + 1;
    first = taps.low[0];
    fits = span <= static_cast<std::int32_t>(kLanes);
    used = static_cast<__mmask16>((1u << (fits ? span : 0)) - 1);
    low_index = _mm512_sub_epi32(_mm512_loadu_si512(taps.low), _mm512_set1_epi32(first));
    high_index = _mm512_sub_epi32(_mm512_loadu_si512(taps.high), _mm512_set1_epi32(first));
  }
  EDGECV_LANES_TARGET void operator()(const float* row, Float& low, Float& high) const {
    const float* values = row + first;
    if (fits) {
      const __m512 window = _mm512_maskz_loadu_ps(used, values);
      low = _mm512_maskz_permutexvar_ps(kAll, low_index, window);
      high = _mm512_maskz_permutexvar_ps(kAll, high_index, window);
    } else {
      const __m512 zero = _mm512_setzero_ps();
      low = _mm512_mask_i32gather_ps(zero, kAll, low_index, values, sizeof(float));
      high = _mm512_mask_i32gather_ps(zero, kAll, high_index, values, sizeof(float));
    }
  }
  __m512i low_index, high_index;
  std::int32_t first;
  __mmask16 used;
  bool fits;
};

#include "resize_argmax/resize_argmax_lanes.inc"
#undef EDGECV_LANES_TARGET
}  // namespace v4

namespace v3 {
#define EDGECV_LANES_TARGET EDGECV_TARGET_V3
constexpr std::size_t kLanes = 8;
typedef float Float __attribute__((vector_size(32)));
typedef std::int32_t Int __attribute__((vector_size(32)));

EDGECV_LANES_TARGET inline bool Any(const Int& mask) {
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) != 0;
}

struct Picker {
  EDGECV_LANES_TARGET explicit Picker(const Taps& taps) {
    const std::int32_t span = taps.high[kLanes - 1] - taps.low[0] + 1;
    first = taps.low[0];
    fits = span <= static_cast<std::int32_t>(kLanes);
    used = _mm256_cmpgt_epi32(_mm256_set1_epi32(span), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    low_index = _mm256_sub_epi32(LoadInts(taps.low), _mm256_set1_epi32(first));
    high_index = _mm256_sub_epi32(LoadInts(taps.high), _mm256_set1_epi32(first));
  }
  EDGECV_LANES_TARGET void operator()(const float* row, Float& low, Float& high) const {
    const float* values = row + first;
    if (fits) {
      const __m256 window = _mm256_maskload_ps(values, used);
      low = _mm256_permutevar8x32_ps(window, low_index);
      high = _mm256_permutevar8x32_ps(window, high_index);
    } else {
      low = _mm256_i32gather_ps(values, low_index, sizeof(float));
      high = _mm256_i32gather_ps(values, high_index, sizeof(float));
    }
  }
  EDGECV_LANES_TARGET static __m256i LoadInts(const std::int32_t* values) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
  }
  __m256i low_index, high_index, used;
  std::int32_t first;
  bool fits;
};

#include "resize_argmax/resize_argmax_lanes.inc"
#undef EDGECV_LANES_TARGET
}  // namespace v3
#endif

namespace baseline {
#define EDGECV_LANES_TARGET
constexpr std::size_t kLanes = 4;
typedef float Float __attribute__((vector_size(16)));
typedef std::int32_t Int __attribute__((vector_size(16)));

inline bool Any(const Int& mask) {
  std::int64_t halves[2];
  std::memcpy(halves, &mask, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

struct Picker {
  explicit Picker(const Taps& columns) : taps(columns) {}
  void operator()(const float* row, Float& low, Float& high) const {
    low = Float{row[taps.low[0]], row[taps.low[1]], row[taps.low[2]], row[taps.low[3]]};
    high = Float{row[taps.high[0]], row[taps.high[1]], row[taps.high[2]], row[taps.high[3]]};
  }
  Taps taps;
};

#include "resize_argmax/resize_argmax_lanes.inc"
#undef EDGECV_LANES_TARGET
}  // namespace baseline

void FindWinners(const float* logits, std::size_t plane, std::size_t num_classes,
                 std::size_t count, std::uint8_t* winners) {
  switch (CpuLevel()) {
#if defined(__x86_64__)
    case Level::kV4: return v4::FindWinners(logits, plane, num_classes, count, winners);
    case Level::kV3: return v3::FindWinners(logits, plane, num_classes, count, winners);
#endif
    default: return baseline::FindWinners(logits, plane, num_classes, count, winners);
  }
}

template <bool kConfidence>
void DecideTiles(const Tiles& tiles, Rivals& rivals) {
  switch (CpuLevel()) {
#if defined(__x86_64__)
    case Level::kV4: return v4::DecideTiles<kConfidence>(tiles, rivals);
    case Level::kV3: return v3::DecideTiles<kConfidence>(tiles, rivals);
#endif
    default: return baseline::DecideTiles<kConfidence>(tiles, rivals);
  }
}

// The taps of every output pixel of an axis, followed by repetitions of the last one up to a whole
// number of tiles.
struct Axis {
  Axis(std::size_t size, std::size_t out_size, AxisMap map)
      : low(Padded(out_size)), high(low.size()), weight(low.size()) {
    const auto last = static_cast<std::int32_t>(size) - 1;
    for (std::size_t k = 0; k < low.size(); ++k) {
      const Tap tap = TapOf(static_cast<std::int32_t>(std::min(k, out_size - 1)), map, last);
      low[k] = tap.low;
      high[k] = tap.high;
      weight[k] = tap.weight;
    }
  }
  static std::size_t Padded(std::size_t size) {
    return (size + kTileColumns - 1) / kTileColumns * kTileColumns;
  }
  std::vector<std::int32_t> low, high;
  std::vector<float> weight;
};

// Output rows between the same two rows of logits.
struct Strip {
  std::size_t first, last;  // output rows, the last excluded
};

std::vector<Strip> StripsOf(const Axis& rows, std::size_t out_height) {
  std::vector<Strip> strips;
  for (std::size_t y = 0; y < out_height; ++y) {
    if (y == 0 || rows.low[y] != rows.low[y - 1]) strips.push_back({y, y});
    strips.back().last = y + 1;
  }
  return strips;
}

class Resizer {
 public:
  Resizer(const Logits& logits, AxisMap map_y, AxisMap map_x, std::size_t out_height,
          std::size_t out_width, std::uint8_t* labels, float* confidence)
      : logits_(logits),
        plane_(logits.height * logits.width),
        rows_(logits.height, out_height, map_y),
        columns_(logits.width, out_width, map_x),
        strips_(StripsOf(rows_, out_height)),
        out_height_(out_height),
        out_width_(out_width),
        labels_(labels),
        confidence_(confidence) {}

  void Run() {
    // Where there are not many more pixels than logits, to know the winners would not pay.
    if (out_height_ * out_width_ / 4 >= plane_) {
      winners_.resize(plane_);
      const std::size_t grain = 1 + kGrain / logits_.num_classes;
      ParallelFor(plane_, grain, [&](std::size_t begin, std::size_t end) {
        FindWinners(logits_.values + begin, plane_, logits_.num_classes, end - begin,
                    winners_.data() + begin);
      });
    }
    const std::size_t strip_pixels = (out_height_ / strips_.size() + 1) * out_width_;
    ParallelFor(strips_.size(), 1 + kGrain / strip_pixels, [&](std::size_t begin, std::size_t end) {
      Rivals rivals;
      for (std::size_t s = begin; s < end; ++s) FillStrip(strips_[s], rivals);
    });
  }

 private:
  static constexpr std::size_t kGrain = std::size_t{1} << 16;  // pixels or logits: some 100 us

  void FillStrip(const Strip& strip, Rivals& rivals) const {
    std::size_t x = 0;
    int next = CommonWinner(strip, 0);
    while (x < out_width_) {
      const std::size_t first = x;
      const int label = next;
      do {
        x += kTileColumns;
      } while (x < out_width_ && (next = CommonWinner(strip, x)) == label);
      x = std::min(x, out_width_);
      if (label < 0 || confidence_ != nullptr) Decide(strip, first, x - first, rivals);
      if (label >= 0) {
        for (std::size_t y = strip.first; y < strip.last; ++y)
          std::memset(labels_ + y * out_width_ + first, label, x - first);
      }
    }
  }

  // The class that wins at all logits around the tile at column `x`, -1 if there is none.
  int CommonWinner(const Strip& strip, std::size_t x) const {
    if (winners_.empty()) return -1;
    const std::size_t left = Index(columns_.low[x]);
    const std::size_t right = Index(columns_.high[x + kTileColumns - 1]);
    const std::uint8_t* row0 = winners_.data() + Index(rows_.low[strip.first]) * logits_.width;
    const std::uint8_t* row1 = winners_.data() + Index(rows_.high[strip.first]) * logits_.width;
    const std::uint8_t label = row0[left];
    for (std::size_t i = left; i <= right; ++i) {
      if (row0[i] != label || row1[i] != label) return -1;
    }
    return label;
  }

  void Decide(const Strip& strip, std::size_t x, std::size_t num_columns, Rivals& rivals) const {
    const std::size_t offset = strip.first * out_width_ + x;
    const Tiles tiles = {
        logits_.values + Index(rows_.low[strip.first]) * logits_.width,
        logits_.values + Index(rows_.high[strip.first]) * logits_.width,
        plane_,
        logits_.num_classes,
        {columns_.low.data() + x, columns_.high.data() + x, columns_.weight.data() + x},
        num_columns,
        rows_.weight.data() + strip.first,
        strip.last - strip.first,
        labels_ + offset,
        confidence_ == nullptr ? nullptr : confidence_ + offset,
        out_width_,
    };
    if (confidence_ == nullptr) {
      DecideTiles<false>(tiles, rivals);
    } else {
      DecideTiles<true>(tiles, rivals);
    }
  }

  static std::size_t Index(std::int32_t tap) { return static_cast<std::size_t>(tap); }

  const Logits logits_;
  const std::size_t plane_;  // logits of a class
  const Axis rows_, columns_;
  const std::vector<Strip> strips_;
  const std::size_t out_height_, out_width_;
  std::uint8_t* const labels_;
  float* const confidence_;
  std::vector<std::uint8_t> winners_;  // per logit; empty if not known
};

}  // namespace
}  // namespace resize_argmax

void ResizeArgmaxCpu(const Logits& logits, AxisMap map_y, AxisMap map_x, std::size_t out_height,
                     std::size_t out_width, std::uint8_t* labels, float* confidence) {
  resize_argmax::Resizer(logits, map_y, map_x, out_height, out_width, labels, confidence).Run();
}

}  // namespace edgecv
