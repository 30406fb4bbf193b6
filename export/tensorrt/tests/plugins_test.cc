// Drives a plugin library through the whole contract of IPluginV3, as TensorRT's parser, builder and
// runtime do, without TensorRT.
//
//   plugins_test <test> <library> [<copy of the library>]
//
// Ends with 0 if the test passes, with 1 and what does not hold if not, and with 77 if it needs a GPU
// and there is none. Without arguments it names the tests.

#include <NvInferRuntime.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cases.h"
#include "enqueue_test.h"
#include "host.h"

namespace {

using cases::At;
using cases::Case;
using host::Fields;
using host::Library;
using host::MessageOf;
using host::Parts;
using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

// All that TensorRT has; the numbers past the last are nothing.
constexpr std::int32_t kNumTypes = 12, kNumFormats = 16;

std::int32_t Count(const std::vector<cases::Sides>& tensors) {
  return static_cast<std::int32_t>(tensors.size());
}

std::size_t NumTensors(const Case& one) { return one.inputs.size() + one.outputs.size(); }

const cases::Sides& ShapeOf(const Case& one, std::size_t tensor) {
  return tensor < one.inputs.size() ? one.inputs[tensor] : one.outputs[tensor - one.inputs.size()];
}

bool Contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  std::printf("message: %swanted: %s\n", text.c_str(), part.c_str());
  return false;
}

host::Plugin PluginOf(const Library& library, const Case& one) {
  host::Plugin plugin = Create(library.Creator(one.name), one.fields);
  CHECK(plugin != nullptr);
  return plugin;
}

// Printed, for edgecv/export/operators to be compared with: names, and what stands where nothing is
// given.
void Describe(const Library& library) {
  CHECK(library.creators().size() == cases::All().size());
  for (nvinfer1::IPluginCreatorV3One* creator : library.creators()) {
    std::printf("%s %s %s", creator->getPluginName(), creator->getPluginVersion(),
                creator->getPluginNamespace());
    const nvinfer1::PluginFieldCollection* names = creator->getFieldNames();
    CHECK(creator->getFieldNames() == names);
    for (std::int32_t i = 0; i < names->nbFields; ++i) {
      CHECK(names->fields[i].data == nullptr);
      std::printf(" %s:%d", names->fields[i].name, static_cast<int>(names->fields[i].type));
    }
    std::printf("\n");
  }
  for (const Case& one : cases::All()) std::printf("%s\n", one.of_required.c_str());
}

void TakesFields(const Library& library) {
  for (const Case& one : cases::All()) {
    nvinfer1::IPluginCreatorV3One& creator = library.Creator(one.name);
    for (const auto phase : {nvinfer1::TensorRTPhase::kBUILD, nvinfer1::TensorRTPhase::kRUNTIME}) {
      const host::Plugin plugin = Create(creator, one.fields, phase);
      CHECK(plugin != nullptr);
      CHECK(host::Serialised(*plugin).ToText() == one.fields.ToText());
    }
    // What a node of an ONNX file names beside: with or without the end of a C string.
    for (const std::string& end : {std::string(), std::string(1, '\0')}) {
      Fields fields(one.fields);
      fields.Text("plugin_version", "1" + end).Text("plugin_namespace", "edgecv" + end);
      const host::Plugin plugin = Create(creator, fields);
      CHECK(plugin != nullptr);
      CHECK(host::Serialised(*plugin).ToText() == one.fields.ToText());
    }
    Fields only;
    const nvinfer1::PluginFieldCollection all = one.fields.collection();
    for (std::int32_t i = 0; i < all.nbFields; ++i) {
      const nvinfer1::PluginField& field = all.fields[i];
      if (std::count(one.required.begin(), one.required.end(), field.name) != 0)
        only.Add(field.name, field.type, field.data, field.length);
    }
    const host::Plugin plugin = Create(creator, only);
    CHECK(plugin != nullptr);
    CHECK(host::Serialised(*plugin).ToText() == one.of_required);
  }
}

