#include "enqueue_test.h"

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "edge_nms/edge_nms.h"
#include "replay.h"
#include "roi_align/pyramid_levels.h"
#include "roi_align/roi_align.h"
#include "roi_pool/roi_pool.h"

namespace {

using host::Fields;
using nvinfer1::DataType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;
using Floats = std::vector<float>;

// Memory of the device, of exactly that size: what reads or writes past its end is found.
class Memory {
 public:
  explicit Memory(std::size_t bytes) : bytes_(bytes) {
    CHECK(cudaMalloc(&data_, bytes) == cudaSuccess);
    Poison();
  }
  template <typename Type>
  explicit Memory(const std::vector<Type>& values) : Memory(values.size() * sizeof(Type)) {
    Write(values);
  }
  Memory(const Memory&) = delete;
  ~Memory() { cudaFree(data_); }

  template <typename Type>
  void Write(const std::vector<Type>& values) {
    CHECK(values.size() * sizeof(Type) == bytes_);
    CHECK(cudaMemcpyAsync(data_, values.data(), bytes_, cudaMemcpyHostToDevice, nullptr) ==
          cudaSuccess);
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
  }
  template <typename Type>
  std::vector<Type> Read() const {
    std::vector<Type> values(bytes_ / sizeof(Type));
    CHECK(cudaMemcpyAsync(values.data(), data_, bytes_, cudaMemcpyDeviceToHost, nullptr) ==
          cudaSuccess);
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
    return values;
  }
  // NaN, as floats of any width.
  void Poison() { Write(std::vector<unsigned char>(bytes_, 0xff)); }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

// A plugin that has gone the whole way: created, serialised, restored and attached to a context.
host::Plugin Attached(const host::Library& library, const std::string& name, const Fields& fields,
                      const nvinfer1::IPluginResourceContext& context) {
  nvinfer1::IPluginCreatorV3One& creator = library.Creator(name);
  const host::Plugin built = Create(creator, fields);
  CHECK(built != nullptr);
  const host::Plugin restored =
      Create(creator, host::Serialised(*built), nvinfer1::TensorRTPhase::kRUNTIME);
  CHECK(restored != nullptr);
  return host::Plugin(host::Parts(*restored).runtime->attachToContext(
      const_cast<nvinfer1::IPluginResourceContext*>(&context)));
}

// Enqueued on these shapes; Run() after the memory has been written to.
class Enqueued {
 public:
  Enqueued(const host::Library& library, const std::string& name, const Fields& fields,
           std::vector<PluginTensorDesc> in, std::vector<PluginTensorDesc> out,
           const std::vector<const Memory*>& inputs, const std::vector<Memory*>& outputs)
      : context_(host::Context()),
        plugin_(Attached(library, name, fields, *context_)),
        in_(std::move(in)),
        out_(std::move(out)),
        outputs_(outputs),
        workspace_(WorkspaceBytes()) {
    for (const Memory* input : inputs) from_.push_back(input->data());
    for (const Memory* output : outputs) to_.push_back(output->data());
    nvinfer1::IPluginV3OneRuntime& runtime = *host::Parts(*plugin_).runtime;
    CHECK(runtime.onShapeChange(in_.data(), static_cast<std::int32_t>(in_.size()), out_.data(),
                                static_cast<std::int32_t>(out_.size())) == 0);
    replay_ = std::make_unique<Replay>([this, &runtime](cudaStream_t stream) {
      return runtime.enqueue(in_.data(), out_.data(), from_.data(), to_.data(), workspace_.data(),
                             stream);
    });
  }

  void Run() {
    for (Memory* output : outputs_) output->Poison();
    workspace_.Poison();
    replay_->Run();
  }

 private:
  std::size_t WorkspaceBytes() {
    const auto dynamic = [](const std::vector<PluginTensorDesc>& tensors) {
      std::vector<nvinfer1::DynamicPluginTensorDesc> all;
      for (const PluginTensorDesc& tensor : tensors)
        all.push_back({tensor, tensor.dims, tensor.dims, tensor.dims});
      return all;
    };
    const auto in = dynamic(in_), out = dynamic(out_);
    return host::Parts(*plugin_).build->getWorkspaceSize(
        in.data(), static_cast<std::int32_t>(in.size()), out.data(),
        static_cast<std::int32_t>(out.size()));
  }

