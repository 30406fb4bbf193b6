// CUDA implementation of decode_ssd.h: the same contract for a batch, with device pointers; boxes
// come in rows of a fixed number (common/batch_decoding.h). With a softmax there are at most
// kMaxSoftmaxClasses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "common/batch_decoding.h"
#include "decode_ssd/decode_ssd.h"

namespace edgecv {

constexpr std::size_t kMaxSoftmaxClasses = 2048;  // of an anchor, all of them in one tile

struct BatchSsdHead {
  BatchHead offsets, logits;  // of the same images and anchors
  const float* anchors_cxcywh;
  float centre_variance, size_variance;
  Activation activation;

  std::size_t NumClasses() const {
    return logits.num_channels - (activation == Activation::kSoftmax ? 1 : 0);
  }
};

// Asynchronous on `stream`; returns the status of the launches alone. The workspace holds
// DecodeWorkspaceBytes (decode_yolo/decode_yolo.cuh), aligned to 16 bytes, and belongs to this call
// until the stream has run it.
cudaError_t DecodeSsdCuda(const BatchSsdHead& head, const BatchDecoding& decoding,
                          const BatchDetections& out, void* workspace, cudaStream_t stream);

}  // namespace edgecv
