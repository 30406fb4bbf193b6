// CPU implementation of linear_assignment.h: successive shortest paths (Jonker and Volgenant, "A
// Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems", Computing 38,
// 1987). Rows come in one by one; each takes the cheapest path of changes to the pairs so far, found
// by Dijkstra's algorithm over costs that potentials keep from being negative. The cost of a pair is
// its gain with the sign turned. A path may end by leaving a row alone, for which nothing is paid: as
// if every row had a column of its own for that. Such a row never comes back, since more rows only
// compete more.
//
// Most boxes of a frame overlap one other: then a path has one step, and a search looks at the possible
// pairs of one row.

#include "linear_assignment/linear_assignment.h"

#include <limits>

namespace edgecv {
namespace {

constexpr std::int64_t kNone = -1;
constexpr double kUnreached = std::numeric_limits<double>::infinity();

struct Search {
  std::vector<double> row_potential, column_potential;
  std::vector<double> distance;           // of a column from the row that came in
  std::vector<std::int64_t> previous;     // row on the path to a column
  std::vector<std::int64_t> row_of_column;
  std::vector<bool> is_settled;           // column whose distance is final
  std::vector<std::uint32_t> reached;     // columns with a distance, to be cleared afterwards

  Search(std::size_t n, std::size_t m)
      : row_potential(n, 0), column_potential(m, 0), distance(m, kUnreached), previous(m, kNone),
        row_of_column(m, kNone), is_settled(m, false) {}
};

// Pairs row `first` by the cheapest path, and moves the potentials so that no cost is negative.
void Augment(const PossiblePairs& possible, std::size_t first, Search& search,
             std::int64_t* column_of_row) {
  double length = 0;                // of the path to the row that is looked at
  std::size_t row = first;
  double shortest_end = kUnreached;  // of a path that leaves a row alone
  std::size_t left_alone = first;
  std::int64_t last_column = kNone;  // of the path, where no row is left alone
  for (;;) {
    const double base = length - search.row_potential[row];
    if (base < shortest_end) shortest_end = base, left_alone = row;
    for (std::size_t k = row == 0 ? 0 : possible.end_of_row[row - 1]; k < possible.end_of_row[row];
         ++k) {
      const auto& [column, gain] = possible.pairs[k];
      if (search.is_settled[column]) continue;
      const double through = base - gain - search.column_potential[column];
      if (through < search.distance[column]) {
        if (search.distance[column] == kUnreached) search.reached.push_back(column);
        search.distance[column] = through;
        search.previous[column] = static_cast<std::int64_t>(row);
      }
    }
    double nearest = kUnreached;
    std::uint32_t next = 0;
    for (const std::uint32_t column : search.reached) {
      if (!search.is_settled[column] && search.distance[column] < nearest) {
        nearest = search.distance[column], next = column;
      }
    }
    if (shortest_end <= nearest) {
      length = shortest_end;
      break;
    }
    length = nearest;
    search.is_settled[next] = true;
    if (search.row_of_column[next] == kNone) {
      last_column = next;
      break;
    }
    row = static_cast<std::size_t>(search.row_of_column[next]);
  }

  search.row_potential[first] += length;
  for (const std::uint32_t column : search.reached) {
    if (search.is_settled[column] && search.row_of_column[column] != kNone) {
      const double nearer = length - search.distance[column];
      search.column_potential[column] -= nearer;
      search.row_potential[static_cast<std::size_t>(search.row_of_column[column])] += nearer;
    }
  }
  // Along the path, every column goes to the row before it.
  std::int64_t column = last_column;
  if (column == kNone) {
    column = column_of_row[left_alone];
    column_of_row[left_alone] = kNone;
  }
  while (column != kNone) {
    const std::int64_t taker = search.previous[static_cast<std::size_t>(column)];
    const std::int64_t given_up = column_of_row[taker];
    column_of_row[taker] = column;
    search.row_of_column[static_cast<std::size_t>(column)] = taker;
    column = given_up;
  }
  for (const std::uint32_t seen : search.reached) {
    search.distance[seen] = kUnreached, search.is_settled[seen] = false;
  }
  search.reached.clear();
}

}  // namespace

void AssignPossiblePairs(const PossiblePairs& possible, std::size_t m,
                         std::int64_t* column_of_row) {
  const std::size_t n = possible.end_of_row.size();
  Search search(n, m);
  for (std::size_t row = 0; row < n; ++row) {
    column_of_row[row] = kNone;
    Augment(possible, row, search, column_of_row);
  }
}

void LinearAssignmentCpu(const double* gains, std::size_t n, std::size_t m,
                         std::int64_t* column_of_row) {
  PossiblePairs possible;
  possible.end_of_row.reserve(n);
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t column = 0; column < m; ++column) {
      const double gain = gains[row * m + column];
      if (gain > 0) possible.pairs.push_back({static_cast<std::uint32_t>(column), gain});
    }
    possible.end_of_row.push_back(possible.pairs.size());
  }
  AssignPossiblePairs(possible, m, column_of_row);
}

}  // namespace edgecv
