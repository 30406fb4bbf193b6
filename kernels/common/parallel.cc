// The calls in progress form a list. Threads of the pool sleep until the list holds a call with
// ranges left, join it, and take ranges off it by an atomic counter until none is left. The caller
// does the same, then takes its call off the list and waits for those who joined.
//
// No deadlock: only a caller waits, and only for threads that are inside its own call. What such a
// thread may wait for is a call that it made itself, deeper inside. So waiting never closes a circle.

#include "common/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace edgecv {
namespace {

// More ranges than threads: who starts late or is interrupted takes fewer.
constexpr std::size_t kRangesPerThread = 4;

constexpr std::size_t kDefaultMaxNumThreads = 4;

struct Call {
  RangeFunction function;
  const void* body;
  std::size_t count, range, num_ranges;
  std::atomic<std::size_t> next_range{0};
  // The rest is guarded by the pool's mutex.
  std::size_t num_helpers = 0;
  std::condition_variable helpers_left{};
  std::exception_ptr error{};
  Call* next = nullptr;

  // Returns what `body` threw, if it did.
  std::exception_ptr Work() {
    try {
      for (std::size_t i; (i = next_range.fetch_add(1, std::memory_order_relaxed)) < num_ranges;) {
        const std::size_t begin = i * range;
        function(body, begin, begin + std::min(range, count - begin));
      }
      return nullptr;
    } catch (...) {
      next_range.store(num_ranges, std::memory_order_relaxed);
      return std::current_exception();
    }
  }
  bool HasWork() const { return next_range.load(std::memory_order_relaxed) < num_ranges; }
};

std::size_t Processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::size_t>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());  // more processors than a set can hold
}

class Pool {
 public:
  explicit Pool(std::size_t num_threads) : num_threads_(num_threads) {}

  std::size_t num_threads() const { return num_threads_.load(std::memory_order_relaxed); }

  void Resize(std::size_t num_threads) {
    const std::lock_guard lock(mutex_);
    num_threads_.store(num_threads, std::memory_order_relaxed);
    wake_.notify_all();  // who is one too many leaves
  }

  void Run(Call& call, std::size_t num_helpers) {
    {
      const std::lock_guard lock(mutex_);
      while (num_workers_ < num_helpers && Start()) {
      }
      call.next = calls_;
      calls_ = &call;
    }
    for (std::size_t i = 0; i < num_helpers; ++i) wake_.notify_one();
    const std::exception_ptr error = call.Work();
    std::unique_lock lock(mutex_);
    Call** link = &calls_;
    while (*link != &call) link = &(*link)->next;
    *link = call.next;
    call.helpers_left.wait(lock, [&call] { return call.num_helpers == 0; });
    if (error) std::rethrow_exception(error);
    if (call.error) std::rethrow_exception(call.error);
  }

 private:
  bool Start() {
    try {
      std::thread([this] { Serve(); }).detach();
    } catch (const std::exception&) {
      return false;  // no memory, or the system's limit of threads
    }
    ++num_workers_;
    return true;
  }

  void Serve() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the program's own business
    std::unique_lock lock(mutex_);
    for (;;) {
      Call* call = nullptr;
      wake_.wait(lock, [this, &call] {
        for (call = calls_; call != nullptr && !call->HasWork();) call = call->next;
        return call != nullptr || num_workers_ >= num_threads();
      });
      if (num_workers_ >= num_threads()) {
        --num_workers_;
        return;
      }
      ++call->num_helpers;
      lock.unlock();
      std::exception_ptr error = call->Work();
      lock.lock();
      if (error && !call->error) call->error = std::move(error);
      // Under the lock to the end: when the caller sees no helpers, `call` is gone.
      if (--call->num_helpers == 0) call->helpers_left.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  Call* calls_ = nullptr;  // newest first, so that a call made within another ends soon
  std::size_t num_workers_ = 0;
  std::atomic<std::size_t> num_threads_;  // written under the mutex
};

// Never destroyed: threads use it until the process is gone.
Pool* const pool = new Pool(std::min(Processors(), kDefaultMaxNumThreads));

// The child of a fork has one thread, and its copy of the pool may be locked for ever by another:
// a new pool takes its place. Registered when the module is loaded, before any fork can matter.
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { new (pool) Pool(pool->num_threads()); });

}  // namespace

void SetNumThreads(std::size_t count) { pool->Resize(count); }

std::size_t NumThreads() { return pool->num_threads(); }

void ParallelFor(std::size_t count, std::size_t grain, RangeFunction function, const void* body) {
  if (count == 0) return;
  const std::size_t num_threads = NumThreads();
  const std::size_t share = (count - 1) / (kRangesPerThread * num_threads) + 1;
  const std::size_t range = std::max({grain, share, std::size_t{1}});
  const std::size_t num_ranges = (count - 1) / range + 1;
  if (num_threads == 1 || num_ranges == 1) return function(body, 0, count);
  Call call{function, body, count, range, num_ranges};
  pool->Run(call, std::min(num_threads, num_ranges) - 1);
}

}  // namespace edgecv
