// The RoIs of one map after the other. Their bins are tabulated once; then, 16 channels at a time,
// the part of the map that any of them uses is packed into blocks, a megabyte or so that stays in
// the cache, and all the RoIs fold it.

#include "common/rois.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>

#include "common/parallel.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace edgecv {
namespace {

// Bounds the tables; a map with more RoIs is packed once for so many.
constexpr std::size_t kMaxRoisAtOnce = 4096;

// Results of 4 MiB and more would not stay in the caches until they are read.
constexpr std::size_t kStreamedFloats = std::size_t{1} << 20;

// What is used of a row is noted by segments of so many cells, a tile of channel_blocks.cc.
constexpr std::size_t kSegment = 16;

// Cells [begin, end) of a map, counted row by row.
struct Run {
  std::size_t begin, end;
};

// Some of the RoIs of one map, with their bins.
struct Table {
  std::vector<std::size_t> rois;
  AxisBins rows, columns;
  std::vector<std::uint32_t> used_columns;  // of all RoIs, RoI after RoI
  std::vector<std::size_t> used_ends = {0};
  std::size_t most_used_columns = 0;
  std::vector<Run> runs;  // what the RoIs use of the map, and what is between their columns
};

// The map of a RoI, level by level and image by image; none if it lies nowhere.
std::optional<std::size_t> MapOf(const Features& features, const Rois& rois, std::size_t roi) {
  const std::int32_t image = rois.batch_ids == nullptr ? 0 : rois.batch_ids[roi];
  const std::int32_t level = rois.level_ids == nullptr ? 0 : rois.level_ids[roi];
  if (image < 0 || static_cast<std::size_t>(image) >= features.batch) return std::nullopt;
  if (level < 0 || static_cast<std::size_t>(level) >= features.num_levels) return std::nullopt;
  return static_cast<std::size_t>(level) * features.batch + static_cast<std::size_t>(image);
}

// Numbers the columns of the last RoI in the order of their first use, and lets its bins refer to
// these numbers.
void NumberColumns(std::size_t first_cell, Table& table) {
  const std::size_t first = table.used_columns.size();
  for (std::size_t k = first_cell; k < table.columns.cells.size(); ++k) {
    BinCell& cell = table.columns.cells[k];
    // Neighbouring bins share two columns at most, the last ones. A column that is missed here is
    // folded twice, which costs time only.
    std::size_t number = table.used_columns.size();
    for (std::size_t back = 1; back <= 2 && back <= table.used_columns.size() - first; ++back) {
      const std::size_t candidate = table.used_columns.size() - back;
      if (table.used_columns[candidate] == cell.index) number = candidate;
    }
    if (number == table.used_columns.size()) table.used_columns.push_back(cell.index);
    cell.index = static_cast<std::uint32_t>(number - first);
  }
  table.used_ends.push_back(table.used_columns.size());
  table.most_used_columns = std::max(table.most_used_columns, table.used_columns.size() - first);
}

Table Tabulate(const FeatureLevel& level, const Rois& rois, BinGrid grid, const AddBins& add_bins,
               const std::size_t* chosen, std::size_t count) {
  Table table;
  table.rois.assign(chosen, chosen + count);
  const std::size_t segments = (level.width + kSegment - 1) / kSegment;
  std::vector<unsigned char> is_used(level.height * segments, 0);
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t first_row = table.rows.cells.size();
    const std::size_t first_column = table.columns.cells.size();
    add_bins(level, rois.xyxy + 4 * chosen[k], table.rows, table.columns);
    while (table.rows.ends.size() < (k + 1) * grid.height + 1) table.rows.EndBin();
    while (table.columns.ends.size() < (k + 1) * grid.width + 1) table.columns.EndBin();
    NumberColumns(first_column, table);
    const auto used = table.used_columns.begin() + static_cast<std::ptrdiff_t>(table.used_ends[k]);
    if (used == table.used_columns.end()) continue;
    const auto [low, high] = std::minmax_element(used, table.used_columns.end());
    for (std::size_t row = first_row; row < table.rows.cells.size(); ++row) {
      unsigned char* segment = &is_used[table.rows.cells[row].index * segments];
      std::fill(segment + *low / kSegment, segment + *high / kSegment + 1, 1);
    }
  }
  for (std::size_t k = 0; k < is_used.size(); ++k) {
    if (!is_used[k]) continue;
    const std::size_t row = k / segments * level.width, first = k % segments * kSegment;
    const Run run{row + first, row + std::min(first + kSegment, level.width)};
    if (!table.runs.empty() && table.runs.back().end == run.begin) {
      table.runs.back().end = run.end;
    } else {
      table.runs.push_back(run);
    }
  }
  return table;
}

struct Scratch {
  Scratch(std::size_t map_cells, std::size_t line_cells, std::size_t num_bins)
      : map(new ChannelBlock[map_cells]),
        line(new ChannelBlock[line_cells]),
        bins(new ChannelBlock[num_bins]),
        planes(new float[num_bins * kBlockChannels]) {}

