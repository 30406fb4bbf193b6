// TensorRT's side of the plugin contract, played without TensorRT: what loads a library, hands fields
// to its creators, asks for shapes by expressions, keeps what is serialised, and hands a context.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace host {

// Ends the program and names the place, unless `holds`.
void Check(bool holds, const char* what, const char* file, int line);
#define CHECK(condition) ::host::Check((condition), #condition, __FILE__, __LINE__)

// What `action` writes to stderr.
std::string MessageOf(const std::function<void()>& action);

// A library as TensorRT loads one: by itself, out of others' sight.
class Library {
 public:
  explicit Library(const std::string& path);
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library();

  nvinfer1::IPluginCreatorV3One& Creator(const std::string& name) const;
  const std::vector<nvinfer1::IPluginCreatorV3One*>& creators() const { return creators_; }

 private:
  void* handle_;
  std::vector<nvinfer1::IPluginCreatorV3One*> creators_;
};

// Fields that own what they point to, as an engine keeps what is serialised.
class Fields {
 public:
  Fields() = default;
  explicit Fields(const nvinfer1::PluginFieldCollection& other);
  Fields(const Fields& other) : Fields(other.collection()) {}
  Fields& operator=(Fields other);

  Fields& Integers(const std::string& name, std::vector<std::int32_t> values);
  Fields& Numbers(const std::string& name, std::vector<float> values);
  Fields& Text(const std::string& name, const std::string& value);
  Fields& Add(const std::string& name, nvinfer1::PluginFieldType type, const void* data,
              std::int32_t length);
  bool Has(const std::string& name) const;
  // Without the field of that name, which must be there.
  Fields& Drop(const std::string& name);

  nvinfer1::PluginFieldCollection collection() const;
  // `name=value,value` for each field.
  std::string ToText() const;

 private:
  std::deque<std::string> names_;
  std::deque<std::vector<char>> data_;
  std::vector<nvinfer1::PluginField> fields_;
};

// A side of a shape: a number, or a name for one.
using Values = std::map<std::string, std::int64_t>;

class Expression final : public nvinfer1::IDimensionExpr {
 public:
  Expression(std::string text, bool is_constant, std::function<std::int64_t(const Values&)> value);
  Expression(const Expression&) = delete;
  ~Expression() noexcept override = default;

  const std::string& text() const { return node_.text; }
  std::int64_t Value(const Values& values) const { return node_.value(values); }
  bool is_constant() const { return node_.constant; }

 private:
  struct Node final : nvinfer1::apiv::VDimensionExpr {
    std::string text;
    bool constant = false;
    std::function<std::int64_t(const Values&)> value;

    bool isConstant() const override { return constant; }
    // As TensorRT: of no use for what is not constant.
    std::int64_t getConstantValue() const override { return constant ? value({}) : INT64_MIN; }
    bool isSizeTensor() const override { return false; }
  };
  Node node_;
};

class Expressions final : public nvinfer1::IExprBuilder {
 public:
  Expressions();
  Expressions(const Expressions&) = delete;
  ~Expressions() noexcept override = default;

  // [B, 100, 4] of "B", "100" and "4".
  nvinfer1::DimsExprs Shape(const std::vector<std::string>& sides);
  static std::vector<std::string> TextOf(const nvinfer1::DimsExprs& shape);

 private:
  struct Builder final : nvinfer1::apiv::VExprBuilder {
    std::deque<Expression> made;

    const nvinfer1::IDimensionExpr* constant(std::int64_t value) override;
    const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation operation,
                                              const nvinfer1::IDimensionExpr& first,
                                              const nvinfer1::IDimensionExpr& second) override;
    const nvinfer1::IDimensionExpr* declareSizeTensor(
        std::int32_t output, const nvinfer1::IDimensionExpr& opt,
        const nvinfer1::IDimensionExpr& upper) override;
  };
  Builder builder_;
};

// The parts of a plugin.
struct Parts {
  explicit Parts(nvinfer1::IPluginV3& plugin);

  nvinfer1::IPluginV3OneCore* core;
  nvinfer1::IPluginV3OneBuild* build;
  nvinfer1::IPluginV3OneRuntime* runtime;
};

using Plugin = std::unique_ptr<nvinfer1::IPluginV3>;

Plugin Create(nvinfer1::IPluginCreatorV3One& creator, const Fields& fields,
              nvinfer1::TensorRTPhase phase = nvinfer1::TensorRTPhase::kBUILD);

// What a plugin writes into an engine.
Fields Serialised(nvinfer1::IPluginV3& plugin);

// A context whose resources nobody may ask for: no plugin here uses any.
std::unique_ptr<nvinfer1::IPluginResourceContext> Context();

nvinfer1::Dims DimsOf(const std::vector<std::int64_t>& sides);
nvinfer1::PluginTensorDesc Desc(const std::vector<std::int64_t>& sides, nvinfer1::DataType type,
                                nvinfer1::TensorFormat format, float scale = -1.0f);

}  // namespace host