void RefusesFields(const Library& library) {
  for (const Case& one : cases::All()) {
    nvinfer1::IPluginCreatorV3One& creator = library.Creator(one.name);
    const auto refuses = [&](const Fields& fields, const std::string& message) {
      const std::string said = MessageOf([&] { CHECK(Create(creator, fields) == nullptr); });
      CHECK(Contains(said, "edgecv plugins: " + one.name + ": "));
      CHECK(Contains(said, message));
      CHECK(std::count(said.begin(), said.end(), '\n') == 1);
    };
    for (const std::string& name : one.required) {
      Fields fields(one.fields);
      refuses(fields.Drop(name), "`" + name + "` must be given, got no field of that name.");
    }
    for (const cases::FieldRefusal& refusal : one.refused_fields) {
      Fields fields(one.fields);
      if (fields.Has(refusal.what)) fields.Drop(refusal.what);
      const nvinfer1::PluginField& field = *refusal.field.collection().fields;
      fields.Add(field.name, field.type, field.data, field.length);
      refuses(fields, refusal.message);
    }
    const std::string first = one.required.front();
    const std::string said = MessageOf([&] {
      CHECK(creator.createPlugin("node", nullptr, nvinfer1::TensorRTPhase::kBUILD) == nullptr);
    });
    CHECK(Contains(said, "`" + first + "` must be given"));
  }
}

void GivesTypes(const Library& library) {
  for (const Case& one : cases::All()) {
    const host::Plugin plugin = PluginOf(library, one);
    const Parts parts(*plugin);
    const std::size_t num_inputs = one.inputs.size(), num_outputs = one.outputs.size();
    CHECK(parts.build->getNbOutputs() == Count(one.outputs));
    std::vector<DataType> in(num_inputs), out(num_outputs);
    const auto types = [&](std::int32_t inputs, std::int32_t outputs) {
      return parts.build->getOutputDataTypes(out.data(), outputs, in.data(), inputs);
    };
    for (const cases::Combination& combination : one.combinations) {
      for (std::size_t i = 0; i < num_inputs; ++i) in[i] = combination[i].first;
      CHECK(types(Count(one.inputs), Count(one.outputs)) == 0);
      for (std::size_t i = 0; i < num_outputs; ++i)
        CHECK(out[i] == combination[num_inputs + i].first);
      // One input of another type: what is not one of the combinations is refused.
      for (std::size_t i = 0; i < num_inputs; ++i) {
        for (std::int32_t type = 0; type < kNumTypes; ++type) {
          in[i] = static_cast<DataType>(type);
          const bool is_taken = std::any_of(
              one.combinations.begin(), one.combinations.end(), [&](const auto& other) {
                for (std::size_t k = 0; k < num_inputs; ++k)
                  if (other[k].first != in[k]) return false;
                return true;
              });
          const std::string said = MessageOf([&] {
            CHECK((types(Count(one.inputs), Count(one.outputs)) == 0) == is_taken);
          });
          CHECK(said.empty() == is_taken);
        }
        in[i] = combination[i].first;
      }
    }
    const std::string said = MessageOf([&] {
      CHECK(types(Count(one.inputs) - 1, Count(one.outputs)) != 0);
      CHECK(types(Count(one.inputs), Count(one.outputs) - 1) != 0);
    });
    CHECK(Contains(said, "the node must have"));
  }
}

