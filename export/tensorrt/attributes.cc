#include "attributes.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "report.h"

namespace edgecv::plugins {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

void FieldList::Add(const char* name, const void* data, PluginFieldType type,
                    std::int32_t length) {
  fields_[collection_.nbFields++] = PluginField(name, data, type, length);
}

void FieldList::ForgetValues() {
  for (std::int32_t i = 0; i < collection_.nbFields; ++i) {
    fields_[i].data = nullptr;
    fields_[i].length = 1;
  }
}

void FieldReader::Integer(const char* name, std::int32_t& value, IntegerRange range, Need need) {
  const PluginField* field = Find(name, PluginFieldType::kINT32, 1, need);
  if (field == nullptr) return;
  std::memcpy(&value, field->data, sizeof value);  // a field need not be aligned
  if (value < range.least || value > range.most)
    Refuse(name, "must be in [%d, %d], got %d", range.least, range.most, value);
}

void FieldReader::Number(const char* name, float& value, Need need) {
  const PluginField* field = Find(name, PluginFieldType::kFLOAT32, 1, need);
  if (field == nullptr) return;
  std::memcpy(&value, field->data, sizeof value);
  if (!(value > 0.0f && std::isfinite(value)))
    Refuse(name, "must be positive and finite, got %g", static_cast<double>(value));
}

void FieldReader::List(const char* name, Numbers& value, Need need) {
  const PluginField* field = Find(name, PluginFieldType::kFLOAT32, Numbers::kMost, need);
  if (field == nullptr) return;
  value.count = field->length;
  std::memcpy(value.values, field->data, sizeof(float) * static_cast<std::size_t>(value.count));
  for (std::int32_t i = 0; i < value.count; ++i)
    if (!(value.values[i] > 0.0f && std::isfinite(value.values[i])))
      return Refuse(name, "must hold positive and finite numbers, got %g",
                    static_cast<double>(value.values[i]));
}

bool FieldReader::Finish() {
  for (std::int32_t i = 0; i < fields_.nbFields && !is_refused_; ++i) {
    const PluginField& field = fields_.fields[i];
    const char* name = field.name == nullptr ? "" : field.name;
    if (std::strcmp(name, "plugin_version") == 0) {
      IsAbout(field, name, kVersion);
      continue;
    }
    if (std::strcmp(name, "plugin_namespace") == 0) {
      IsAbout(field, name, kNamespace);
      continue;
    }
    bool is_known = false;
    for (std::int32_t k = 0; k < num_known_; ++k) is_known |= std::strcmp(name, known_[k]) == 0;
    if (!is_known)
      Refuse(name, "must be an attribute of version %s, got one that is not", kVersion);
  }
  return !is_refused_;
}

const PluginField* FieldReader::Find(const char* name, PluginFieldType type, std::int32_t most,
                                     Need need) {
  known_[num_known_++] = name;
  if (is_refused_) return nullptr;
  for (std::int32_t i = 0; i < fields_.nbFields; ++i) {
    const PluginField& field = fields_.fields[i];
    if (field.name == nullptr || std::strcmp(field.name, name) != 0) continue;
    if (field.type != type || field.data == nullptr || field.length < 1 || field.length > most) {
      Refuse(name, "must be %s and hold 1 to %d elements, got type %d and %d elements",
             type == PluginFieldType::kINT32 ? "kINT32" : "kFLOAT32", most,
             static_cast<int>(field.type), field.data == nullptr ? 0 : field.length);
      return nullptr;
    }
    return &field;
  }
  if (need == Need::kRequired) Refuse(name, "must be given, got no field of that name");
  return nullptr;
}

// The parser of ONNX files finds the plugin by these two and keeps them, other callers hand them on.
bool FieldReader::IsAbout(const PluginField& field, const char* name, const char* wanted) {
  const char* text = static_cast<const char*>(field.data);
  std::size_t length = field.length < 0 || text == nullptr ? 0 : std::size_t(field.length);
  if (field.type == PluginFieldType::kCHAR && length > 0 && text[length - 1] == '\0') --length;
  if (field.type == PluginFieldType::kCHAR && length == std::strlen(wanted) &&
      std::memcmp(text, wanted, length) == 0)
    return true;
  Refuse(name, "must be \"%s\", got another", wanted);
  return false;
}

void FieldReader::Refuse(const char* name, const char* problem, ...) {
  is_refused_ = true;
  char text[256];
  va_list arguments;
  va_start(arguments, problem);
  std::vsnprintf(text, sizeof text, problem, arguments);
  va_end(arguments);
  Report("%s: `%s` %s. Export the model again with this version of edgecv.", plugin_, name, text);
}

void AttributeText::Integer(const char* name, const std::int32_t& value, IntegerRange, Need) {
  Append("%s%s=%d", length_ == 0 ? "" : " ", name, value);
}

void AttributeText::Number(const char* name, const float& value, Need) {
  Append("%s%s=%.9g", length_ == 0 ? "" : " ", name, static_cast<double>(value));
}

void AttributeText::List(const char* name, const Numbers& value, Need) {
  Append("%s%s=", length_ == 0 ? "" : " ", name);
  for (std::int32_t i = 0; i < value.count; ++i)
    Append("%s%.9g", i == 0 ? "" : ",", static_cast<double>(value.values[i]));
}

void AttributeText::Append(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written =
      std::vsnprintf(text_ + length_, sizeof text_ - length_, format, arguments);
  va_end(arguments);
  if (written > 0) length_ += static_cast<std::size_t>(written);
  if (length_ >= sizeof text_) length_ = sizeof text_ - 1;
}

}  // namespace edgecv::plugins
