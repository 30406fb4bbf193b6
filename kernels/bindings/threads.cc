#include "bindings/bindings.h"

#include <cstddef>

#include "common/parallel.h"

namespace edgecv::bindings {

void BindThreads(nb::module_& m) {
  m.def(
      "set_num_threads",
      [](std::size_t count) {
        Require(1 <= count && count <= kMaxNumThreads,
                "set_num_threads: `count` must be in [1, 256].");
        const WithoutGil nogil;
        SetNumThreads(count);
      },
      "count"_a);
  m.def("num_threads", &NumThreads);
}

}  // namespace edgecv::bindings