  std::unique_ptr<nvinfer1::IPluginResourceContext> context_;
  host::Plugin plugin_;
  std::vector<PluginTensorDesc> in_, out_;
  std::vector<Memory*> outputs_;
  Memory workspace_;
  std::vector<const void*> from_;
  std::vector<void*> to_;
  std::unique_ptr<Replay> replay_;
};

// Numbers that both types hold.
float Halved(float value) { return __half2float(__float2half(value)); }

std::vector<__half> HalvesOf(const Floats& values) {
  std::vector<__half> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(),
                 [](float value) { return __float2half(value); });
  return halves;
}

Floats Random(std::mt19937& random, std::size_t count, float low, float high) {
  std::uniform_real_distribution<float> between(low, high);
  Floats values(count);
  for (float& value : values) value = Halved(between(random));
  return values;
}

// Corners in an image of that size; some boxes are inverted.
Floats RandomBoxes(std::mt19937& random, std::size_t count, float size, float longest) {
  std::uniform_real_distribution<float> corner(0.0f, size), side(-0.1f * longest, longest);
  Floats boxes;
  for (std::size_t i = 0; i < count; ++i) {
    const float x = corner(random), y = corner(random);
    boxes.insert(boxes.end(), {x, y, x + side(random), y + side(random)});
  }
  return boxes;
}

// Maps as TensorRT lays them out, and bins back. Of the padding of kHWC8 the maps' is rubbish and
// the bins' 0.
struct Layout {
  DataType type;
  TensorFormat format;
  const char* name;
};

std::vector<unsigned char> Bytes(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  return {bytes, bytes + size};
}

std::vector<unsigned char> LaidOut(const Floats& maps, const Layout& layout, std::size_t images,
                                   std::size_t channels, std::size_t cells) {
  if (layout.type == DataType::kFLOAT) return Bytes(maps.data(), maps.size() * sizeof(float));
  if (layout.type == DataType::kINT8) {
    std::vector<std::int8_t> integers(maps.size());
    std::transform(maps.begin(), maps.end(), integers.begin(),
                   [](float value) { return static_cast<std::int8_t>(value); });
    return Bytes(integers.data(), integers.size());
  }
  const std::vector<__half> halves = HalvesOf(maps);
  if (layout.format == TensorFormat::kLINEAR)
    return Bytes(halves.data(), halves.size() * sizeof(__half));
  const std::size_t padded = (channels + 7) / 8 * 8;
  std::vector<__half> packed(images * cells * padded, __float2half(NAN));
  for (std::size_t image = 0; image < images; ++image)
    for (std::size_t channel = 0; channel < channels; ++channel)
      for (std::size_t cell = 0; cell < cells; ++cell)
        packed[(image * cells + cell) * padded + channel] =
            halves[(image * channels + channel) * cells + cell];
  return Bytes(packed.data(), packed.size() * sizeof(__half));
}

std::size_t SizeOf(const Layout& layout, std::size_t images, std::size_t channels,
                   std::size_t cells) {
  return LaidOut(Floats(images * channels * cells), layout, images, channels, cells).size();
}

Floats FromLayout(const Memory& memory, const Layout& layout, std::size_t images,
                  std::size_t channels, std::size_t cells) {
  if (layout.type == DataType::kFLOAT) return memory.Read<float>();
  Floats values;
  if (layout.type == DataType::kINT8) {
    for (const std::int8_t value : memory.Read<std::int8_t>()) values.push_back(value);
    return values;
  }
  const std::vector<__half> halves = memory.Read<__half>();
  if (layout.format == TensorFormat::kLINEAR) {
    for (const __half value : halves) values.push_back(__half2float(value));
    return values;
  }
  const std::size_t padded = (channels + 7) / 8 * 8;
  values.resize(images * channels * cells);
  for (std::size_t image = 0; image < images; ++image)
    for (std::size_t cell = 0; cell < cells; ++cell)
      for (std::size_t channel = 0; channel < padded; ++channel) {
        const float value = __half2float(halves[(image * cells + cell) * padded + channel]);
        if (channel < channels) {
          values[(image * channels + channel) * cells + cell] = value;
        } else {
          CHECK(value == 0.0f);
        }
      }
  return values;
}

constexpr Layout kLayouts[] = {{DataType::kFLOAT, TensorFormat::kLINEAR, "float32"},
                               {DataType::kHALF, TensorFormat::kLINEAR, "float16"},
                               {DataType::kHALF, TensorFormat::kHWC8, "float16 in HWC8"},
                               {DataType::kINT8, TensorFormat::kLINEAR, "int8"}};

PluginTensorDesc Linear(const std::vector<std::size_t>& sides, DataType type) {
  return host::Desc({sides.begin(), sides.end()}, type, TensorFormat::kLINEAR);
}

PluginTensorDesc In(const std::vector<std::size_t>& sides, const Layout& layout) {
  return host::Desc({sides.begin(), sides.end()}, layout.type, layout.format);
}

// Up to `tolerance` times 1 + |reference|.
void CheckNear(const Floats& found, const Floats& reference, float tolerance, const char* what) {
  CHECK(found.size() == reference.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const float limit = tolerance * (1.0f + std::fabs(reference[i]));
    if (std::fabs(found[i] - reference[i]) <= limit) continue;
    std::printf("%s: element %zu must be %.9g, got %.9g\n", what, i,
                static_cast<double>(reference[i]), static_cast<double>(found[i]));
    CHECK(false);
  }
}

constexpr std::size_t kImages = 2, kRois = 9, kChannels = 12;
constexpr std::size_t kBinsHigh = 3, kBinsLong = 2;

// Image by image.
std::vector<std::int32_t> ImageOfRois() {
  std::vector<std::int32_t> images;
  for (std::size_t i = 0; i < kImages * kRois; ++i)
    images.push_back(static_cast<std::int32_t>(i / kRois));
  return images;
}

}  // namespace

