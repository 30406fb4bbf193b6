// The module's own threads: a small pool, started when it is first needed.
//
// Contract:
//   - `ParallelFor` calls `body(begin, end)` for disjoint ranges that cover [0, count) and returns
//     when all have returned. A range holds at least `grain` indices, except the last; so a count of
//     at most `grain`, or a pool of one thread, means one call in the caller's own thread;
//   - it may be called from any number of threads at once, and from within a `body`;
//   - the caller works too: a pool of n threads has n - 1 of its own;
//   - `body` must not throw;
//   - `SetNumThreads(n)` holds for calls that begin later; n is at least 1. Initially it is the
//     number of processors that this process may use, at most 4;
//   - a process made by fork() has no threads of its parent's pool and starts its own.
#pragma once

#include <cstddef>
#include <functional>

namespace edgecv {

void ParallelFor(std::size_t count, std::size_t grain,
                 const std::function<void(std::size_t begin, std::size_t end)>& body);

void SetNumThreads(std::size_t count);
std::size_t NumThreads();

}  // namespace edgecv
