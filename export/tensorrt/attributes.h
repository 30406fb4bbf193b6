// The attributes of an operator as TensorRT hands them over and keeps them: fields of a name, a type
// and elements.
//
// An operator lists its attributes once, in a template that takes a visitor:
//
//   template <typename Visitor>
//   void VisitAttributes(Visitor& visit) {
//     visit.Integer("output_height", output_height, {1, kMostBins}, Need::kRequired);
//
// and every visitor here makes something of the list: the names for the parser of ONNX files, the
// values from fields, the fields from values, a text. Names, types and defaults are those of
// edgecv/export/operators.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>

namespace edgecv::plugins {

constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "edgecv";

enum class Need {
  kOptional,  // the member's own value stands where the field is missing
  kRequired,
};

struct IntegerRange {
  std::int32_t least, most;
};

// A list of positive numbers.
struct Numbers {
  static constexpr std::int32_t kMost = 8;
  float values[kMost];
  std::int32_t count;
};

constexpr std::int32_t kMaxAttributes = 8;

// Fields in the order of their visits; a field points to the value that was visited.
class FieldList {
 public:
  void Integer(const char* name, const std::int32_t& value, IntegerRange, Need) {
    Add(name, &value, nvinfer1::PluginFieldType::kINT32, 1);
  }
  void Number(const char* name, const float& value, Need) {
    Add(name, &value, nvinfer1::PluginFieldType::kFLOAT32, 1);
  }
  void List(const char* name, const Numbers& value, Need) {
    Add(name, value.values, nvinfer1::PluginFieldType::kFLOAT32, value.count);
  }

  // Without values: what an operator can be asked for.
  void ForgetValues();

  const nvinfer1::PluginFieldCollection* collection() {
    collection_.fields = fields_;
    return &collection_;
  }

 private:
  void Add(const char* name, const void* data, nvinfer1::PluginFieldType type, std::int32_t length);

  nvinfer1::PluginField fields_[kMaxAttributes];
  nvinfer1::PluginFieldCollection collection_ = {};
};

// Fills in the values that fields hold, and reports the first that does not do.
class FieldReader {
 public:
  FieldReader(const char* plugin, const nvinfer1::PluginFieldCollection& fields)
      : plugin_(plugin), fields_(fields) {}

  void Integer(const char* name, std::int32_t& value, IntegerRange range, Need need);
  void Number(const char* name, float& value, Need need);
  void List(const char* name, Numbers& value, Need need);

  // After the last visit: whether all fields did and none was left over.
  bool Finish();

 private:
  const nvinfer1::PluginField* Find(const char* name, nvinfer1::PluginFieldType type,
                                    std::int32_t most, Need need);
  bool IsAbout(const nvinfer1::PluginField& field, const char* name, const char* wanted);
  // `problem` is what comes between the attribute and the remedy.
  [[gnu::format(printf, 3, 4)]] void Refuse(const char* name, const char* problem, ...);

  const char* plugin_;
  const nvinfer1::PluginFieldCollection& fields_;
  const char* known_[kMaxAttributes] = {};
  std::int32_t num_known_ = 0;
  bool is_refused_ = false;
};

// `name=value`, one after the other, exactly: equal texts are equal attributes.
class AttributeText {
 public:
  void Integer(const char* name, const std::int32_t& value, IntegerRange, Need);
  void Number(const char* name, const float& value, Need);
  void List(const char* name, const Numbers& value, Need);

  const char* text() const { return text_; }

 private:
  [[gnu::format(printf, 2, 3)]] void Append(const char* format, ...);

  char text_[512] = {};  // the names and numbers of kMaxAttributes take less
  std::size_t length_ = 0;
};

}  // namespace edgecv::plugins