void GivesShapes(const Library& library) {
  for (const Case& one : cases::All()) {
    const host::Plugin plugin = PluginOf(library, one);
    const Parts parts(*plugin);
    host::Expressions expressions;
    std::vector<DimsExprs> out(one.outputs.size());
    const auto shapes = [&](const std::vector<cases::Sides>& inputs) {
      std::vector<DimsExprs> in;
      for (const cases::Sides& sides : inputs) in.push_back(expressions.Shape(sides));
      return parts.build->getOutputShapes(in.data(), static_cast<std::int32_t>(in.size()), nullptr,
                                          0, out.data(), Count(one.outputs), expressions);
    };
    // Dynamic: the outputs' sides are the inputs' expressions.
    CHECK(shapes(one.inputs) == 0);
    for (std::size_t i = 0; i < out.size(); ++i)
      CHECK(host::Expressions::TextOf(out[i]) == one.outputs[i]);
    // Where one input alone is known, and where all are: what any of them knows is passed on.
    const std::size_t all = one.inputs.size();
    for (std::size_t known = 0; known <= all; ++known) {
      std::vector<cases::Sides> inputs = one.inputs;
      std::vector<std::string> letters;
      for (std::size_t i = 0; i < all; ++i) {
        if (known != i && known != all) continue;
        for (std::string& side : inputs[i]) {
          letters.push_back(side);
          side = std::to_string(At({side}, one.opt)[0]);
        }
      }
      CHECK(shapes(inputs) == 0);
      for (std::size_t i = 0; i < out.size(); ++i) {
        CHECK(out[i].nbDims == static_cast<std::int32_t>(one.outputs[i].size()));
        for (std::int32_t k = 0; k < out[i].nbDims; ++k) {
          const auto& side = static_cast<const host::Expression&>(*out[i].d[k]);
          const std::string& wanted = one.outputs[i][static_cast<std::size_t>(k)];
          const bool is_known = one.opt.count(wanted) == 0 ||
                                std::count(letters.begin(), letters.end(), wanted) != 0;
          CHECK(side.Value(one.opt) == At({wanted}, one.opt)[0]);
          CHECK(side.is_constant() == is_known);
        }
      }
    }
    for (const cases::ShapeRefusal& refusal : one.refused_shapes) {
      if (refusal.is_of_numbers) continue;
      std::vector<cases::Sides> inputs = one.inputs;
      inputs[refusal.input] = refusal.shape;
      const std::string said = MessageOf([&] { CHECK(shapes(inputs) != 0); });
      CHECK(Contains(said, refusal.message));
    }
    std::vector<cases::Sides> fewer = one.inputs;
    fewer.pop_back();
    const std::string said = MessageOf([&] { CHECK(shapes(fewer) != 0); });
    CHECK(Contains(said, "the node must have"));
    // One number may be written as a list of one.
    for (std::size_t i = 0; i < one.inputs.size(); ++i) {
      if (!one.inputs[i].empty()) continue;
      std::vector<cases::Sides> inputs = one.inputs;
      inputs[i] = {"1"};
      CHECK(shapes(inputs) == 0);
    }
  }
}

// Position by position, the types and formats behind the one that is asked for being rubbish.
void Enumerate(nvinfer1::IPluginV3OneBuild& build, std::vector<DynamicPluginTensorDesc>& tensors,
               std::size_t position, const Case& one, std::vector<cases::Combination>& found) {
  if (position == tensors.size()) {
    cases::Combination combination;
    for (const DynamicPluginTensorDesc& tensor : tensors)
      combination.emplace_back(tensor.desc.type, tensor.desc.format);
    found.push_back(combination);
    return;
  }
  for (std::int32_t type = 0; type < kNumTypes; ++type) {
    for (std::int32_t format = 0; format < kNumFormats; ++format) {
      tensors[position].desc.type = static_cast<DataType>(type);
      tensors[position].desc.format = static_cast<TensorFormat>(format);
      for (std::size_t i = position + 1; i < tensors.size(); ++i) {
        tensors[i].desc.type = static_cast<DataType>(99);
        tensors[i].desc.format = static_cast<TensorFormat>(99);
      }
      if (build.supportsFormatCombination(static_cast<std::int32_t>(position), tensors.data(),
                                          Count(one.inputs), Count(one.outputs)))
        Enumerate(build, tensors, position + 1, one, found);
    }
  }
}

