// What each operator's plugin must be: its attributes, shapes, types and formats, written down anew.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>
#include <vector>

#include "host.h"

namespace cases {

using Sides = std::vector<std::string>;  // names and numbers
using Combination = std::vector<std::pair<nvinfer1::DataType, nvinfer1::TensorFormat>>;

struct FieldRefusal {
  std::string what;  // a field to replace, or to add
  host::Fields field;
  std::string message;
};

struct ShapeRefusal {
  std::size_t input;
  Sides shape;
  std::string message;
  bool is_of_numbers = false;  // shows only where all sides are numbers
};

struct Case {
  std::string name;
  host::Fields fields;                // all of them
  std::vector<std::string> required;  // those without a default
  std::string of_required;            // what is serialised if only those are given
  std::vector<Sides> inputs, outputs;
  std::vector<Combination> combinations;  // of inputs and outputs, all that are to be taken
  std::vector<FieldRefusal> refused_fields;
  std::vector<ShapeRefusal> refused_shapes;
  host::Values min, opt, max;  // of a profile
};

std::vector<Case> All();

// The shape for such values.
std::vector<std::int64_t> At(const Sides& sides, const host::Values& values);

}  // namespace cases
