// An operator as a plugin of TensorRT, and what creates it: everything of the interface that is the
// same for all of them.
//
// An Operator is a copyable struct:
//
//   static constexpr char kName[];                   of the ONNX operator
//   static constexpr std::int32_t kNumOutputs;
//   template <typename Visitor>
//   void VisitAttributes(Visitor& visit);            see attributes.h
//   const char* ProblemOfAttributes() const;         nullptr, or the rule that they break together
//   std::int32_t num_inputs() const;
//   Tensor TensorAt(std::int32_t index) const;       see tensors.h
//   const char* ProblemOf(const Sides&) const;       nullptr, or the rule that the shapes break
//   std::size_t WorkspaceBytes(const Sides& most) const;
//   cudaError_t Enqueue(const nvinfer1::PluginTensorDesc* inputs, const void* const* in,
//                       void* const* out, void* workspace, cudaStream_t stream) const;
//
// Nothing here throws or, but for the objects that TensorRT asks for, allocates.
#pragma once

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "attributes.h"
#include "report.h"
#include "tensors.h"

namespace edgecv::plugins {

template <typename Operator>
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit Plugin(const Operator& op) : op_(op) { op_.VisitAttributes(text_); }
  // Written out: the fields of a copy would point into the original.
  Plugin(const Plugin& other)
      : nvinfer1::IPluginV3(other),
        nvinfer1::IPluginV3OneCore(other),
        nvinfer1::IPluginV3OneBuild(other),
        nvinfer1::IPluginV3OneRuntime(other),
        op_(other.op_),
        text_(other.text_) {}
  Plugin& operator=(const Plugin&) = delete;

  nvinfer1::IPluginCapability* getCapabilityInterface(
      nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE:
        return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD:
        return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME:
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  nvinfer1::IPluginV3* clone() noexcept override { return new (std::nothrow) Plugin(*this); }

  // Core.
  const char* getPluginName() const noexcept override { return Operator::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  // Build.
  std::int32_t getNbOutputs() const noexcept override { return Operator::kNumOutputs; }

  std::int32_t getOutputDataTypes(nvinfer1::DataType* out, std::int32_t num_outputs,
                                  const nvinfer1::DataType* in,
                                  std::int32_t num_inputs) const noexcept override {
    if (!HasTensors(num_inputs, num_outputs)) return kRefused;
    for (std::int32_t i = 0; i < num_inputs; ++i) {
      const Tensor tensor = op_.TensorAt(i);
      if (tensor.Takes(in[i]) && (tensor.like < 0 || in[i] == in[tensor.like])) continue;
      Report("%s: `%s` must be of a type that the plugin takes%s, got type %d. Export the model "
             "again with this version of edgecv.",
             Operator::kName, tensor.name,
             tensor.like < 0 ? "" : ", the same for all maps", static_cast<int>(in[i]));
      return kRefused;
    }
    for (std::int32_t i = 0; i < num_outputs; ++i) {
      const Tensor tensor = op_.TensorAt(num_inputs + i);
      out[i] = tensor.like < 0 ? tensor.kinds.list[0].type : in[tensor.like];
    }
    return kDone;
  }

  std::int32_t getOutputShapes(const nvinfer1::DimsExprs* in, std::int32_t num_inputs,
                               const nvinfer1::DimsExprs*, std::int32_t,
                               nvinfer1::DimsExprs* out, std::int32_t num_outputs,
                               nvinfer1::IExprBuilder& builder) noexcept override {
    if (!HasTensors(num_inputs, num_outputs)) return kRefused;
    const TensorList tensors(op_);
    Sides sides;
    for (std::int32_t i = 0; i < num_inputs; ++i)
      if (!Match(Operator::kName, tensors[i], ConstantsOf(in[i]), sides)) return kRefused;
    if (!IsWithinLimits(sides)) return kRefused;
    for (std::int32_t i = 0; i < num_outputs; ++i)
      out[i] = ExpressionOf(tensors[num_inputs + i], &tensors[0], in, num_inputs, sides, builder);
    return kDone;
  }

  // Looks at nothing behind `position`, which is not set yet.
  bool supportsFormatCombination(std::int32_t position,
                                 const nvinfer1::DynamicPluginTensorDesc* tensors,
                                 std::int32_t num_inputs,
                                 std::int32_t num_outputs) noexcept override {
    if (!HasTensors(num_inputs, num_outputs) || position < 0 ||
        position >= num_inputs + num_outputs)
      return false;
    const Tensor tensor = op_.TensorAt(position);
    const nvinfer1::PluginTensorDesc& desc = tensors[position].desc;
    if (!tensor.Takes(desc.type, desc.format)) return false;
    if (tensor.like < 0) return true;
    const nvinfer1::PluginTensorDesc& model = tensors[tensor.like].desc;
    return desc.type == model.type && desc.format == model.format;
  }

  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in,
                               std::int32_t num_inputs,
                               const nvinfer1::DynamicPluginTensorDesc* out,
                               std::int32_t num_outputs) noexcept override {
    if (!HasTensors(num_inputs, num_outputs)) return kRefused;
    Sides sides;
    for (std::int32_t i = 0; i < num_inputs; ++i)
      if (!Match(Operator::kName, op_.TensorAt(i), in[i].desc.dims, sides)) return kRefused;
    for (std::int32_t i = 0; i < num_outputs; ++i)
      if (!HasScaleOf(in, num_inputs + i, out[i].desc)) return kRefused;
    // What the largest shapes keep to, all of a profile do.
    return IsWithinLimits(MostOf(in, num_inputs)) ? kDone : kRefused;
  }

  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in,
                               std::int32_t num_inputs, const nvinfer1::DynamicPluginTensorDesc*,
                               std::int32_t) const noexcept override {
    return num_inputs == op_.num_inputs() ? op_.WorkspaceBytes(MostOf(in, num_inputs)) : 0;
  }

