// CUDA implementation of letterbox.h: the same contract, with device pointers, for a batch of
// frames.
//
// It takes every format but the Bayer mosaics. Positions are those of sampling.h, colours are
// floats: its values differ from the processor's within the contract's tolerance.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "letterbox/letterbox.h"

namespace edgecv {

// A kernel's parameters hold so many frames; more take several launches.
constexpr std::size_t kFramesPerLaunch = 32;

// One frame of a batch and where it goes.
struct PlacedFrame {
  Frame frame;
  FramePlacement placement;
};

// Image i of `out`, which holds `num_frames` of them one after the other, receives `frames[i]`, of
// any size; all have the format, the matrix and the range of the first. `frames` is the caller's
// memory, and read before the call returns. Asynchronous on `stream`; returns the status of the
// launches alone: cudaErrorInvalidValue for a Bayer mosaic and for sides that are not below 2^31.
cudaError_t LetterboxCuda(const PlacedFrame* frames, std::size_t num_frames,
                          Interpolation interpolation, const Normalisation& norm, const Input& out,
                          cudaStream_t stream);

}  // namespace edgecv
