#include "tensors.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "report.h"

namespace edgecv::plugins {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::TensorFormat;

namespace {

constexpr std::int64_t kMaxSide = std::numeric_limits<std::int32_t>::max();

// As in [1, 8400, 4].
class DimsText {
 public:
  explicit DimsText(const Dims& dims) {
    Append("[");
    for (std::int32_t i = 0; i < std::min(dims.nbDims, Dims::MAX_DIMS); ++i) {
      char number[32];
      std::snprintf(number, sizeof number, "%s%lld", i == 0 ? "" : ", ",
                    static_cast<long long>(dims.d[i]));
      Append(number);
    }
    Append("]");
  }
  explicit DimsText(const Shape& shape) {
    Append("[");
    for (std::int32_t i = 0; i < shape.rank; ++i) {
      const Side& side = shape.sides[i];
      char text[32];
      if (side.letter == 0) {
        std::snprintf(text, sizeof text, "%s%d", i == 0 ? "" : ", ", side.number);
      } else {
        std::snprintf(text, sizeof text, "%s%c", i == 0 ? "" : ", ", side.letter);
      }
      Append(text);
    }
    Append("]");
  }

  const char* text() const { return text_; }

 private:
  void Append(const char* text) {
    while (*text != '\0' && length_ + 1 < sizeof text_) text_[length_++] = *text++;
  }

  char text_[256] = {};  // 8 sides of 20 digits
  std::size_t length_ = 0;
};

bool IsOneElement(const Dims& dims) {
  return dims.nbDims == 0 || (dims.nbDims == 1 && (dims.d[0] == 1 || dims.d[0] == -1));
}

}  // namespace

Shape::Shape(std::initializer_list<Side> sides_) {
  for (const Side& side : sides_) sides[rank++] = side;
}

Kinds::Kinds(std::initializer_list<Kind> kinds) {
  for (const Kind& kind : kinds) list[count++] = kind;
}

bool Tensor::Takes(DataType type) const {
  return std::any_of(kinds.list, kinds.list + kinds.count,
                     [=](const Kind& kind) { return kind.type == type; });
}

bool Tensor::Takes(DataType type, TensorFormat format) const {
  return std::any_of(kinds.list, kinds.list + kinds.count, [=](const Kind& kind) {
    return kind.type == type && kind.format == format;
  });
}

bool Match(const char* plugin, const Tensor& tensor, const Dims& dims, Sides& sides) {
  const Shape& shape = tensor.shape;
  const auto refuse = [&](const char* rule) {
    Report("%s: `%s` must be %s%s, got %s. Export the model again with this version of edgecv.",
           plugin, tensor.name, shape.rank == 0 ? "one number" : DimsText(shape).text(), rule,
           DimsText(dims).text());
    return false;
  };
  if (shape.rank == 0) return IsOneElement(dims) || refuse("");
  if (dims.nbDims != shape.rank) return refuse("");
  for (std::int32_t i = 0; i < shape.rank; ++i) {
    const std::int64_t side = dims.d[i];
    if (side == Sides::kUnknown) continue;
    if (side < 0 || side > kMaxSide) return refuse(" with sides below 2**31");
    const Side& wanted = shape.sides[i];
    if (wanted.letter == '*') continue;
    if (wanted.letter == 0) {
      if (side != wanted.number) return refuse("");
      continue;
    }
    std::int64_t& known = sides[wanted.letter];
    if (known == Sides::kUnknown) known = side;
    if (side != known) {
      char rule[64];
      std::snprintf(rule, sizeof rule, " with %c = %lld, as the tensors before", wanted.letter,
                    static_cast<long long>(known));
      return refuse(rule);
    }
  }
  return true;
}

void Widen(const Tensor& tensor, const Dims& most, Sides& sides) {
  for (std::int32_t i = 0; i < std::min(most.nbDims, tensor.shape.rank); ++i) {
    const char letter = tensor.shape.sides[i].letter;
    if (letter != 0 && letter != '*') sides[letter] = std::max(sides[letter], most.d[i]);
  }
}

Dims ConstantsOf(const DimsExprs& shape) {
  Dims dims = {};
  dims.nbDims = shape.nbDims;
  for (std::int32_t i = 0; i < std::min(shape.nbDims, Dims::MAX_DIMS); ++i)
    dims.d[i] = shape.d[i]->isConstant() ? shape.d[i]->getConstantValue() : Sides::kUnknown;
  return dims;
}

DimsExprs ExpressionOf(const Tensor& output, const Tensor* inputs, const DimsExprs* shapes,
                       std::int32_t num_inputs, Sides& sides, nvinfer1::IExprBuilder& builder) {
  const auto expression_of = [&](const Side& side) -> const nvinfer1::IDimensionExpr* {
    if (side.letter == 0) return builder.constant(side.number);
    if (sides[side.letter] != Sides::kUnknown) return builder.constant(sides[side.letter]);
    for (std::int32_t input = 0; input < num_inputs; ++input)
      for (std::int32_t i = 0; i < inputs[input].shape.rank; ++i)
        if (inputs[input].shape.sides[i].letter == side.letter) return shapes[input].d[i];
    return nullptr;  // an output's letter is one of an input
  };
  DimsExprs shape = {};
  shape.nbDims = output.shape.rank;
  for (std::int32_t i = 0; i < output.shape.rank; ++i)
    shape.d[i] = expression_of(output.shape.sides[i]);
  return shape;
}

}  // namespace edgecv::plugins
