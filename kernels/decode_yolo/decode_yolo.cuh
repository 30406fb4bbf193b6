// CUDA implementation of decode_yolo.h: the same contract for a batch, with device pointers; boxes
// come in rows of a fixed number (common/batch_decoding.h).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "common/batch_decoding.h"

namespace edgecv {

constexpr std::size_t kMaxStrides = 8;

// The cells of a raw head, level by level, row by row; an anchor point is the centre of its cell.
struct CellLevels {
  std::size_t count;  // at most kMaxStrides
  std::uint32_t first_anchor[kMaxStrides], columns[kMaxStrides], stride[kMaxStrides];  // pixels
};

struct YoloHead {
  BatchHead values;
  std::size_t num_bins;  // per distance; 0: the boxes are decoded, and class values probabilities
  CellLevels levels;     // if `num_bins` is not 0
  bool multi_label;

  std::size_t NumBoxChannels() const { return num_bins == 0 ? 4 : 4 * num_bins; }
  std::size_t NumClasses() const { return values.num_channels - NumBoxChannels(); }
};

// Of the workspace of any decoder; rises with each of the arguments. An image has `num_pairs` of an
// anchor and a class, below 2^32.
std::size_t DecodeWorkspaceBytes(std::size_t num_images, std::size_t num_pairs,
                                 std::size_t max_detections);

// Asynchronous on `stream`; returns the status of the launches alone. The workspace is aligned to 16
// bytes and belongs to this call until the stream has run it.
cudaError_t DecodeYoloCuda(const YoloHead& head, const BatchDecoding& decoding,
                           const BatchDetections& out, void* workspace, cudaStream_t stream);

}  // namespace edgecv
