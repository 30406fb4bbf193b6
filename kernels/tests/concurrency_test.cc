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
#include <thread>
#include <vector>

#include "blend_labels/blend_labels.h"
#include "box_iou/box_iou.h"
#include "byte_track/byte_track.h"
#include "colorize/colorize.h"
#include "common/parallel.h"
#include "decode_nanodet/decode_nanodet.h"
#include "decode_ssd/decode_ssd.h"
#include "decode_yolo/decode_yolo.h"
#include "decode_yolox/decode_yolox.h"
#include "draw_boxes/draw_boxes.h"
#include "draw_masks/draw_masks.h"
#include "letterbox/letterbox.h"
#include "linear_assignment/linear_assignment.h"
#include "nms/nms.h"
#include "paste_masks/paste_masks.h"
#include "resize_argmax/resize_argmax.h"
#include "roi_align/roi_align.h"
#include "roi_pool/roi_pool.h"
#include "soft_nms/soft_nms.h"

namespace {

using namespace edgecv;

using Bytes = std::vector<unsigned char>;

template <typename T>
void Append(Bytes& bytes, const T* values, std::size_t count) {
  const std::size_t size = bytes.size();
  bytes.resize(size + count * sizeof(T));
  if (count > 0) std::memcpy(bytes.data() + size, values, count * sizeof(T));
}

// A small generator: a large one's state in memory is what the sanitizers would spend their time on.
struct Noise {
  std::uint32_t state;

