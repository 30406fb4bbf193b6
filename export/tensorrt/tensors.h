// What an operator says of its tensors, inputs first, and what follows from it: the formats it takes,
// the shapes it refuses, the shapes it gives, for sides that are numbers and for sides that are not
// known yet.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace edgecv::plugins {

constexpr std::int32_t kMaxRank = 5;
constexpr std::int32_t kMaxTensors = 10;  // inputs and outputs of an operator

// Of a shape: a letter stands for one number wherever it stands, '*' for any.
struct Side {
  Side() = default;
  Side(char letter_) : letter(letter_) {}          // NOLINT: {'B', 'N', 4} is to read as a shape
  Side(std::int32_t number_) : number(number_) {}  // NOLINT

  char letter = 0;  // or a number
  std::int32_t number = 0;
};

struct Shape {
  Shape() = default;
  Shape(std::initializer_list<Side> sides_);

  Side sides[kMaxRank];
  std::int32_t rank = 0;  // at 0 one element, of rank 0 or 1
};

struct Kind {
  nvinfer1::DataType type;
  nvinfer1::TensorFormat format;
};

constexpr Kind kLinearFloat = {nvinfer1::DataType::kFLOAT, nvinfer1::TensorFormat::kLINEAR};
constexpr Kind kLinearHalf = {nvinfer1::DataType::kHALF, nvinfer1::TensorFormat::kLINEAR};
constexpr Kind kHwc8Half = {nvinfer1::DataType::kHALF, nvinfer1::TensorFormat::kHWC8};
constexpr Kind kLinearInt8 = {nvinfer1::DataType::kINT8, nvinfer1::TensorFormat::kLINEAR};
constexpr Kind kLinearInt32 = {nvinfer1::DataType::kINT32, nvinfer1::TensorFormat::kLINEAR};

struct Kinds {
  Kinds() = default;
  Kinds(std::initializer_list<Kind> kinds);

  Kind list[4];
  std::int32_t count = 0;
};

struct Tensor {
  const char* name = nullptr;
  Shape shape;
  Kinds kinds;
  std::int32_t like = -1;  // the input whose type, format and scale this one shares; -1 for none

  bool Takes(nvinfer1::DataType type) const;
  bool Takes(nvinfer1::DataType type, nvinfer1::TensorFormat format) const;
};

// The number that each letter stands for.
class Sides {
 public:
  static constexpr std::int64_t kUnknown = -1;

  Sides() {
    for (std::int64_t& value : values_) value = kUnknown;
  }
  std::int64_t& operator[](char letter) { return values_[letter - 'A']; }
  // 0 where it is unknown.
  std::size_t Size(char letter) const {
    const std::int64_t value = values_[letter - 'A'];
    return value < 0 ? 0 : static_cast<std::size_t>(value);
  }

 private:
  std::int64_t values_[26];
};

// Whether `dims`, in which -1 is unknown, is a shape of `tensor` beside the `sides` found so far, to
// which it adds. Reports why not, in the name of `plugin`.
bool Match(const char* plugin, const Tensor& tensor, const nvinfer1::Dims& dims, Sides& sides);

// Adds the upper bounds of a tensor's shape: of a letter in several tensors the greatest.
void Widen(const Tensor& tensor, const nvinfer1::Dims& most, Sides& sides);

// The sides of an input that are constant; -1 for the others.
nvinfer1::Dims ConstantsOf(const nvinfer1::DimsExprs& shape);

// The shape of an output, of the inputs' expressions and of constants.
nvinfer1::DimsExprs ExpressionOf(const Tensor& output, const Tensor* inputs,
                                 const nvinfer1::DimsExprs* shapes, std::int32_t num_inputs,
                                 Sides& sides, nvinfer1::IExprBuilder& builder);

}  // namespace edgecv::plugins
