// The fold of one RoI and 16 channels (rois.h), for any operation on vectors of channels.
//
// `Operation<Vector>` has `kStart`, the value before the first cell, and `Add(sum, value, weight)`,
// which folds a cell in. A bin without cells is 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/rois.h"
#include "common/simd.h"

namespace edgecv {

// As many floats as a register holds: the compilers split wider vectors by way of memory.
template <std::size_t Width>
struct VectorOf {
  typedef float type __attribute__((vector_size(Width * sizeof(float))));
};

template <typename Vector>
EDGECV_INLINE void Load(const float* from, Vector& value) {
  std::memcpy(&value, __builtin_assume_aligned(from, alignof(Vector)), sizeof value);
}

template <typename Vector>
EDGECV_INLINE void Store(const Vector& value, float* to) {
  std::memcpy(__builtin_assume_aligned(to, alignof(Vector)), &value, sizeof value);
}

// Folds the rows of `Count` columns, which hides the latency of the additions and reads each
// weight once.
template <template <typename> class Operation, typename Vector, std::size_t Count>
EDGECV_INLINE void FoldColumns(const BinCell* begin, const BinCell* end, const float* map,
                               std::size_t row_stride, const std::uint32_t* columns, float* line) {
  const float* top[Count];
  Vector sum[Count];
#pragma GCC unroll 8
  for (std::size_t k = 0; k < Count; ++k) {
    top[k] = map + columns[k] * kBlockChannels;
    sum[k] = Vector{} + Operation<Vector>::kStart;
  }
  for (const BinCell* cell = begin; cell < end; ++cell) {
    const std::size_t down = cell->index * row_stride;
    const float weight = cell->weight;
#pragma GCC unroll 8
    for (std::size_t k = 0; k < Count; ++k) {
      Vector value;
      Load(top[k] + down, value);
      Operation<Vector>::Add(sum[k], value, weight);
    }
  }
#pragma GCC unroll 8
  for (std::size_t k = 0; k < Count; ++k) Store(sum[k], line + k * kBlockChannels);
}

template <template <typename> class Operation, std::size_t Width>
EDGECV_INLINE void FoldBody(const FoldTask* all) {
  using Vector = typename VectorOf<Width>::type;
  const FoldTask& task = *all;
  const std::size_t row_stride = task.map_width * kBlockChannels;
  for (std::size_t lane = 0; lane < kBlockChannels; lane += Width) {
    const float* map = LanesOf(task.map) + lane;
    float* line = LanesOf(task.line) + lane;
    float* bin = LanesOf(task.bins) + lane;
    for (std::size_t row = 0; row < task.grid.height; ++row) {
      const BinCell* begin = task.row_cells + task.row_ends[row];
      const BinCell* end = task.row_cells + task.row_ends[row + 1];
      constexpr std::size_t kColumns = 4;
      std::size_t i = 0;
      for (; i + kColumns <= task.num_columns; i += kColumns)
        FoldColumns<Operation, Vector, kColumns>(begin, end, map, row_stride, task.columns + i,
                                                 line + i * kBlockChannels);
      for (; i < task.num_columns; ++i)
        FoldColumns<Operation, Vector, 1>(begin, end, map, row_stride, task.columns + i,
                                          line + i * kBlockChannels);
      for (std::size_t column = 0; column < task.grid.width; ++column, bin += kBlockChannels) {
        const std::size_t first = task.column_ends[column], last = task.column_ends[column + 1];
        Vector sum = {};
        if (begin < end && first < last) {
          sum = sum + Operation<Vector>::kStart;
          for (std::size_t k = first; k < last; ++k) {
            Vector value;
            Load(line + task.column_cells[k].index * kBlockChannels, value);
            Operation<Vector>::Add(sum, value, task.column_cells[k].weight);
          }
        }
        Store(sum, bin);
      }
    }
  }
}

template <template <typename> class Operation>
void FoldWith(const FoldTask& task) {
#if defined(__x86_64__)
  switch (CpuLevel()) {
    case Level::kV4: return RunV4<FoldBody<Operation, 16>>(&task);
    case Level::kV3: return RunV3<FoldBody<Operation, 8>>(&task);
    default: break;
  }
#endif
  FoldBody<Operation, 4>(&task);
}

}  // namespace edgecv