  std::unique_ptr<ChannelBlock[]> map, line, bins;
  std::unique_ptr<float[]> planes;  // the bins, channel by channel
};

// Copies past the caches where the processor can: what is written is not read first, and the packed
// map stays where it is. Until the next store fence, other threads may not see it.
void StreamOut(const float* from, std::size_t count, float* to) {
#if defined(__x86_64__)
  constexpr std::size_t kLine = 16;  // floats
  for (; count > 0 && reinterpret_cast<std::uintptr_t>(to) % (kLine * sizeof *to) != 0; --count)
    *to++ = *from++;
  for (; count >= kLine; count -= kLine, from += kLine, to += kLine)
    for (std::size_t k = 0; k < kLine; k += 4) _mm_stream_ps(to + k, _mm_loadu_ps(from + k));
#endif
  std::memcpy(to, from, count * sizeof *to);
}

void StoreFence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// `planes` is the first channel of the block in the map.
void FoldBlock(const Table& table, const float* planes, const FeatureLevel& level,
               std::size_t num_channels, BinGrid grid, Fold fold, const Scratch& scratch,
               std::size_t roi_stride, float* out) {
  for (const Run& run : table.runs)
    PackChannels(planes + run.begin, level.height * level.width, num_channels, run.end - run.begin,
                 scratch.map.get() + run.begin);
  const std::size_t num_bins = grid.height * grid.width;
  for (std::size_t k = 0; k < table.rois.size(); ++k) {
    fold({grid, table.rows.cells.data(), &table.rows.ends[k * grid.height],
          table.columns.cells.data(), &table.columns.ends[k * grid.width],
          table.used_columns.data() + table.used_ends[k],
          table.used_ends[k + 1] - table.used_ends[k], scratch.map.get(), level.width,
          scratch.line.get(), scratch.bins.get()});
    // By way of the cache, so that whole lines go out one after the other.
    float* const bins = scratch.planes.get();
    UnpackChannels(scratch.bins.get(), num_bins, bins);
    float* const to = out + table.rois[k] * roi_stride;
    if (table.rois.size() * roi_stride >= kStreamedFloats) {
      StreamOut(bins, num_channels * num_bins, to);
    } else {
      std::memcpy(to, bins, num_channels * num_bins * sizeof *to);
    }
  }
  StoreFence();
}

void FoldMap(const FeatureLevel& level, const float* map, std::size_t channels, const Table& table,
             BinGrid grid, Fold fold, float* out) {
  const std::size_t num_blocks = (channels + kBlockChannels - 1) / kBlockChannels;
  const std::size_t num_workers = std::min(NumThreads(), num_blocks);
  std::vector<Scratch> scratch;
  scratch.reserve(num_workers);
  for (std::size_t worker = 0; worker < num_workers; ++worker)
    scratch.emplace_back(level.height * level.width, table.most_used_columns,
                         grid.height * grid.width);
  const std::size_t num_bins = grid.height * grid.width;
  std::atomic<std::size_t> next_block{0};
  ParallelFor(num_workers, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t worker = begin; worker < end; ++worker) {
      for (std::size_t block = next_block++; block < num_blocks; block = next_block++) {
        const std::size_t channel = block * kBlockChannels;
        FoldBlock(table, map + channel * level.height * level.width, level,
                  std::min(kBlockChannels, channels - channel), grid, fold, scratch[worker],
                  channels * num_bins, out + channel * num_bins);
      }
    }
  });
}

}  // namespace

void FoldRois(const Features& features, const Rois& rois, BinGrid grid, const AddBins& add_bins,
              Fold fold, float* out) {
  const std::size_t roi_stride = features.channels * grid.height * grid.width;
  if (roi_stride == 0 || rois.count == 0) return;
  const std::size_t num_maps = features.num_levels * features.batch;
  std::vector<std::vector<std::size_t>> rois_of(num_maps);
  for (std::size_t roi = 0; roi < rois.count; ++roi) {
    if (const auto map = MapOf(features, rois, roi)) {
      rois_of[*map].push_back(roi);
    } else {
      std::fill_n(out + roi * roi_stride, roi_stride, 0.0f);
    }
  }
  for (std::size_t map = 0; map < num_maps; ++map) {
    const FeatureLevel& level = features.levels[map / features.batch];
    const float* data = level.data + map % features.batch * features.channels * level.height *
                                         level.width;
    for (std::size_t first = 0; first < rois_of[map].size(); first += kMaxRoisAtOnce) {
      const std::size_t count = std::min(kMaxRoisAtOnce, rois_of[map].size() - first);
      FoldMap(level, data, features.channels,
              Tabulate(level, rois, grid, add_bins, &rois_of[map][first], count), grid, fold, out);
    }
  }
}

}  // namespace edgecv