  const char* getTimingCacheID() noexcept override { return text_.text(); }
  const char* getMetadataString() noexcept override { return text_.text(); }

  // Runtime.
  std::int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, std::int32_t num_inputs,
                             const nvinfer1::PluginTensorDesc* out,
                             std::int32_t num_outputs) noexcept override {
    if (!HasTensors(num_inputs, num_outputs)) return kRefused;
    Sides sides;
    for (std::int32_t i = 0; i < num_inputs + num_outputs; ++i) {
      if (i == num_inputs && !IsWithinLimits(sides)) return kRefused;
      const nvinfer1::PluginTensorDesc& desc = i < num_inputs ? in[i] : out[i - num_inputs];
      const Tensor tensor = op_.TensorAt(i);
      if (!Match(Operator::kName, tensor, desc.dims, sides)) return kRefused;
      if (!tensor.Takes(desc.type, desc.format)) {
        Report("%s: `%s` must be of a type and format that the plugin takes, got type %d in "
               "format %d. Build the engine again.",
               Operator::kName, tensor.name, static_cast<int>(desc.type),
               static_cast<int>(desc.format));
        return kRefused;
      }
    }
    return kDone;
  }

  // Nothing but launches: it may be captured into a CUDA graph.
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc* in_desc,
                       const nvinfer1::PluginTensorDesc*, const void* const* in, void* const* out,
                       void* workspace, cudaStream_t stream) noexcept override {
    const cudaError_t status = op_.Enqueue(in_desc, in, out, workspace, stream);
    if (status == cudaSuccess) return kDone;
    Report("%s: the kernels must start, got %s (%s). Build the engine and the plugin library for "
           "this GPU.",
           Operator::kName, cudaGetErrorName(status), cudaGetErrorString(status));
    return kRefused;
  }

  // No resource of a context is used; a plugin is one context's own all the same.
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
    return clone();
  }

  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override {
    fields_ = FieldList();
    op_.VisitAttributes(fields_);
    return fields_.collection();
  }

 private:
  static constexpr std::int32_t kDone = 0, kRefused = -1;

  // All of an operator's, as an array.
  class TensorList {
   public:
    explicit TensorList(const Operator& op) {
      for (std::int32_t i = 0; i < op.num_inputs() + Operator::kNumOutputs; ++i)
        tensors_[i] = op.TensorAt(i);
    }
    const Tensor& operator[](std::int32_t index) const { return tensors_[index]; }

   private:
    Tensor tensors_[kMaxTensors];
  };

  bool HasTensors(std::int32_t num_inputs, std::int32_t num_outputs) const {
    if (num_inputs == op_.num_inputs() && num_outputs == Operator::kNumOutputs) return true;
    Report("%s: the node must have %d inputs and %d outputs, got %d and %d. Export the model again "
           "with this version of edgecv.",
           Operator::kName, op_.num_inputs(), Operator::kNumOutputs, num_inputs, num_outputs);
    return false;
  }

  bool IsWithinLimits(const Sides& sides) const {
    const char* problem = op_.ProblemOf(sides);
    if (problem != nullptr) Report("%s: %s", Operator::kName, problem);
    return problem == nullptr;
  }

  // The integers of both are the same numbers of the same scale; where TensorRT knows it, it is above
  // 0.
  bool HasScaleOf(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t index,
                  const nvinfer1::PluginTensorDesc& desc) const {
    const Tensor tensor = op_.TensorAt(index);
    if (tensor.like < 0 || desc.type != nvinfer1::DataType::kINT8) return true;
    const float scale = in[tensor.like].desc.scale;
    if (!(scale > 0.0f && desc.scale > 0.0f) || scale == desc.scale) return true;
    Report("%s: `%s` must have the scale of the input, %g, got %g. Quantise both alike.",
           Operator::kName, tensor.name, static_cast<double>(scale),
           static_cast<double>(desc.scale));
    return false;
  }

  Sides MostOf(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t num_inputs) const {
    Sides sides;
    for (std::int32_t i = 0; i < num_inputs; ++i) Widen(op_.TensorAt(i), in[i].max, sides);
    return sides;
  }

  Operator op_;
  AttributeText text_;
  FieldList fields_;
};

template <typename Operator>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  Creator() {
    Operator defaults;
    defaults.VisitAttributes(names_);
    names_.ForgetValues();
  }
  Creator(const Creator&) = delete;
  Creator& operator=(const Creator&) = delete;

  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    static const nvinfer1::PluginFieldCollection kNone = {};
    FieldReader reader(Operator::kName, fields == nullptr ? kNone : *fields);
    Operator op;
    op.VisitAttributes(reader);
    if (!reader.Finish()) return nullptr;
    if (const char* problem = op.ProblemOfAttributes()) {
      Report("%s: %s", Operator::kName, problem);
      return nullptr;
    }
    return new (std::nothrow) Plugin<Operator>(op);
  }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override {
    return names_.collection();
  }
  const char* getPluginName() const noexcept override { return Operator::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  FieldList names_;
};

}  // namespace edgecv::plugins
