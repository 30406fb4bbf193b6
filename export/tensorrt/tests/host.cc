#include "host.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace host {

using nvinfer1::DimensionOperation;
using nvinfer1::IDimensionExpr;
using nvinfer1::IPluginCreatorV3One;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

namespace {

std::size_t WidthOf(PluginFieldType type) {
  switch (type) {
    case PluginFieldType::kFLOAT64:
    case PluginFieldType::kINT64: return 8;
    case PluginFieldType::kFLOAT32:
    case PluginFieldType::kINT32: return 4;
    case PluginFieldType::kFLOAT16:
    case PluginFieldType::kBF16:
    case PluginFieldType::kINT16: return 2;
    case PluginFieldType::kDIMS: return sizeof(nvinfer1::Dims);
    default: return 1;
  }
}

class NoResources final : public nvinfer1::IPluginResourceContext {
 public:
  ~NoResources() noexcept override = default;
  nvinfer1::IGpuAllocator* getGpuAllocator() const noexcept override {
    Check(false, "no plugin asks for the allocator", __FILE__, __LINE__);
    return nullptr;
  }
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override {
    Check(false, "no plugin asks for the recorder", __FILE__, __LINE__);
    return nullptr;
  }
};

std::int64_t Computed(DimensionOperation operation, std::int64_t a, std::int64_t b) {
  switch (operation) {
    case DimensionOperation::kSUM: return a + b;
    case DimensionOperation::kPROD: return a * b;
    case DimensionOperation::kMAX: return std::max(a, b);
    case DimensionOperation::kMIN: return std::min(a, b);
    case DimensionOperation::kSUB: return a - b;
    case DimensionOperation::kEQUAL: return a == b;
    case DimensionOperation::kLESS: return a < b;
    case DimensionOperation::kFLOOR_DIV: return a / b;
    case DimensionOperation::kCEIL_DIV: return (a + b - 1) / b;
  }
  Check(false, "the operation is one that TensorRT has", __FILE__, __LINE__);
  return 0;
}

}  // namespace

void Check(bool holds, const char* what, const char* file, int line) {
  if (holds) return;
  std::printf("%s:%d: does not hold: %s\n", file, line, what);
  std::fflush(stdout);
  std::_Exit(1);
}

std::string MessageOf(const std::function<void()>& action) {
  std::FILE* written = std::tmpfile();
  CHECK(written != nullptr);
  std::fflush(stderr);
  const int kept = dup(STDERR_FILENO);
  dup2(fileno(written), STDERR_FILENO);
  action();
  std::fflush(stderr);
  dup2(kept, STDERR_FILENO);
  close(kept);
  std::rewind(written);
  std::string message;
  for (int c; (c = std::fgetc(written)) != EOF;) message += static_cast<char>(c);
  std::fclose(written);
  return message;
}

Library::Library(const std::string& path) : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) std::printf("%s\n", dlerror());
  CHECK(handle_ != nullptr);
  using GetCreators = nvinfer1::IPluginCreatorInterface* const* (*)(std::int32_t&);
  using SetLoggerFinder = void (*)(nvinfer1::ILoggerFinder*);
  const auto get_creators = reinterpret_cast<GetCreators>(dlsym(handle_, "getCreators"));
  const auto set_logger_finder =
      reinterpret_cast<SetLoggerFinder>(dlsym(handle_, "setLoggerFinder"));
  CHECK(get_creators != nullptr && set_logger_finder != nullptr);
  // At an address where nothing is: a library that called the finder would crash.
  set_logger_finder(reinterpret_cast<nvinfer1::ILoggerFinder*>(std::uintptr_t{16}));
  std::int32_t count = -1;
  nvinfer1::IPluginCreatorInterface* const* list = get_creators(count);
  for (std::int32_t i = 0; i < count; ++i) {
    const nvinfer1::InterfaceInfo info = list[i]->getInterfaceInfo();
    CHECK(std::strcmp(info.kind, "PLUGIN CREATOR_V3ONE") == 0);
    CHECK(info.major == 1 && info.minor == 0);
    CHECK(list[i]->getAPILanguage() == nvinfer1::APILanguage::kCPP);
    creators_.push_back(static_cast<IPluginCreatorV3One*>(list[i]));
  }
}

Library::~Library() { dlclose(handle_); }

IPluginCreatorV3One& Library::Creator(const std::string& name) const {
  const auto found =
      std::find_if(creators_.begin(), creators_.end(),
                   [&](IPluginCreatorV3One* one) { return name == one->getPluginName(); });
  CHECK(found != creators_.end());
  return **found;
}

Fields::Fields(const nvinfer1::PluginFieldCollection& other) {
  for (std::int32_t i = 0; i < other.nbFields; ++i) {
    const PluginField& field = other.fields[i];
    Add(field.name, field.type, field.data, field.length);
  }
}

// What is swapped stays where it is in memory.
Fields& Fields::operator=(Fields other) {
  names_.swap(other.names_);
  data_.swap(other.data_);
  fields_.swap(other.fields_);
  return *this;
}

Fields& Fields::Integers(const std::string& name, std::vector<std::int32_t> values) {
  return Add(name, PluginFieldType::kINT32, values.data(),
             static_cast<std::int32_t>(values.size()));
}

Fields& Fields::Numbers(const std::string& name, std::vector<float> values) {
  return Add(name, PluginFieldType::kFLOAT32, values.data(),
             static_cast<std::int32_t>(values.size()));
}

Fields& Fields::Text(const std::string& name, const std::string& value) {
  return Add(name, PluginFieldType::kCHAR, value.data(), static_cast<std::int32_t>(value.size()));
}

