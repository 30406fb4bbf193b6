// COCO's compressed run lengths, as pycocotools writes them: the lengths of alternating runs of 0
// and 1, a 0 first, down the columns. From the fourth on, a length is stored as its difference to
// the one before the last; each number takes groups of 5 bits, the lowest first, as characters from
// '0' on, of which bit 5 says that another follows.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace edgecv {

class RleWriter {
 public:
  // Pixels [begin, end) are 1. Runs come in order; they may touch and may be empty.
  void Add(std::int64_t begin, std::int64_t end) {
    if (begin >= end) return;
    if (begin != ones_end_ || ones_begin_ == ones_end_) {
      Flush();
      ones_begin_ = begin;
    }
    ones_end_ = end;
  }

  // The rest up to `num_pixels` is 0.
  std::string Finish(std::int64_t num_pixels) {
    Flush();
    if (written_end_ < num_pixels) Write(num_pixels - written_end_);
    return std::move(text_);
  }

 private:
  void Flush() {
    if (ones_begin_ == ones_end_) return;
    Write(ones_begin_ - written_end_);
    Write(ones_end_ - ones_begin_);
    written_end_ = ones_end_;
  }

  void Write(std::int64_t length) {
    std::int64_t number = num_lengths_ > 2 ? length - before_last_ : length;
    before_last_ = last_;
    last_ = length;
    ++num_lengths_;
    while (true) {
      const std::int64_t bits = number & 31;
      number >>= 5;  // keeps the sign
      const bool is_done = number == ((bits & 16) != 0 ? -1 : 0);
      text_.push_back(static_cast<char>(48 + bits + (is_done ? 0 : 32)));
      if (is_done) return;
    }
  }

  std::string text_;
  std::int64_t ones_begin_ = 0, ones_end_ = 0;  // not yet written
  std::int64_t written_end_ = 0;
  std::int64_t last_ = 0, before_last_ = 0;
  std::int64_t num_lengths_ = 0;
};

}  // namespace edgecv
