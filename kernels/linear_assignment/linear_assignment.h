// The best pairing of rows with columns.
//
// Contract of every implementation in this folder:
//   - `gains` holds n x m doubles, row-major: what it is worth to pair row i with column j. Only a
//     gain above 0 makes a pair possible; one that is not, or is NaN, rules it out. None is infinite,
//     and the sum of the n * m largest stays finite;
//   - every row is in one pair at most, and so is every column; the sum of the gains of all pairs is
//     the largest that there is, but for the rounding of sums of up to 2 n gains;
//   - `column_of_row[i]` receives the column of row i, or -1. Where several pairings are equally good,
//     one of them is taken, the same for the same gains;
//   - n == 0 or m == 0 is valid; m and n are below 2^31.
//
// The definition is edgecv/kernels/reference; the tests hold it to that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecv {

void LinearAssignmentCpu(const double* gains, std::size_t n, std::size_t m,
                         std::int64_t* column_of_row);

// The same where few pairs are possible: the columns that a row may have lie together.
struct PossiblePairs {
  struct Pair {
    std::uint32_t column;
    double gain;  // above 0
  };
  std::vector<Pair> pairs;
  std::vector<std::size_t> end_of_row;  // one for every row, into `pairs`

  void Clear() {
    pairs.clear();
    end_of_row.clear();
  }
};

void AssignPossiblePairs(const PossiblePairs& possible, std::size_t m, std::int64_t* column_of_row);

}  // namespace edgecv
