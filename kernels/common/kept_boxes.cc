#include "common/kept_boxes.h"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace edgecv {
namespace {

constexpr unsigned kInitialLog2Slots = 8;

// A block that is never hit: its boxes are inverted and their limits out of reach.
BoxBlock Vacant() {
  const float infinity = std::numeric_limits<float>::infinity();
  BoxBlock block;
  for (std::size_t i = 0; i < kBoxesPerBlock; ++i) {
    block.x1[i] = block.y1[i] = block.limit[i] = infinity;
    block.x2[i] = block.y2[i] = -infinity;
  }
  return block;
}

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

// Doubles the room, in place if nothing lies behind, otherwise by moving to the end. What is left
// behind is lost until `Clear`: less than the class holds.
void KeptBoxes::Grow(Class& owner) {
  const std::size_t room = owner.room == 0 ? 1 : 2 * owner.room;
  const bool is_last = owner.first_block + owner.room == blocks_.size();
  const std::size_t first = is_last ? owner.first_block : blocks_.size();
  blocks_.resize(first + room, Vacant());
  if (!is_last) {
    std::copy_n(blocks_.begin() + static_cast<std::ptrdiff_t>(owner.first_block), owner.room,
                blocks_.begin() + static_cast<std::ptrdiff_t>(first));
  }
  owner.first_block = first, owner.room = room;
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
