// What the plugins compute, against the CPU operators: on a GPU from inside a CUDA graph, on the
// emulated one (kernels/emulated) directly.
#pragma once

#include "host.h"

bool HasDevice();
void EnqueuesNms(const host::Library& library);
void EnqueuesRoiAlign(const host::Library& library);
void EnqueuesRoiPool(const host::Library& library);
