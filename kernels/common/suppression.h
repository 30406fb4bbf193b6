// What every suppression on a GPU takes from its caller, see suppression.cuh: thresholds, limits and
// memory to work in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "common/max_candidates.h"

namespace edgecv {

// A number that is known when the kernels are started or, if `address` is not null, a float in device
// memory that they read when they run: in a graph, at each replay.
struct Threshold {
  const float* address;
  double value;
};

struct SuppressionSize {
  std::size_t num_images;
  std::size_t num_pairs;  // candidates that an image may have at most, below 2^32
  std::size_t max_detections;
  std::size_t max_candidates;  // of these the best ones take part
};

// Of what a detector finds, of which no more than the best kMaxCandidates take part.
inline SuppressionSize DetectorSuppressionSize(std::size_t num_images, std::size_t num_pairs,
                                               std::size_t max_detections) {
  return {num_images, num_pairs, max_detections, kMaxCandidates};
}

// Boxes that an image's suppression holds in shared memory; those kept beyond lie in the workspace.
constexpr std::size_t kSharedBoxes = 1024;

// The memory that suppression works in, one part after the other; what it holds before is of no
// importance.
struct SuppressionWorkspace {
  std::uint32_t* counts;  // per image: candidates found, which may be more than `capacity`
  std::uint64_t* keys;    // per image: `capacity`
  // Per image: `num_spilled` kept boxes as 4 floats, their limits and their classes.
  float* boxes;
  float* limits;
  std::int32_t* classes;
  std::size_t capacity, num_spilled;

  // At `base`, which is aligned to 16 bytes; `end` receives the first byte behind it.
  SuppressionWorkspace(const SuppressionSize& size, void* base, std::uintptr_t* end) {
    // More than take part: where to cut the rest off need not be found exactly.
    capacity = std::min(size.num_pairs, size.max_candidates + size.max_candidates / 16);
    const std::size_t most =
        std::min({size.num_pairs, size.max_detections, size.max_candidates});
    num_spilled = most > kSharedBoxes ? most - kSharedBoxes : 0;
    std::uintptr_t at = reinterpret_cast<std::uintptr_t>(base);
    const auto take = [&at](std::size_t bytes) {
      const std::uintptr_t here = at;
      at += (bytes + 15) / 16 * 16;
      return here;
    };
    const std::size_t n = size.num_images;
    keys = reinterpret_cast<std::uint64_t*>(take(n * capacity * sizeof *keys));
    boxes = reinterpret_cast<float*>(take(n * num_spilled * 4 * sizeof *boxes));
    limits = reinterpret_cast<float*>(take(n * num_spilled * sizeof *limits));
    classes = reinterpret_cast<std::int32_t*>(take(n * num_spilled * sizeof *classes));
    counts = reinterpret_cast<std::uint32_t*>(take(n * sizeof *counts));
    *end = at;
  }
};

// Of the workspace, at least 16.
inline std::size_t SuppressionWorkspaceBytes(const SuppressionSize& size) {
  std::uintptr_t end;
  SuppressionWorkspace(size, nullptr, &end);
  return end;
}

}  // namespace edgecv
