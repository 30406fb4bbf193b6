#include "common/parallel.h"

#include <atomic>

namespace edgecv {
namespace {
std::atomic<std::size_t> num_threads{1};
}  // namespace

void ParallelFor(std::size_t count, std::size_t, const std::function<void(std::size_t, std::size_t)>& body) {
  if (count > 0) body(0, count);
}

void SetNumThreads(std::size_t count) { num_threads = count; }
std::size_t NumThreads() { return num_threads; }

}  // namespace edgecv
