// What TensorRT looks for in a plugin library; plugins.map lets nothing else be seen. No symbol of
// TensorRT is needed: the library is loaded by any version of it.

#include <NvInferRuntime.h>

#include <cstdint>
#include <new>

#include "edge_nms_plugin.h"
#include "edge_roi_plugins.h"
#include "plugin.h"

namespace {

// Never destroyed: TensorRT's registry, an object of another library, may ask for its name at exit.
template <typename Type>
Type* Immortal() {
  alignas(Type) static unsigned char storage[sizeof(Type)];
  static Type* const object = new (storage) Type;
  return object;
}

}  // namespace

extern "C" [[gnu::visibility("default")]] nvinfer1::IPluginCreatorInterface* const* getCreators(
    std::int32_t& count) {
  using namespace edgecv::plugins;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {
      Immortal<Creator<EdgeNms>>(), Immortal<Creator<EdgeRoiAlign>>(),
      Immortal<Creator<EdgeRoiPool>>()};
  count = sizeof creators / sizeof creators[0];
  return creators;
}

// Asked for by TensorRT, and of no use: the finder's table of functions grew between 10 and 11, so a
// library that calls it works with one of them alone.
extern "C" [[gnu::visibility("default")]] void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
