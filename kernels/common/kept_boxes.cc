#include "common/kept_boxes.h"

#include <algorithm>

namespace edgecv {
namespace {

constexpr unsigned kInitialLog2Slots = 8;

}  // namespace

void KeptBoxes::Clear() {
  blocks_.clear();
  classes_.clear();
  Resize(kInitialLog2Slots);
}

KeptBoxes::Class& KeptBoxes::Insert(std::int32_t class_id) {
  classes_.push_back({class_id});
  if (2 * classes_.size() > slots_.size()) {
    Resize(32 - shift_ + 1);  // places the new class too
  } else {
    Place(static_cast<std::uint32_t>(classes_.size()));
  }
  return classes_.back();
}

void KeptBoxes::Extend(Class& owner) {
  const auto index = static_cast<std::uint32_t>(blocks_.size());
  BoxBlock& block = blocks_.emplace_back();
  const float infinity = std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < kBoxesPerBlock; ++i) {
    block.x1[i] = block.y1[i] = block.limit[i] = infinity;
    block.x2[i] = block.y2[i] = -infinity;
  }
  block.next = BoxBlock::kNone;
  (owner.first == BoxBlock::kNone ? owner.first : blocks_[owner.last].next) = index;
  owner.last = index;
}

void KeptBoxes::Resize(unsigned log2_slots) {
  shift_ = 32 - log2_slots;
  mask_ = (std::uint32_t{1} << log2_slots) - 1;
  slots_.assign(std::size_t{1} << log2_slots, 0);
  for (std::uint32_t entry = 1; entry <= classes_.size(); ++entry) Place(entry);
}

void KeptBoxes::Place(std::uint32_t entry) {
  std::uint32_t slot = Hash(classes_[entry - 1].id);
  while (slots_[slot] != 0) slot = (slot + 1) & mask_;
  slots_[slot] = entry;
}

}  // namespace edgecv
