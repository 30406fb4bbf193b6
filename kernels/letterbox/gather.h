// Bytes picked from a row: the one step of the fit that is not a plain vector loop.
//
// Contract: `Gather` sets `out[i] = row[index[i]]` for the indices that the plan was made of, which
// do not fall from one to the next. It reads no byte of the row that is not indexed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecv {

class GatherPlan {
 public:
  GatherPlan() = default;
  explicit GatherPlan(std::vector<std::int32_t> index);

  std::size_t size() const { return index_.size(); }
  void Gather(const std::uint8_t* row, std::uint8_t* out) const;

 private:
  std::vector<std::int32_t> index_;
};

}  // namespace edgecv