bool HasDevice() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

void EnqueuesNms(const host::Library& library) {
  constexpr std::size_t kBoxes = 70, kClasses = 3, kKept = 20;
  std::mt19937 random(1);
  const Floats boxes = RandomBoxes(random, kImages * kBoxes, 60.0f, 30.0f);
  const Floats scores = Random(random, kImages * kBoxes * kClasses, 0.0f, 1.0f);
  const std::vector<__half> halves = HalvesOf(scores);
  for (const bool is_half : {false, true}) {
    for (const bool class_agnostic : {false, true}) {
      const Memory boxes_there(boxes);
      const Memory scores_there(is_half ? Bytes(halves.data(), halves.size() * sizeof(__half))
                                        : Bytes(scores.data(), scores.size() * sizeof(float)));
      Memory score_threshold(sizeof(float)), iou_threshold(sizeof(float));
      Memory counts(kImages * 4), kept(kImages * kKept * 16), kept_scores(kImages * kKept * 4),
          classes(kImages * kKept * 4);
      Fields fields;
      fields.Integers("max_detections", {kKept})
          .Integers("class_agnostic", {class_agnostic})
          .Integers("background_class", {1});
      Enqueued work(library, "EdgeNMS", fields,
                    {Linear({kImages, kBoxes, 4}, DataType::kFLOAT),
                     Linear({kImages, kBoxes, kClasses},
                            is_half ? DataType::kHALF : DataType::kFLOAT),
                     Linear({}, DataType::kFLOAT), Linear({1}, DataType::kFLOAT)},
                    {Linear({kImages}, DataType::kINT32),
                     Linear({kImages, kKept, 4}, DataType::kFLOAT),
                     Linear({kImages, kKept}, DataType::kFLOAT),
                     Linear({kImages, kKept}, DataType::kINT32)},
                    {&boxes_there, &scores_there, &score_threshold, &iou_threshold},
                    {&counts, &kept, &kept_scores, &classes});
      // Thresholds are read when the work runs, not when it is enqueued.
      std::int32_t most = 0, least = static_cast<std::int32_t>(kKept);
      for (const auto& [score, iou] : {std::pair{0.3f, 0.5f}, {0.96f, 0.3f}, {2.0f, 0.5f}}) {
        score_threshold.Write(Floats{score});
        iou_threshold.Write(Floats{iou});
        work.Run();
        std::vector<std::int32_t> counts_wanted(kImages), classes_wanted(kImages * kKept);
        Floats kept_wanted(kImages * kKept * 4), scores_wanted(kImages * kKept);
        edgecv::EdgeNmsCpu(
            boxes.data(), is_half ? static_cast<const void*>(halves.data()) : scores.data(),
            {kImages, kBoxes, kClasses, false, is_half}, score, iou, {kKept, class_agnostic, 1},
            {counts_wanted.data(), kept_wanted.data(), scores_wanted.data(), classes_wanted.data(),
             nullptr});
        CHECK(counts.Read<std::int32_t>() == counts_wanted);
        CHECK(classes.Read<std::int32_t>() == classes_wanted);
        CHECK(kept.Read<float>() == kept_wanted);
        CHECK(kept_scores.Read<float>() == scores_wanted);
        most = std::max(most, counts_wanted[0]);
        least = std::min(least, counts_wanted[0]);
      }
      CHECK(most > 3 && least == 0);  // or nothing was compared
    }
  }
}

