// Every operator from many threads at once, on a pool of several, gives what it gives alone. Meant
// to be run under ThreadSanitizer and AddressSanitizer.
//
// To add an operator: a function that runs it on a fixed input and returns the bytes of what it
// wrote, and its line in `kOperators`.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "common/parallel.h"
#include "decode_nanodet/decode_nanodet.h"
#include "decode_ssd/decode_ssd.h"
#include "decode_yolo/decode_yolo.h"
#include "decode_yolox/decode_yolox.h"
#include "letterbox/letterbox.h"
#include "nms/nms.h"

namespace {

using namespace edgecv;

using Bytes = std::vector<unsigned char>;

template <typename T>
void Append(Bytes& bytes, const T* values, std::size_t count) {
  const std::size_t size = bytes.size();
  bytes.resize(size + count * sizeof(T));
  if (count > 0) std::memcpy(bytes.data() + size, values, count * sizeof(T));
}

std::vector<float> Uniform(std::size_t count, float low, float high) {
  std::mt19937 bits(static_cast<unsigned>(count));
  std::vector<float> values(count);
  for (float& value : values) {
    value = low + (high - low) * static_cast<float>(bits() >> 8) * 0x1p-24f;
  }
  return values;
}

// x, y and stride of anchor points 8 pixels apart, in rows of 40.
std::vector<float> Points(std::size_t count) {
  std::vector<float> points;
  for (std::size_t i = 0; i < count; ++i) {
    points.insert(points.end(), {static_cast<float>(i % 40 * 8 + 4),
                                 static_cast<float>(i / 40 * 8 + 4), 8.0f});
  }
  return points;
}

// `decode` writes into buffers of `rows` rows and returns how many it wrote.
template <typename Decode>
Bytes Decoded(std::size_t rows, Decode decode) {
  std::vector<float> boxes(4 * rows), scores(rows);
  std::vector<std::int32_t> class_ids(rows);
  const std::size_t count = decode(Candidates{boxes.data(), scores.data(), class_ids.data()});
  Bytes bytes;
  Append(bytes, boxes.data(), 4 * count);
  Append(bytes, scores.data(), count);
  Append(bytes, class_ids.data(), count);
  return bytes;
}

constexpr std::size_t kAnchors = 1000, kClasses = 20, kBins = 8;

Bytes RunDecodeNanodet() {
  const auto head = Uniform(kAnchors * (kClasses + 4 * kBins), 0.0f, 1.0f);
  const auto points = Points(kAnchors);
  return Decoded(kAnchors, [&](Candidates out) {
    return DecodeNanodetCpu(head.data(), points.data(), kAnchors, kBins, {kClasses, 0.9f, false},
                            out);
  });
}

Bytes RunDecodeSsd() {
  const auto offsets = Uniform(kAnchors * 4, -1.0f, 1.0f);
  const auto logits = Uniform(kAnchors * (1 + kClasses), -4.0f, 4.0f);
  const auto anchors = Uniform(kAnchors * 4 + 4, 1.0f, 300.0f);
  return Decoded(kAnchors * kClasses, [&](Candidates out) {
    return DecodeSsdCpu({offsets.data(), logits.data(), anchors.data(), kAnchors, kClasses, 0.1f,
                         0.2f},
                        0.1f, out);
  });
}

Bytes RunDecodeYolo() {
  const auto head = Uniform(kAnchors * (4 + kClasses), 0.0f, 1.0f);
  return Decoded(kAnchors * kClasses, [&](Candidates out) {
    return DecodeYoloCpu({head.data(), kAnchors, 1}, kAnchors, {kClasses, 0.9f, true}, out);
  });
}

Bytes RunDecodeYoloDfl() {
  const std::size_t channels = 4 * kBins + kClasses;
  const auto head = Uniform(kAnchors * channels, -4.0f, 4.0f);
  const auto points = Points(kAnchors);
  return Decoded(kAnchors, [&](Candidates out) {
    return DecodeYoloDflCpu({head.data(), 1, channels}, points.data(), kAnchors, kBins,
                            {kClasses, 0.9f, false}, out);
  });
}

Bytes RunDecodeYolox() {
  const auto head = Uniform(kAnchors * (5 + kClasses), 0.0f, 1.0f);
  const auto points = Points(kAnchors);
  return Decoded(kAnchors, [&](Candidates out) {
    return DecodeYoloxCpu(head.data(), points.data(), kAnchors, {kClasses, 0.5f, false}, out);
  });
}

Bytes RunLetterbox() {
  constexpr std::ptrdiff_t kHeight = 270, kWidth = 480, kSide = 160;
  std::vector<std::uint8_t> pixels(3 * kHeight * kWidth);
  std::mt19937 bits(1);
  for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>(bits());
  std::vector<float> out(3 * kSide * kSide);
  LetterboxCpu({pixels.data(), kHeight, kWidth, 3 * kWidth}, {90, kSide, 0, 35},
               {true, 114.0f, {1.0f, 2.0f, 3.0f}, {0.0f, -1.0f, 1.0f}}, kSide, kSide, out.data());
  Bytes bytes;
  Append(bytes, out.data(), out.size());
  return bytes;
}

Bytes RunNms() {
  auto boxes = Uniform(4 * kAnchors, 0.0f, 200.0f);
  for (std::size_t i = 0; i < boxes.size(); i += 4) {
    boxes[i + 2] = boxes[i] + 60.0f, boxes[i + 3] = boxes[i + 1] + 60.0f;
  }
  const auto scores = Uniform(kAnchors, 0.0f, 1.0f);
  std::vector<std::int32_t> class_ids(kAnchors);
  for (std::size_t i = 0; i < kAnchors; ++i) class_ids[i] = static_cast<std::int32_t>(i % 3);
  std::vector<std::int64_t> kept(kAnchors);
  const std::size_t count =
      NmsCpu(boxes.data(), scores.data(), class_ids.data(), kAnchors, 0.5, kAnchors, kept.data());
  Bytes bytes;
  Append(bytes, kept.data(), count);
  return bytes;
}

struct Operator {
  const char* name;
  Bytes (*run)();
};

constexpr Operator kOperators[] = {
    {"decode_nanodet", RunDecodeNanodet},
    {"decode_ssd", RunDecodeSsd},
    {"decode_yolo", RunDecodeYolo},
    {"decode_yolo_dfl", RunDecodeYoloDfl},
    {"decode_yolox", RunDecodeYolox},
    {"letterbox", RunLetterbox},
    {"nms", RunNms},
};
constexpr std::size_t kNumOperators = sizeof kOperators / sizeof *kOperators;

}  // namespace

int main() {
  constexpr std::size_t kThreads = 8;
  constexpr int kRounds = 3;
  SetNumThreads(1);
  std::vector<Bytes> alone;
  for (const Operator& op : kOperators) {
    alone.push_back(op.run());
    if (alone.back().empty()) {
      std::fprintf(stderr, "concurrency_test: %s wrote nothing\n", op.name);
      return 1;
    }
  }
  SetNumThreads(4);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kRounds * kNumOperators; ++i) {
        const std::size_t index = (t + i) % kNumOperators;  // each starts with another operator
        if (kOperators[index].run() == alone[index]) continue;
        std::fprintf(stderr, "concurrency_test: %s differs from a call alone\n",
                     kOperators[index].name);
        ++failures;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (failures > 0) return 1;
  std::printf("concurrency_test: %zu operators, %zu threads: passed\n", kNumOperators, kThreads);
}