void TakesFormats(const Library& library) {
  for (const Case& one : cases::All()) {
    const host::Plugin plugin = PluginOf(library, one);
    const Parts parts(*plugin);
    std::vector<DynamicPluginTensorDesc> tensors(NumTensors(one));
    std::vector<cases::Combination> found;
    Enumerate(*parts.build, tensors, 0, one, found);
    CHECK(found.size() == one.combinations.size());
    CHECK(std::is_permutation(found.begin(), found.end(), one.combinations.begin()));
    CHECK(parts.build->getFormatCombinationLimit() >= static_cast<std::int32_t>(found.size()));
    const auto count = static_cast<std::int32_t>(tensors.size());
    for (const std::int32_t position : {-1, count})
      CHECK(!parts.build->supportsFormatCombination(position, tensors.data(), Count(one.inputs),
                                                    Count(one.outputs)));
    MessageOf([&] {
      CHECK(!parts.build->supportsFormatCombination(0, tensors.data(), Count(one.inputs) + 1,
                                                    Count(one.outputs)));
    });
  }
}

// Shapes that are known at `values` or, at null, none but their numbers; of the whole profile.
std::vector<DynamicPluginTensorDesc> Profile(const Case& one, const host::Values* values) {
  std::vector<DynamicPluginTensorDesc> tensors;
  for (std::size_t i = 0; i < NumTensors(one); ++i) {
    const cases::Sides& sides = ShapeOf(one, i);
    std::vector<std::int64_t> shape;
    for (const std::string& side : sides)
      shape.push_back(values == nullptr && one.opt.count(side) != 0
                          ? -1
                          : At({side}, values == nullptr ? one.opt : *values)[0]);
    DynamicPluginTensorDesc tensor = {};
    tensor.desc =
        host::Desc(shape, one.combinations[0][i].first, one.combinations[0][i].second);
    tensor.min = host::DimsOf(At(sides, one.min));
    tensor.opt = host::DimsOf(At(sides, one.opt));
    tensor.max = host::DimsOf(At(sides, one.max));
    tensors.push_back(tensor);
  }
  return tensors;
}

void Configures(const Library& library) {
  for (const Case& one : cases::All()) {
    const host::Plugin plugin = PluginOf(library, one);
    const Parts parts(*plugin);
    const auto configure = [&](std::vector<DynamicPluginTensorDesc>& tensors) {
      return parts.build->configurePlugin(tensors.data(), Count(one.inputs),
                                          tensors.data() + one.inputs.size(), Count(one.outputs));
    };
    const auto workspace = [&](const std::vector<DynamicPluginTensorDesc>& tensors) {
      return parts.build->getWorkspaceSize(tensors.data(), Count(one.inputs),
                                           tensors.data() + one.inputs.size(), Count(one.outputs));
    };
    // Of the profile's largest shapes, whatever the current ones are.
    std::vector<DynamicPluginTensorDesc> unknown = Profile(one, nullptr);
    CHECK(configure(unknown) == 0);
    const std::size_t most = workspace(unknown);
    CHECK((most > 0) == (one.name == "EdgeNMS"));
    for (const host::Values* values : {&one.min, &one.opt, &one.max}) {
      std::vector<DynamicPluginTensorDesc> tensors = Profile(one, values);
      CHECK(configure(tensors) == 0);
      CHECK(workspace(tensors) == most);
      for (std::size_t i = 0; i < tensors.size(); ++i)
        tensors[i].max = host::DimsOf(At(ShapeOf(one, i), *values));
      CHECK(configure(tensors) == 0);
      CHECK(workspace(tensors) <= most);
    }
    for (const cases::ShapeRefusal& refusal : one.refused_shapes) {
      std::vector<DynamicPluginTensorDesc> tensors = Profile(one, &one.opt);
      tensors[refusal.input].desc.dims = host::DimsOf(At(refusal.shape, one.opt));
      tensors[refusal.input].max = tensors[refusal.input].desc.dims;
      const std::string said = MessageOf([&] { CHECK(configure(tensors) != 0); });
      CHECK(Contains(said, refusal.message));
    }
    CHECK(parts.build->getNbTactics() == 0);
    CHECK(parts.build->getTimingCacheID() == one.fields.ToText());
    CHECK(parts.build->getMetadataString() == one.fields.ToText());
  }
  // Integers of different scales are different numbers.
  const Case pool = cases::All()[2];
  const host::Plugin plugin = PluginOf(library, pool);
  std::vector<DynamicPluginTensorDesc> tensors = Profile(pool, nullptr);
  tensors[0].desc.type = tensors[2].desc.type = DataType::kINT8;
  const auto configure = [&](float of_features, float of_bins) {
    tensors[0].desc.scale = of_features;
    tensors[2].desc.scale = of_bins;
    return Parts(*plugin).build->configurePlugin(tensors.data(), 2, &tensors[2], 1);
  };
  CHECK(configure(-1.0f, -1.0f) == 0);  // unknown
  CHECK(configure(0.5f, 0.5f) == 0);
  const std::string said = MessageOf([&] { CHECK(configure(0.5f, 0.25f) != 0); });
  CHECK(Contains(said, "`bins` must have the scale of the input, 0.5, got 0.25."));
}