void EnqueuesRoiAlign(const host::Library& library) {
  constexpr std::size_t kSizes[][2] = {{16, 20}, {8, 10}};
  std::mt19937 random(2);
  Floats rois = RandomBoxes(random, kImages * kRois, 60.0f, 60.0f);
  rois[0] = NAN;  // lies nowhere
  const std::vector<std::int32_t> image_of = ImageOfRois();
  const Memory rois_there(rois);
  std::vector<Floats> maps;
  edgecv::FeatureLevel levels[2];
  for (std::size_t k = 0; k < 2; ++k) {
    const auto [height, width] = kSizes[k];
    maps.push_back(Random(random, kImages * kChannels * height * width, -1.0f, 1.0f));
    levels[k] = {nullptr, height, width, k == 0 ? 0.25f : 0.125f};
  }
  for (std::size_t k = 0; k < 2; ++k) levels[k].data = maps[k].data();
  std::vector<std::int32_t> level_of(kImages * kRois);
  edgecv::AssignPyramidLevels(rois.data(), level_of.size(), {2, 2, 32.0f, 3}, level_of.data());
  for (const std::int32_t level : {-1, 0, 1})
    CHECK(std::count(level_of.begin(), level_of.end(), level) > 0);
  Floats wanted(kImages * kRois * kChannels * kBinsHigh * kBinsLong);
  for (const std::int32_t ratio : {0, 2}) {
    const bool aligned = ratio == 0;
    edgecv::RoiAlignCpu({levels, 2, kImages, kChannels},
                        {rois.data(), image_of.data(), level_of.data(), level_of.size()},
                        {kBinsHigh, kBinsLong}, {static_cast<std::size_t>(ratio), aligned},
                        wanted.data());
    for (const Layout& layout : kLayouts) {
      if (layout.type == DataType::kINT8) continue;
      std::vector<std::unique_ptr<Memory>> there;
      std::vector<PluginTensorDesc> in = {Linear({kImages, kRois, 4}, DataType::kFLOAT)};
      for (std::size_t k = 0; k < 2; ++k) {
        const auto [height, width] = kSizes[k];
        there.push_back(std::make_unique<Memory>(
            LaidOut(maps[k], layout, kImages, kChannels, height * width)));
        in.push_back(In({kImages, kChannels, height, width}, layout));
      }
      Memory bins(SizeOf(layout, kImages * kRois, kChannels, kBinsHigh * kBinsLong));
      Fields fields;
      fields.Integers("output_height", {kBinsHigh})
          .Integers("output_width", {kBinsLong})
          .Numbers("spatial_scales", {0.25f, 0.125f})
          .Integers("sampling_ratio", {ratio})
          .Integers("aligned", {aligned})
          .Integers("canonical_level", {3})
          .Numbers("canonical_size", {32.0f});
      Enqueued work(library, "EdgeRoiAlign", fields, in,
                    {In({kImages, kRois, kChannels, kBinsHigh, kBinsLong}, layout)},
                    {&rois_there, there[0].get(), there[1].get()}, {&bins});
      work.Run();
      // Sums of tens of products, in another order; and rounded once to float16.
      CheckNear(FromLayout(bins, layout, kImages * kRois, kChannels, kBinsHigh * kBinsLong), wanted,
                layout.type == DataType::kHALF ? 0x1p-11f + 1e-6f : 1e-6f, layout.name);
    }
  }
}

void EnqueuesRoiPool(const host::Library& library) {
  constexpr std::size_t kHeight = 15, kWidth = 19;
  std::mt19937 random(3);
  Floats rois = RandomBoxes(random, kImages * kRois, 70.0f, 60.0f);
  rois[0] = NAN;  // lies nowhere
  const std::vector<std::int32_t> image_of = ImageOfRois();
  const Memory rois_there(rois);
  for (const Layout& layout : kLayouts) {
    Floats map = Random(random, kImages * kChannels * kHeight * kWidth, -100.0f, 100.0f);
    if (layout.type == DataType::kINT8)
      for (float& value : map) value = std::round(value);
    const edgecv::FeatureLevel level = {map.data(), kHeight, kWidth, 0.25f};
    Floats wanted(kImages * kRois * kChannels * kBinsHigh * kBinsLong);
    edgecv::RoiPoolCpu({&level, 1, kImages, kChannels},
                       {rois.data(), image_of.data(), nullptr, image_of.size()},
                       {kBinsHigh, kBinsLong}, wanted.data());
    const Memory there(LaidOut(map, layout, kImages, kChannels, kHeight * kWidth));
    Memory bins(SizeOf(layout, kImages * kRois, kChannels, kBinsHigh * kBinsLong));
    Fields fields;
    fields.Integers("output_height", {kBinsHigh})
        .Integers("output_width", {kBinsLong})
        .Numbers("spatial_scale", {0.25f});
    Enqueued work(library, "EdgeRoiPool", fields,
                  {In({kImages, kChannels, kHeight, kWidth}, layout),
                   Linear({kImages, kRois, 4}, DataType::kFLOAT)},
                  {In({kImages, kRois, kChannels, kBinsHigh, kBinsLong}, layout)},
                  {&there, &rois_there}, {&bins});
    work.Run();
    CheckNear(FromLayout(bins, layout, kImages * kRois, kChannels, kBinsHigh * kBinsLong), wanted,
              0.0f, layout.name);
  }
}
