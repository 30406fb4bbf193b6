// The contract of common/parallel.h. Meant to be run under ThreadSanitizer and AddressSanitizer.

#include "common/parallel.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using edgecv::ParallelFor;
using edgecv::SetNumThreads;

void Check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "parallel_test: %s\n", what);
  std::_Exit(1);
}

// Every index once, in ranges of at least `grain`; plain counters, so that a missing happens-before
// between a range and the caller is a race that ThreadSanitizer sees.
void CheckCover(std::size_t count, std::size_t grain) {
  std::vector<int> visits(count, 0);
  std::atomic<int> short_ranges{0};
  ParallelFor(count, grain, [&](std::size_t begin, std::size_t end) {
    Check(begin < end && end <= count, "a range leaves [0, count)");
    if (end - begin < grain) ++short_ranges;
    for (std::size_t i = begin; i < end; ++i) ++visits[i];
  });
  for (const int n : visits) Check(n == 1, "an index is not visited once");
  Check(short_ranges <= 1, "more than one range is shorter than the grain");
}

void CoversEveryCount() {
  for (const std::size_t threads : {1u, 2u, 3u, 8u}) {
    SetNumThreads(threads);
    for (std::size_t count = 0; count < 70; ++count)
      for (const std::size_t grain : {0u, 1u, 2u, 7u, 64u, 1000u}) CheckCover(count, grain);
  }
}

void HugeCountsDoNotOverflow() {
  SetNumThreads(3);
  std::atomic<std::size_t> sum{0};
  ParallelFor(SIZE_MAX, 1, [&](std::size_t begin, std::size_t end) { sum += end - begin; });
  Check(sum == SIZE_MAX, "a huge count is not covered");
}

void SmallCountsStayInTheCaller() {
  SetNumThreads(4);
  int calls = 0;
  const auto caller = std::this_thread::get_id();
  ParallelFor(64, 64, [&](std::size_t, std::size_t) {
    Check(std::this_thread::get_id() == caller, "a count of one grain leaves the caller's thread");
    ++calls;
  });
  Check(calls == 1, "a count of one grain is not one call");
}

std::size_t NestedSum(int depth) {
  if (depth == 0) return 1;
  std::atomic<std::size_t> sum{0};
  ParallelFor(5, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) sum += NestedSum(depth - 1);
  });
  return sum;
}

void CallsMayNest() {
  SetNumThreads(4);
  Check(NestedSum(4) == 625, "nested calls lose indices");
}

void ExceptionsReachTheCaller() {
  SetNumThreads(4);
  for (std::size_t bad = 0; bad < 50; ++bad) {
    bool caught = false;
    try {
      ParallelFor(50, 1, [bad](std::size_t begin, std::size_t end) {
        if (begin <= bad && bad < end) throw bad;
      });
    } catch (const std::size_t& what) {
      caught = what == bad;
    }
    Check(caught, "an exception does not reach the caller");
  }
  CheckCover(50, 1);
}

void ManyCallersWhileTheSizeChanges() {
  std::atomic<int> running{8};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&running] {
      for (int round = 0; round < 200; ++round) CheckCover(97, 3);
      Check(NestedSum(3) == 125, "nested calls of many threads lose indices");
      --running;
    });
  }
  for (std::size_t size = 0; running > 0; ++size) SetNumThreads(1 + size % 5);
  for (auto& caller : callers) caller.join();
}

// ThreadSanitizer does not follow a process with threads into its child.
#if !defined(__SANITIZE_THREAD__)
void ChildrenHaveThreadsOfTheirOwn() {
  SetNumThreads(4);
  std::atomic<bool> leave{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&leave] {
      while (!leave) ParallelFor(100, 1, [](std::size_t, std::size_t) {});
    });
  }
  for (int round = 0; round < 50; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // a deadlock becomes a failure
      for (int i = 0; i < 20; ++i) CheckCover(97, 3);
      std::_Exit(edgecv::NumThreads() == 4 ? 0 : 1);
    }
    int status = -1;
    Check(waitpid(child, &status, 0) == child && status == 0, "the child of a fork fails");
  }
  leave = true;
  for (auto& caller : callers) caller.join();
}
#endif

// Returning from main() while this goes on must be quiet.
void LeaveCallersBehind() {
  for (int i = 0; i < 2; ++i) {
    std::thread([] {
      for (;;) ParallelFor(100, 1, [](std::size_t, std::size_t) {});
    }).detach();
  }
}

}  // namespace

// `parallel_test without-fork` is for emulators, whose own threads a fork may leave locked.
int main(int count, char** arguments) {
  [[maybe_unused]] const bool has_fork =
      count < 2 || std::strcmp(arguments[1], "without-fork") != 0;
  CoversEveryCount();
  HugeCountsDoNotOverflow();
  SmallCountsStayInTheCaller();
  CallsMayNest();
  ExceptionsReachTheCaller();
  ManyCallersWhileTheSizeChanges();
#if !defined(__SANITIZE_THREAD__)
  if (has_fork) ChildrenHaveThreadsOfTheirOwn();
#endif
  LeaveCallersBehind();
  std::puts("parallel_test: passed");
}