// Serialised, destroyed, restored; cloned; attached: each lives by itself.
void Survives(const Library& library) {
  for (const Case& one : cases::All()) {
    nvinfer1::IPluginCreatorV3One& creator = library.Creator(one.name);
    host::Plugin plugin = PluginOf(library, one);
    const Fields serialised = host::Serialised(*plugin);
    // The plugin's own fields, which a copy must not point into.
    CHECK(Parts(*plugin).runtime->getFieldsToSerialize()->nbFields > 0);
    host::Plugin clone(plugin->clone());
    CHECK(clone != nullptr && clone.get() != plugin.get());
    plugin.reset();
    host::Plugin restored =
        Create(creator, serialised, nvinfer1::TensorRTPhase::kRUNTIME);
    CHECK(restored != nullptr);
    const auto context = host::Context();
    host::Plugin attached(Parts(*restored).runtime->attachToContext(context.get()));
    CHECK(attached != nullptr && attached.get() != restored.get());
    host::Plugin again(attached->clone());
    restored.reset();
    for (nvinfer1::IPluginV3* survivor : {clone.get(), attached.get(), again.get()}) {
      const Parts parts(*survivor);
      CHECK(host::Serialised(*survivor).ToText() == one.fields.ToText());
      CHECK(parts.build->getTimingCacheID() == one.fields.ToText());
      CHECK(parts.core->getPluginName() == one.name);
      CHECK(std::strcmp(parts.core->getPluginVersion(), "1") == 0);
      CHECK(std::strcmp(parts.core->getPluginNamespace(), "edgecv") == 0);
      CHECK(std::strcmp(survivor->getInterfaceInfo().kind, "PLUGIN") == 0);
      CHECK(std::strcmp(parts.core->getInterfaceInfo().kind, "PLUGIN_V3ONE_CORE") == 0);
      CHECK(std::strcmp(parts.build->getInterfaceInfo().kind, "PLUGIN_V3ONE_BUILD") == 0);
      CHECK(std::strcmp(parts.runtime->getInterfaceInfo().kind, "PLUGIN_V3ONE_RUNTIME") == 0);
    }
  }
}

