// What every binding file shares. A binding only translates: the array types state dtype, shape,
// order and device, so that a wrong array is refused before a kernel runs. No arithmetic belongs
// here. `Bind<Operator>` adds the functions of one operator to the module; each releases the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <unistd.h>

#include <cstdint>

namespace edgecv::bindings {

namespace nb = nanobind;
using namespace nanobind::literals;

using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ClassIds = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

inline void Require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

// Releases the GIL for the rest of a scope, as nb::gil_scoped_release does, but survives the end of
// the program: before Python 3.14, a daemon thread that wants the GIL back from an interpreter that
// is going away is ended by pthread_exit, whose unwinding C++ answers with std::terminate. Here the
// thread sleeps instead until the process is gone, as it does from Python 3.14 on.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // the unwinding: C does not throw
      for (;;) pause();
    }
  }

 private:
  PyThreadState* state_;
};

void BindBoxIou(nb::module_& m);
void BindDecode(nb::module_& m);
void BindDrawing(nb::module_& m);
void BindEdgeNms(nb::module_& m);
void BindLetterbox(nb::module_& m);
void BindNms(nb::module_& m);
void BindPasteMasks(nb::module_& m);
void BindResizeArgmax(nb::module_& m);
void BindRoi(nb::module_& m);
void BindSoftNms(nb::module_& m);
void BindThreads(nb::module_& m);
void BindTracking(nb::module_& m);

}  // namespace edgecv::bindings
