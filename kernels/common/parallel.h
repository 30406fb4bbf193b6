// The module's own threads: a small pool, started when it is first needed.
//
// Contract:
//   - `ParallelFor` calls `body(begin, end)` for disjoint ranges that cover [0, count) and returns
//     when all have returned. A range holds at least `grain` indices, except the last; so a count of
//     at most `grain`, or a pool of one thread, means one call in the caller's own thread. What
//     happened before `ParallelFor` is visible to every call, and what they did to the caller;
//   - it may be called from any number of threads at once, and from within a `body`;
//   - the caller works too: a pool of n threads has n - 1 of its own, and never waits for one of
//     them to start. If the system refuses a thread, those that there are do the work;
//   - if `body` throws, ranges that have not begun are left out, and one exception reaches the
//     caller when the others have returned; `body` must not fork;
//   - `SetNumThreads(n)` holds for calls that begin later; n is in [1, kMaxNumThreads]. Initially it
//     is the number of processors that this process may use, at most 4;
//   - a process made by fork() has no threads of its parent's pool and starts its own;
//   - idle threads sleep. They receive no signals and outlive main(): leaving the process is safe
//     while they sleep or work.
#pragma once

#include <cstddef>

namespace edgecv {

constexpr std::size_t kMaxNumThreads = 256;

void SetNumThreads(std::size_t count);
std::size_t NumThreads();

using RangeFunction = void (*)(const void* body, std::size_t begin, std::size_t end);

void ParallelFor(std::size_t count, std::size_t grain, RangeFunction function, const void* body);

// Takes any callable by reference: it outlives the call, so nothing is copied or allocated.
template <typename Body>
void ParallelFor(std::size_t count, std::size_t grain, const Body& body) {
  ParallelFor(
      count, grain,
      [](const void* erased, std::size_t begin, std::size_t end) {
        (*static_cast<const Body*>(erased))(begin, end);
      },
      &body);
}

}  // namespace edgecv