void FollowsShapes(const Library& library) {
  for (const Case& one : cases::All()) {
    const host::Plugin plugin = PluginOf(library, one);
    const auto context = host::Context();
    const host::Plugin attached(Parts(*plugin).runtime->attachToContext(context.get()));
    CHECK(attached != nullptr);
    nvinfer1::IPluginV3OneRuntime& runtime = *Parts(*attached).runtime;
    CHECK(runtime.setTactic(0) == 0);
    const auto change = [&](const std::vector<PluginTensorDesc>& tensors) {
      return runtime.onShapeChange(tensors.data(), Count(one.inputs),
                                   tensors.data() + one.inputs.size(), Count(one.outputs));
    };
    const auto tensors_at = [&](const host::Values& values, const cases::Combination& combination) {
      std::vector<PluginTensorDesc> tensors;
      for (std::size_t i = 0; i < NumTensors(one); ++i)
        tensors.push_back(host::Desc(At(ShapeOf(one, i), values), combination[i].first,
                                     combination[i].second));
      return tensors;
    };
    for (const host::Values* values : {&one.min, &one.max, &one.opt})
      for (const cases::Combination& combination : one.combinations)
        CHECK(change(tensors_at(*values, combination)) == 0);
    const std::vector<PluginTensorDesc> good = tensors_at(one.opt, one.combinations[0]);
    for (const cases::ShapeRefusal& refusal : one.refused_shapes) {
      std::vector<PluginTensorDesc> tensors = good;
      tensors[refusal.input].dims = host::DimsOf(At(refusal.shape, one.opt));
      const std::string said = MessageOf([&] { CHECK(change(tensors) != 0); });
      CHECK(Contains(said, refusal.message));
    }
    for (std::size_t i = 0; i < NumTensors(one); ++i) {
      std::vector<PluginTensorDesc> tensors = good;
      tensors[i].format = TensorFormat::kCHW32;
      std::string said = MessageOf([&] { CHECK(change(tensors) != 0); });
      CHECK(Contains(said, "must be of a type and format that the plugin takes"));
      if (i < one.inputs.size()) continue;
      tensors = good;
      ++tensors[i].dims.d[tensors[i].dims.nbDims - 1];
      said = MessageOf([&] { CHECK(change(tensors) != 0); });
      CHECK(Contains(said, "must be ["));
    }
  }
}

// Two libraries of the same names and symbols, as two versions of edgecv in a process would be.
void StandsBeside(const Library& library, const std::string& path) {
  host::Plugin plugin;
  {
    const Library other(path);
    CHECK(other.creators().size() == library.creators().size());
    for (std::size_t i = 0; i < other.creators().size(); ++i)
      CHECK(other.creators()[i] != library.creators()[i]);
    for (const Case& one : cases::All()) {
      const host::Plugin first = PluginOf(library, one), second = PluginOf(other, one);
      // What one serialises the other restores.
      host::Plugin restored = Create(library.Creator(one.name), host::Serialised(*second),
                                     nvinfer1::TensorRTPhase::kRUNTIME);
      CHECK(restored != nullptr);
      CHECK(host::Serialised(*restored).ToText() == one.fields.ToText());
      plugin = std::move(restored);
    }
  }
  // The copy is gone; the library is as it was.
  const Case last = cases::All().back();
  CHECK(host::Serialised(*plugin).ToText() == last.fields.ToText());
  CHECK(PluginOf(library, last) != nullptr);
}

struct Test {
  const char* name;
  void (*run)(const Library& library);
  bool needs_device = false;
};

constexpr Test kTests[] = {
    {"describe", Describe},
    {"takes-fields", TakesFields},
    {"refuses-fields", RefusesFields},
    {"types", GivesTypes},
    {"shapes", GivesShapes},
    {"formats", TakesFormats},
    {"configure", Configures},
    {"survive", Survives},
    {"shape-change", FollowsShapes},
    {"enqueue-nms", EnqueuesNms, true},
    {"enqueue-roi-align", EnqueuesRoiAlign, true},
    {"enqueue-roi-pool", EnqueuesRoiPool, true},
};
constexpr char kCopies[] = "copies";

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    for (const Test& test : kTests) std::printf("%s\n", test.name);
    std::printf("%s\n", kCopies);
    return 0;
  }
  const std::string wanted = argv[1];
  const Library library(argv[2]);
  if (wanted == kCopies) {
    CHECK(argc == 4);
    StandsBeside(library, argv[3]);
    return 0;
  }
  for (const Test& test : kTests) {
    if (wanted != test.name) continue;
    if (test.needs_device && !HasDevice()) return 77;
    test.run(library);
    return 0;
  }
  std::printf("there is no test %s\n", wanted.c_str());
  return 1;
}
