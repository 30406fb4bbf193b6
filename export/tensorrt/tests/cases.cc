#include "cases.h"

#include <cmath>
#include <limits>

namespace cases {

namespace {

using host::Fields;
using nvinfer1::DataType;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorFormat;

constexpr std::pair<DataType, TensorFormat> kFloat = {DataType::kFLOAT, TensorFormat::kLINEAR};
constexpr std::pair<DataType, TensorFormat> kHalf = {DataType::kHALF, TensorFormat::kLINEAR};
constexpr std::pair<DataType, TensorFormat> kHwc8 = {DataType::kHALF, TensorFormat::kHWC8};
constexpr std::pair<DataType, TensorFormat> kInt8 = {DataType::kINT8, TensorFormat::kLINEAR};
constexpr std::pair<DataType, TensorFormat> kInt32 = {DataType::kINT32, TensorFormat::kLINEAR};

FieldRefusal Integer(const std::string& name, std::int32_t value, const std::string& message) {
  return {name, Fields().Integers(name, {value}), message};
}

FieldRefusal Numbers(const std::string& name, const std::vector<float>& values,
                     const std::string& message) {
  return {name, Fields().Numbers(name, values), message};
}

// What no plugin takes, whatever its attributes: `integer` is one of them.
std::vector<FieldRefusal> AnyRefusals(const std::string& integer) {
  const std::string wrong = "`" + integer + "` must be kINT32 and hold 1 to 1 elements, got ";
  const std::int64_t wide = 1;
  return {
      Numbers(integer, {1.0f}, wrong + "type 1 and 1 elements"),
      {integer, Fields().Add(integer, PluginFieldType::kINT64, &wide, 1), wrong + "type 10 and 1"},
      {integer, Fields().Integers(integer, {1, 2}), wrong + "type 5 and 2 elements"},
      {integer, Fields().Integers(integer, {}), wrong + "type 5 and 0 elements"},
      {"nonsense", Fields().Integers("nonsense", {1}),
       "`nonsense` must be an attribute of version 1"},
      {"plugin_version", Fields().Text("plugin_version", "2"), "`plugin_version` must be \"1\""},
      {"plugin_namespace", Fields().Text("plugin_namespace", ""),
       "`plugin_namespace` must be \"edgecv\""},
      {"plugin_namespace", Fields().Integers("plugin_namespace", {1}),
       "`plugin_namespace` must be \"edgecv\""},
  };
}

void Append(std::vector<FieldRefusal>& list, const std::vector<FieldRefusal>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

Case Nms() {
  Case one;
  one.name = "EdgeNMS";
  one.fields.Integers("max_detections", {100})
      .Integers("class_agnostic", {1})
      .Integers("background_class", {0});
  one.required = {"max_detections"};
  one.of_required = "max_detections=100 class_agnostic=0 background_class=-1";
  one.inputs = {{"B", "N", "4"}, {"B", "N", "C"}, {}, {}};
  one.outputs = {{"B"}, {"B", "100", "4"}, {"B", "100"}, {"B", "100"}};
  for (const auto& scores : {kFloat, kHalf})
    one.combinations.push_back({kFloat, scores, kFloat, kFloat, kInt32, kFloat, kFloat, kInt32});
  one.refused_fields = {
      Integer("max_detections", 0, "`max_detections` must be in [1, 2147483647], got 0."),
      Integer("class_agnostic", 2, "`class_agnostic` must be in [0, 1], got 2."),
      Integer("class_agnostic", -1, "`class_agnostic` must be in [0, 1], got -1."),
      Integer("background_class", -2, "`background_class` must be in [-1, 2147483647], got -2."),
  };
  Append(one.refused_fields, AnyRefusals("max_detections"));
  one.refused_shapes = {
      {0, {"B", "N", "5"}, "`boxes` must be [B, N, 4], got ["},
      {0, {"B", "N"}, "`boxes` must be [B, N, 4], got ["},
      {0, {"B", "7", "4"},
       "`scores` must be [B, N, C] with N = 7, as the tensors before, got [4, 9, 3]",
       true},
      {1, {"B", "N", "2147483647"},
       "`scores` must hold fewer than 2**31 scores an image, got more.",
       true},
      {1, {"B", "N", "2147483648"}, "`scores` must be [B, N, C] with sides below 2**31, got"},
      {2, {"2"}, "`score_threshold` must be one number, got [2]."},
      {3, {"1", "1"}, "`iou_threshold` must be one number, got [1, 1]."},
  };
  one.min = {{"B", 1}, {"N", 9}, {"C", 3}};
  one.opt = {{"B", 4}, {"N", 9}, {"C", 3}};
  one.max = {{"B", 16}, {"N", 9}, {"C", 3}};
  return one;
}

// Both operators': regions of 4 numbers, 7 x 5 bins.
void AddRoiRefusals(Case& one, std::size_t rois, std::size_t features, const std::string& map) {
  Append(one.refused_fields, AnyRefusals("output_width"));
  Append(one.refused_fields,
         {Integer("output_height", 0, "`output_height` must be in [1, 16384], got 0."),
          Integer("output_width", 16385, "`output_width` must be in [1, 16384], got 16385.")});
  one.refused_shapes = {
      {rois, {"B", "R", "5"}, "`rois` must be [B, R, 4], got ["},
      {rois, {"R", "4"}, "`rois` must be [B, R, 4], got ["},
      {features, {"B", "256", "H"}, "`" + map + "` must be [B, C, *, *], got ["},
      {rois, {"3", "R", "4"}, " with B = ", true},
      {rois, {"B", "2147483647", "4"},
       "`rois` must hold fewer than 2**31 regions in all, got more.",
       true},
  };
  one.min = {{"B", 1}, {"R", 0}, {"H", 8}, {"W", 8}};
  one.opt = {{"B", 2}, {"R", 300}, {"H", 50}, {"W", 84}};
  one.max = {{"B", 4}, {"R", 1000}, {"H", 100}, {"W", 168}};
}

Case RoiAlign() {
  Case one;
  one.name = "EdgeRoiAlign";
  one.fields.Integers("output_height", {7})
      .Integers("output_width", {5})
      .Numbers("spatial_scales", {0.25f, 0.125f})
      .Integers("sampling_ratio", {0})
      .Integers("aligned", {1})
      .Integers("canonical_level", {3})
      .Numbers("canonical_size", {112.5f});
  one.required = {"output_height", "output_width", "spatial_scales"};
  one.of_required =
      "output_height=7 output_width=5 spatial_scales=0.25,0.125 sampling_ratio=2 aligned=0 "
      "canonical_level=4 canonical_size=224";
  one.inputs = {{"B", "R", "4"}, {"B", "256", "H", "W"}, {"B", "256", "H2", "W2"}};
  one.outputs = {{"B", "R", "256", "7", "5"}};
  for (const auto& features : {kFloat, kHalf, kHwc8})
    one.combinations.push_back({kFloat, features, features, features});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string rule = "`spatial_scales` must hold positive and finite numbers, got ";
  const std::string pyramid = "`spatial_scales` must be 1 / 2**k for a whole k, each half the one";
  one.refused_fields = {
      Integer("sampling_ratio", -1, "`sampling_ratio` must be in [0, 1024], got -1."),
      Integer("sampling_ratio", 1025, "`sampling_ratio` must be in [0, 1024], got 1025."),
      Integer("aligned", 2, "`aligned` must be in [0, 1], got 2."),
      Numbers("canonical_size", {0.0f}, "`canonical_size` must be positive and finite, got 0."),
      Numbers("canonical_size", {INFINITY},
              "`canonical_size` must be positive and finite, got inf"),
      Numbers("spatial_scales", {0.25f, nan}, rule),
      Numbers("spatial_scales", {-0.25f}, rule + "-0.25."),
      Numbers("spatial_scales", {0.3f}, pyramid),
      Numbers("spatial_scales", {0.25f, 0.25f}, pyramid),
      Numbers("spatial_scales", {0.125f, 0.25f}, pyramid),
      Numbers("spatial_scales", {},
              "`spatial_scales` must be kFLOAT32 and hold 1 to 8 elements, got type 1 and 0"),
      Numbers("spatial_scales", std::vector<float>(9, 0.25f), "got type 1 and 9 elements."),
  };
  AddRoiRefusals(one, 0, 1, "map_0");
  one.refused_shapes.push_back({2, {"B", "255", "H2", "W2"},
                                "`map_1` must be [B, C, *, *] with C = 256, as the tensors"});
  for (host::Values* values : {&one.min, &one.opt, &one.max})
    for (const char* side : {"H", "W"})
      (*values)[std::string(side) + "2"] = (*values)[side] / 2;
  return one;
}

Case RoiPool() {
  Case one;
  one.name = "EdgeRoiPool";
  one.fields.Integers("output_height", {7})
      .Integers("output_width", {5})
      .Numbers("spatial_scale", {0.0625f});
  one.required = {"output_height", "output_width", "spatial_scale"};
  one.of_required = "output_height=7 output_width=5 spatial_scale=0.0625";
  one.inputs = {{"B", "256", "H", "W"}, {"B", "R", "4"}};
  one.outputs = {{"B", "R", "256", "7", "5"}};
  for (const auto& features : {kFloat, kHalf, kHwc8, kInt8})
    one.combinations.push_back({features, kFloat, features});
  one.refused_fields = {
      Numbers("spatial_scale", {0.0f}, "`spatial_scale` must be positive and finite, got 0."),
      Numbers("spatial_scale", {-1.0f}, "`spatial_scale` must be positive and finite, got -1."),
      {"spatial_scale", Fields().Integers("spatial_scale", {1}),
       "`spatial_scale` must be kFLOAT32 and hold 1 to 1 elements, got type 5 and 1 elements."},
  };
  AddRoiRefusals(one, 1, 0, "features");
  one.refused_shapes.push_back({0, {"B", "2147483647", "H", "W"},
                                "times the channels must be below 2**31, got more."});
  return one;
}

}  // namespace

std::vector<Case> All() { return {Nms(), RoiAlign(), RoiPool()}; }

std::vector<std::int64_t> At(const Sides& sides, const host::Values& values) {
  std::vector<std::int64_t> shape;
  for (const std::string& side : sides) {
    const auto found = values.find(side);
    shape.push_back(found == values.end() ? std::stoll(side) : found->second);
  }
  return shape;
}

}  // namespace cases
