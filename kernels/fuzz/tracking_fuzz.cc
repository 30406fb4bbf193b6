// Fuzzes byte_track and linear_assignment.

#include <cmath>
#include <vector>

#include "byte_track/byte_track.h"
#include "fuzz/fuzz_input.h"
#include "linear_assignment/linear_assignment.h"

namespace edgecv::fuzz {
namespace {

void Assign(FuzzInput& input) {
  const std::size_t n = input.MostlySmall(0, 12, 60), m = input.MostlySmall(0, 12, 60);
  const auto values = input.Floats(n * m);
  std::vector<double> gains(values.begin(), values.end());
  for (double& gain : gains) {
    if (std::isinf(gain)) gain = 0;
  }
  std::vector<std::int64_t> columns(n, -7);
  LinearAssignmentCpu(gains.data(), n, m, columns.data());
  std::vector<bool> taken(m, false);
  for (std::size_t row = 0; row < n; ++row) {
    const std::int64_t column = columns[row];
    if (column == -1) continue;
    Check(column >= 0 && static_cast<std::size_t>(column) < m, "a column is one");
    Check(!taken[static_cast<std::size_t>(column)], "a column is in one pair");
    taken[static_cast<std::size_t>(column)] = true;
    Check(gains[row * m + static_cast<std::size_t>(column)] > 0, "a pair is possible");
  }
}

void Track(FuzzInput& input) {
  std::vector<double> motion, unseen_s;
  std::vector<std::int64_t> labels;
  std::size_t num_tracks = 0;
  std::int64_t next_id = 1;
  const TrackOptions options{input.Fraction(), input.Fraction(), input.Fraction(),
                             input.Fraction(), input.Fraction(), input.Fraction(),
                             input.Fraction(), input.In<std::int64_t>(1, 3), input.Bool()};
  for (std::size_t frame = input.Size(1, 6); frame > 0; --frame) {
    const std::size_t n = input.MostlySmall(0, 8, 40);
    const auto boxes = input.Floats(4 * n), scores = input.Floats(n);
    const auto class_ids = input.Integers<std::int32_t>(n, 0, 2);
    motion.resize(20 * (num_tracks + n));
    unseen_s.resize(num_tracks + n);
    labels.resize(4 * (num_tracks + n));
    std::vector<std::int64_t> ids(n, -7);
    const std::int64_t first = next_id;
    const std::size_t count =
        ByteTrackCpu({motion.data(), unseen_s.data(), labels.data()}, num_tracks, boxes.data(),
                     scores.data(), class_ids.data(), n, input.Fraction(), options, &next_id,
                     ids.data());
    Check(count <= num_tracks + n, "no more tracks than there is room for");
    Check(next_id >= first, "ids go on");
    for (const std::int64_t id : ids) Check(id == -1 || (0 < id && id < next_id), "an id is one");
    num_tracks = count;
  }
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::FuzzInput input(bytes, size);
  input.Bool() ? edgecv::fuzz::Assign(input) : edgecv::fuzz::Track(input);
  return 0;
}
