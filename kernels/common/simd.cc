#include "common/simd.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace edgecv {
namespace {

Level BestLevel() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return has_v4 ? Level::kV4 : has_v3 ? Level::kV3 : Level::kBaseline;
#else
  return Level::kBaseline;
#endif
}

Level Wanted() {
  const char* const text = std::getenv("EDGECV_CPU_LEVEL");
  const std::string_view name = text == nullptr ? "" : text;
  return name == "baseline" ? Level::kBaseline : name == "v3" ? Level::kV3 : Level::kV4;
}

}  // namespace

Level CpuLevel() {
  static const Level level = std::min(BestLevel(), Wanted());
  return level;
}

}  // namespace edgecv