Fields& Fields::Add(const std::string& name, PluginFieldType type, const void* data,
                    std::int32_t length) {
  names_.push_back(name);
  // At an odd address: an engine's bytes lie as they come.
  std::vector<char> bytes(1 + WidthOf(type) * static_cast<std::size_t>(std::max(length, 0)));
  if (bytes.size() > 1) std::memcpy(bytes.data() + 1, data, bytes.size() - 1);
  data_.push_back(std::move(bytes));
  fields_.emplace_back(names_.back().c_str(), data_.back().data() + 1, type, length);
  return *this;
}

bool Fields::Has(const std::string& name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const PluginField& field) { return name == field.name; });
}

Fields& Fields::Drop(const std::string& name) {
  const auto found = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const PluginField& field) { return name == field.name; });
  CHECK(found != fields_.end());
  fields_.erase(found);
  return *this;
}

nvinfer1::PluginFieldCollection Fields::collection() const {
  nvinfer1::PluginFieldCollection collection = {};
  collection.nbFields = static_cast<std::int32_t>(fields_.size());
  collection.fields = fields_.data();
  return collection;
}

std::string Fields::ToText() const {
  std::string text;
  for (const PluginField& field : fields_) {
    text += (text.empty() ? "" : " ") + std::string(field.name) + "=";
    for (std::int32_t i = 0; i < field.length; ++i) {
      char value[32];
      const char* at = static_cast<const char*>(field.data) + 4 * i;
      if (field.type == PluginFieldType::kINT32) {
        std::int32_t integer;
        std::memcpy(&integer, at, sizeof integer);
        std::snprintf(value, sizeof value, "%d", integer);
      } else {
        CHECK(field.type == PluginFieldType::kFLOAT32);
        float number;
        std::memcpy(&number, at, sizeof number);
        std::snprintf(value, sizeof value, "%.9g", static_cast<double>(number));
      }
      text += (i == 0 ? "" : ",") + std::string(value);
    }
  }
  return text;
}

Expression::Expression(std::string text, bool is_constant,
                       std::function<std::int64_t(const Values&)> value) {
  node_.text = std::move(text);
  node_.constant = is_constant;
  node_.value = std::move(value);
  mImpl = &node_;
}

Expressions::Expressions() { mImpl = &builder_; }

const IDimensionExpr* Expressions::Builder::constant(std::int64_t value) {
  return &made.emplace_back(std::to_string(value), true, [=](const Values&) { return value; });
}

const IDimensionExpr* Expressions::Builder::operation(DimensionOperation operation,
                                                      const IDimensionExpr& first,
                                                      const IDimensionExpr& second) {
  const auto& a = static_cast<const Expression&>(first);
  const auto& b = static_cast<const Expression&>(second);
  return &made.emplace_back(
      "f(" + a.text() + ", " + b.text() + ")", a.is_constant() && b.is_constant(),
      [&a, &b, operation](const Values& values) {
        return Computed(operation, a.Value(values), b.Value(values));
      });
}

const IDimensionExpr* Expressions::Builder::declareSizeTensor(std::int32_t, const IDimensionExpr&,
                                                              const IDimensionExpr&) {
  Check(false, "no shape depends on what a kernel finds", __FILE__, __LINE__);
  return nullptr;
}

nvinfer1::DimsExprs Expressions::Shape(const std::vector<std::string>& sides) {
  nvinfer1::DimsExprs shape = {};
  for (const std::string& side : sides) {
    const bool is_number = side.find_first_not_of("0123456789") == std::string::npos;
    shape.d[shape.nbDims++] =
        is_number ? constant(std::stoll(side))
                  : &builder_.made.emplace_back(
                        side, false, [=](const Values& values) { return values.at(side); });
  }
  return shape;
}

std::vector<std::string> Expressions::TextOf(const nvinfer1::DimsExprs& shape) {
  std::vector<std::string> sides;
  for (std::int32_t i = 0; i < shape.nbDims; ++i) {
    CHECK(shape.d[i] != nullptr);
    sides.push_back(static_cast<const Expression*>(shape.d[i])->text());
  }
  return sides;
}

Parts::Parts(nvinfer1::IPluginV3& plugin)
    : core(static_cast<nvinfer1::IPluginV3OneCore*>(
          plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kCORE))),
      build(static_cast<nvinfer1::IPluginV3OneBuild*>(
          plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD))),
      runtime(static_cast<nvinfer1::IPluginV3OneRuntime*>(
          plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME))) {
  CHECK(core != nullptr && build != nullptr && runtime != nullptr);
}

Plugin Create(IPluginCreatorV3One& creator, const Fields& fields, nvinfer1::TensorRTPhase phase) {
  const nvinfer1::PluginFieldCollection collection = fields.collection();
  return Plugin(creator.createPlugin("node", &collection, phase));
}

Fields Serialised(nvinfer1::IPluginV3& plugin) {
  return Fields(*Parts(plugin).runtime->getFieldsToSerialize());
}

std::unique_ptr<nvinfer1::IPluginResourceContext> Context() {
  return std::make_unique<NoResources>();
}

nvinfer1::Dims DimsOf(const std::vector<std::int64_t>& sides) {
  nvinfer1::Dims dims = {};
  dims.nbDims = static_cast<std::int32_t>(sides.size());
  std::copy(sides.begin(), sides.end(), dims.d);
  return dims;
}

nvinfer1::PluginTensorDesc Desc(const std::vector<std::int64_t>& sides, nvinfer1::DataType type,
                                nvinfer1::TensorFormat format, float scale) {
  nvinfer1::PluginTensorDesc desc = {};
  desc.dims = DimsOf(sides);
  desc.type = type;
  desc.format = format;
  desc.scale = scale;
  return desc;
}

}  // namespace host
