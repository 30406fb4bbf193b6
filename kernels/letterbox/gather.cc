#include "letterbox/gather.h"

#include <utility>

namespace edgecv {

GatherPlan::GatherPlan(std::vector<std::int32_t> index) : index_(std::move(index)) {}

void GatherPlan::Gather(const std::uint8_t* row, std::uint8_t* out) const {
  for (std::size_t i = 0; i < index_.size(); ++i) out[i] = row[index_[i]];
}

}  // namespace edgecv
