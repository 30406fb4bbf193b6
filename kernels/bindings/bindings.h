// What every binding file shares. A binding only translates: the array types state dtype, shape,
// order and device, so that a wrong array is refused before a kernel runs. No arithmetic belongs
// here. `Bind<Operator>` adds the functions of one operator to the module; each releases the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

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

void BindDecode(nb::module_& m);
void BindDrawing(nb::module_& m);
void BindLetterbox(nb::module_& m);
void BindNms(nb::module_& m);

}  // namespace edgecv::bindings