  std::uint32_t operator()() {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
  }
};

std::vector<float> Uniform(std::size_t count, float low, float high) {
  Noise bits{static_cast<std::uint32_t>(count) + 1};
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

template <typename T>
Bytes BytesOf(const std::vector<T>& values, std::size_t count) {
  Bytes bytes;
  Append(bytes, values.data(), count);
  return bytes;
}

constexpr std::size_t kAnchors = 1000, kClasses = 20, kBins = 8, kCapacity = 100;
constexpr Suppression kSuppression{0.5, false, {1.0f, 1.0f}, {0.0f, 0.0f}};

// `decode` writes detections and returns how many.
template <typename Decode>
Bytes Decoded(Decode decode) {
  std::vector<float> boxes(4 * kCapacity), scores(kCapacity);
  std::vector<std::int32_t> class_ids(kCapacity);
  const std::size_t count =
      decode(Detections{boxes.data(), scores.data(), class_ids.data(), kCapacity});
  Bytes bytes = BytesOf(boxes, 4 * count);
  Append(bytes, scores.data(), count);
  Append(bytes, class_ids.data(), count);
  return bytes;
}

// Objects that stand side by side and tremble, for a few frames.
Bytes RunByteTrack() {
  constexpr std::size_t kObjects = 30, kFrames = 4, kRoom = kObjects * kFrames;
  constexpr TrackOptions kOptions{0.5, 0.1, 0.6, 0.2, 0.5, 0.3, 1.0, 2, true};
  const auto noise = Uniform(kFrames * kObjects * 4, -1.0f, 1.0f);
  const std::vector<float> scores(kObjects, 0.9f);
  const std::vector<std::int32_t> class_ids(kObjects, 0);
  std::vector<double> motion(20 * kRoom), unseen_s(kRoom);
  std::vector<std::int64_t> labels(4 * kRoom), track_ids(kObjects);
  std::size_t num_tracks = 0;
  std::int64_t next_id = 1;
  for (std::size_t frame = 0; frame < kFrames; ++frame) {
    std::vector<float> boxes;
    for (std::size_t i = 0; i < kObjects; ++i) {
      const float* moved = &noise[4 * (frame * kObjects + i)];
      const float x = static_cast<float>(i % 10 * 50), y = static_cast<float>(i / 10 * 50);
      boxes.insert(boxes.end(),
                   {x + moved[0], y + moved[1], x + 40 + moved[2], y + 40 + moved[3]});
    }
    num_tracks = ByteTrackCpu({motion.data(), unseen_s.data(), labels.data()}, num_tracks,
                              boxes.data(), scores.data(), class_ids.data(), kObjects, 1.0 / 30,
                              kOptions, &next_id, track_ids.data());
  }
  Bytes bytes = BytesOf(track_ids, kObjects);
  Append(bytes, motion.data(), 20 * num_tracks);
  return bytes;
}

Bytes RunDecodeNanodet() {
  const std::size_t channels = kClasses + 4 * kBins;
  const auto head = Uniform(kAnchors * channels, 0.0f, 1.0f);
  const auto points = Points(kAnchors);
  return Decoded([&](const Detections& out) {
    return DecodeNanodetCpu({head.data(), 1, channels}, points.data(), kAnchors, kBins,
                            {kClasses, 0.9f, false}, kSuppression, out);
  });
}

Bytes RunDecodeSsd() {
  const auto offsets = Uniform(kAnchors * 4, -1.0f, 1.0f);
  const auto logits = Uniform(kAnchors * (1 + kClasses), -4.0f, 4.0f);
  const auto anchors = Uniform(kAnchors * 4, 1.0f, 300.0f);
  return Decoded([&](const Detections& out) {
    return DecodeSsdCpu({{offsets.data(), 1, 4}, {logits.data(), 1, 1 + kClasses}, anchors.data(),
                         kAnchors, kClasses, 0.1f, 0.2f, Activation::kSoftmax},
                        0.1f, kSuppression, out);
  });
}

Bytes RunDecodeYolo() {
  const auto head = Uniform(kAnchors * (4 + kClasses), 0.0f, 1.0f);
  return Decoded([&](const Detections& out) {
    return DecodeYoloCpu({head.data(), kAnchors, 1}, kAnchors, {kClasses, 0.9f, true}, kSuppression,
                         out);
  });
}

Bytes RunDecodeYoloDfl() {
  const auto head = Uniform(kAnchors * (4 * kBins + kClasses), -4.0f, 4.0f);
  const auto points = Points(kAnchors);
  return Decoded([&](const Detections& out) {
    return DecodeYoloDflCpu({head.data(), kAnchors, 1}, points.data(), kAnchors, kBins,
                            {kClasses, 0.9f, false}, kSuppression, out);
  });
}

Bytes RunDecodeYolox() {
  const auto head = Uniform(kAnchors * (5 + kClasses), 0.0f, 1.0f);
  const auto points = Points(kAnchors);
  return Decoded([&](const Detections& out) {
    return DecodeYoloxCpu({head.data(), 1, 5 + kClasses}, points.data(), kAnchors,
                          {kClasses, 0.5f, false}, kSuppression, out);
  });
}

// Boxes of 60 x 60 pixels, many of which overlap.
std::vector<float> Boxes(std::size_t count) {
  auto boxes = Uniform(4 * count, 0.0f, 200.0f);
  for (std::size_t i = 0; i < boxes.size(); i += 4) {
    boxes[i + 2] = boxes[i] + 60.0f, boxes[i + 3] = boxes[i + 1] + 60.0f;
  }
  return boxes;
}

Bytes RunLinearAssignment() {
  constexpr std::size_t kRows = 40, kColumns = 50;
  const auto values = Uniform(kRows * kColumns, -1.0f, 1.0f);
  const std::vector<double> gains(values.begin(), values.end());
  std::vector<std::int64_t> column_of_row(kRows);
  LinearAssignmentCpu(gains.data(), kRows, kColumns, column_of_row.data());
  return BytesOf(column_of_row, kRows);
}

Bytes RunNms() {
  const auto boxes = Boxes(kAnchors), scores = Uniform(kAnchors, 0.0f, 1.0f);
  std::vector<std::int64_t> kept(kAnchors);
  return BytesOf(kept, NmsCpu(boxes.data(), scores.data(), nullptr, kAnchors, 0.5, kAnchors,
                              kept.data()));
}

Bytes RunSoftNms() {
  constexpr std::size_t kBoxes = 200;
  const auto boxes = Boxes(kBoxes), scores = Uniform(kBoxes, 0.0f, 1.0f);
  std::vector<std::int64_t> kept(kBoxes);
  std::vector<float> kept_scores(kBoxes);
  return BytesOf(kept, SoftNmsCpu(boxes.data(), scores.data(), nullptr, kBoxes, {true, 0.5, 0.0},
                                  0.1, kBoxes, kept.data(), kept_scores.data()));
}

Bytes RunBoxIou() {
  const auto a = Boxes(100), b = Boxes(70);
  std::vector<float> out(100 * 70);
  BoxIouCpu(a.data(), 100, b.data(), 70, Overlap::kCiou, out.data());
  return BytesOf(out, out.size());
}

std::vector<std::uint8_t> RandomBytes(std::size_t count, unsigned modulus) {
  Noise bits{static_cast<std::uint32_t>(count) + 1};
  std::vector<std::uint8_t> values(count);
  for (auto& value : values) value = static_cast<std::uint8_t>(bits() % modulus);
  return values;
}

Bytes Fitted(PixelFormat format, const std::vector<std::uint8_t>& pixels, std::ptrdiff_t height,
             std::ptrdiff_t width, Interpolation interpolation) {
  constexpr std::ptrdiff_t kSide = 320;
  const std::ptrdiff_t row_bytes = static_cast<std::ptrdiff_t>(pixels.size()) / height;
  Frame frame{format, ColourMatrix::kBt601, ColourRange::kLimited, height, width, {}};
  frame.planes[0] = {pixels.data(), height, row_bytes, row_bytes};
  std::vector<float> out(3 * kSide * kSide);
  LetterboxCpu(frame, {180, kSide, 0, 70}, interpolation,
               {Colour::kRgb, 114.0f, {1.0f, 2.0f, 3.0f}, {0.0f, -1.0f, 1.0f}},
               {out.data(), ElementType::kFloat32, false, kSide, kSide});
  return BytesOf(out, out.size());
}

Bytes RunLetterbox() {
  // So many pixels that two threads share them, made once.
  constexpr std::ptrdiff_t kHeight = 1620, kWidth = 2880;
  static const auto pixels = RandomBytes(3 * kHeight * kWidth, 256);
  return Fitted(PixelFormat::kBgr24, pixels, kHeight, kWidth, Interpolation::kBilinear);
}

Bytes RunLetterboxArea() {
  return Fitted(PixelFormat::kBayerRggb8, RandomBytes(360 * 640, 256), 360, 640,
                Interpolation::kArea);
}

template <typename Pool>
Bytes Pooled(Pool pool) {
  constexpr std::size_t kChannels = 48, kSide = 32, kRois = 12;
  const auto map = Uniform(kChannels * kSide * kSide, -1.0f, 1.0f), rois = Boxes(kRois);
  const FeatureLevel level{map.data(), kSide, kSide, 0.125f};
  std::vector<float> out(kRois * kChannels * 49);
  pool(Features{&level, 1, 1, kChannels}, Rois{rois.data(), nullptr, nullptr, kRois},
       BinGrid{7, 7}, out.data());
  return BytesOf(out, out.size());
}

Bytes RunRoiAlign() {
  return Pooled([](const Features& features, const Rois& rois, BinGrid grid, float* out) {
    RoiAlignCpu(features, rois, grid, {2, true}, out);
  });
}

Bytes RunRoiPool() { return Pooled(RoiPoolCpu); }

Bytes RunResizeArgmax() {
  constexpr std::size_t kSide = 16, kOut = 256;
  const auto logits = Uniform(kClasses * kSide * kSide, -4.0f, 4.0f);
  std::vector<std::uint8_t> labels(kOut * kOut);
  std::vector<float> confidence(kOut * kOut);
  const AxisMap map{0.0625f, -0.46875f};
  ResizeArgmaxCpu({logits.data(), kClasses, kSide, kSide}, map, map, kOut, kOut, labels.data(),
                  confidence.data());
  Bytes bytes = BytesOf(labels, labels.size());
  Append(bytes, confidence.data(), confidence.size());
  return bytes;
}

constexpr std::size_t kMasks = 10, kMaskSide = 28, kFrameSide = 256;

Bytes RunPasteMasks() {
  const auto masks = Uniform(kMasks * kMaskSide * kMaskSide, 0.0f, 1.0f), boxes = Boxes(kMasks);
  std::vector<std::uint8_t> out(kMasks * kFrameSide * kFrameSide);
  PasteMasksCpu({masks.data(), boxes.data(), kMasks, kMaskSide}, kFrameSide, kFrameSide, 0.5f,
                false, out.data());
  return BytesOf(out, out.size());
}

Bytes RunPasteMasksRle() {
  const auto masks = Uniform(kMasks * kMaskSide * kMaskSide, 0.0f, 1.0f), boxes = Boxes(kMasks);
  Bytes bytes;
  for (const auto& counts : PasteMasksRleCpu({masks.data(), boxes.data(), kMasks, kMaskSide},
                                             kFrameSide, kFrameSide, 0.5f)) {
    Append(bytes, counts.data(), counts.size());
  }
  return bytes;
}

// `draw` draws into a frame of yuv420p.
template <typename Draw>
Bytes Drawn(Draw draw) {
  constexpr std::ptrdiff_t kSide = kFrameSide, kHalf = kSide / 2;
  auto samples = RandomBytes(kSide * kSide + 2 * kHalf * kHalf, 256);
  std::uint8_t* const chroma = samples.data() + kSide * kSide;
  draw(Canvas{kSide, kSide, 3,
              {{{samples.data(), kSide, 1}, {chroma, kHalf, 1},
                {chroma + kHalf * kHalf, kHalf, 1}}}});
  return samples;
}

Bytes RunDrawBoxes() {
  const auto boxes = Boxes(kMasks);
  const auto colours = RandomBytes(6 * kMasks, 256), masks = RandomBytes(30 * 12 * kMasks, 256);
  const std::vector<std::int32_t> num_words(kMasks, 1), word_widths(kMasks, 30);
  return Drawn([&](const Canvas& canvas) {
    DrawBoxesCpu(canvas, boxes.data(), colours.data(), kMasks, 2,
                 {num_words.data(), word_widths.data(), masks.data(), 12});
  });
}

Bytes RunDrawMasks() {
  const auto masks = Uniform(kMasks * kMaskSide * kMaskSide, 0.0f, 1.0f), boxes = Boxes(kMasks);
  const auto colours = RandomBytes(3 * kMasks, 256);
  return Drawn([&](const Canvas& canvas) {
    DrawMasksCpu(canvas, {masks.data(), boxes.data(), kMasks, kMaskSide}, colours.data(), 0.5f,
                 115);
  });
}

const std::vector<std::uint8_t> kPalette = RandomBytes(3 * kClasses, 256);

Bytes RunColorize() {
  const auto labels = RandomBytes(kFrameSide * kFrameSide, kClasses);
  return Drawn([&](const Canvas& canvas) {
    ColorizeCpu(labels.data(), kFrameSide, kPalette.data(), kClasses, canvas);
  });
}

Bytes RunBlendLabels() {
  const auto labels = RandomBytes(kFrameSide * kFrameSide, kClasses);
  const auto is_ignored = RandomBytes(256, 2);
  return Drawn([&](const Canvas& canvas) {
    BlendLabelsCpu(labels.data(), kFrameSide, kPalette.data(), kClasses, is_ignored.data(), 128,
                   canvas);
  });
}

struct Operator {
  const char* name;
  Bytes (*run)();
};

constexpr Operator kOperators[] = {
    {"blend_labels", RunBlendLabels},
    {"box_iou", RunBoxIou},
    {"byte_track", RunByteTrack},
    {"colorize", RunColorize},
    {"decode_nanodet", RunDecodeNanodet},
    {"decode_ssd", RunDecodeSsd},
    {"decode_yolo", RunDecodeYolo},
    {"decode_yolo_dfl", RunDecodeYoloDfl},
    {"decode_yolox", RunDecodeYolox},
    {"draw_boxes", RunDrawBoxes},
    {"draw_masks", RunDrawMasks},
    {"letterbox", RunLetterbox},
    {"letterbox_area", RunLetterboxArea},
    {"linear_assignment", RunLinearAssignment},
    {"nms", RunNms},
    {"paste_masks", RunPasteMasks},
    {"paste_masks_rle", RunPasteMasksRle},
    {"resize_argmax", RunResizeArgmax},
    {"roi_align", RunRoiAlign},
    {"roi_pool", RunRoiPool},
    {"soft_nms", RunSoftNms},
};
constexpr std::size_t kNumOperators = sizeof kOperators / sizeof *kOperators;

}  // namespace

int main() {
  constexpr std::size_t kThreads = 8;
  constexpr int kRounds = 1;
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
