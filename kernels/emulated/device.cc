// The scheduler of emulated/device.h: a stack for each thread of a block, and a switch between them.
//
// A stack is entered for the first time by `swapcontext` and from then on by `_longjmp`, which, other
// than `swapcontext`, asks nothing of the system.

#include "emulated/device.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// The bounds of the shared variables, from the linker; absent where no kernel has any.
extern "C" {
extern char __start_edgecv_shared[] __attribute__((weak));
extern char __stop_edgecv_shared[] __attribute__((weak));
}

namespace edgecv::emulated {

Place place;

namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kMaxShared = 227 * 1024;  // of a block on an H100
constexpr unsigned kLanes = 32, kMaxThreads = 1024;
constexpr int kRubbish = 0xa5;

struct Meeting {  // of lanes that name the same mask
  std::uint32_t mask, arrived;
  std::uint64_t values[kLanes];
};

struct Warp {
  std::vector<Meeting> meetings;
};

using Order = std::vector<unsigned>;

enum class State { kReady, kWaiting, kEnded };

struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t context;
  jmp_buf resume;
  bool is_entered = false;
  State state = State::kEnded;
  const char* waits_for = "";
  uint3 thread;
  std::uint64_t received[kLanes];
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
#endif
};

struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  Order turns;  // of the warps: the first that can go on does
  unsigned num_threads = 0, num_at_barrier = 0, num_ended = 0;
  std::size_t shared_bytes = 0;
  const std::function<void()>* thread = nullptr;
  unsigned current = 0;
  jmp_buf scheduler;
  ucontext_t scheduler_context;
  std::uint64_t random = 0;
  alignas(16) unsigned char shared[kMaxShared];
#if defined(__SANITIZE_ADDRESS__)
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
#endif
};

std::mutex one_launch;  // at a time: shared variables are static
Block block;

[[noreturn]] void Fail(const char* message) {
  std::fprintf(stderr, "emulated GPU: %s in block (%u, %u, %u) of %u threads\n", message,
               place.block.x, place.block.y, place.block.z, block.num_threads);
  unsigned printed = 0;
  for (unsigned i = 0; i < block.num_threads && printed < 8; ++i) {
    if (block.fibers[i]->state != State::kWaiting) continue;
    std::fprintf(stderr, "  thread %u waits at %s\n", i, block.fibers[i]->waits_for);
    ++printed;
  }
  std::fprintf(stderr, "  %u threads have ended\n", block.num_ended);
  std::abort();
}

// Leaves the running thread, to come back when the scheduler says so.
void Yield() {
  Fiber& fiber = *block.fibers[block.current];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fiber.fake_stack, block.scheduler_stack,
                                 block.scheduler_stack_bytes);
#endif
  if (_setjmp(fiber.resume) == 0) _longjmp(block.scheduler, 1);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &block.scheduler_stack,
                                  &block.scheduler_stack_bytes);
#endif
}

void Wait(const char* what) {
  Fiber& fiber = *block.fibers[block.current];
  fiber.state = State::kWaiting;
  fiber.waits_for = what;
  Yield();
}

// The stack's own function: one thread of a grid after the other, for ever.
void Enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_stack_bytes);
#endif
  for (;;) {
    (*block.thread)();
    block.fibers[block.current]->state = State::kEnded;
    ++block.num_ended;
    Yield();
  }
}

void Resume(unsigned index) {
  Fiber& fiber = *block.fibers[index];
  block.current = index;
  place.thread = fiber.thread;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, fiber.stack.get(), kStackBytes);
#endif
  if (_setjmp(block.scheduler) == 0) {
    if (fiber.is_entered) _longjmp(fiber.resume, 1);
    fiber.is_entered = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.context, Enter, 0);
    setcontext(&fiber.context);
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

std::uint64_t NextRandom() {  // xorshift64
  block.random ^= block.random << 13;
  block.random ^= block.random >> 7;
  block.random ^= block.random << 17;
  return block.random;
}

// With rubbish, the shared variables, and what AddressSanitizer has put between them.
#if defined(__SANITIZE_ADDRESS__)
__attribute__((no_sanitize_address)) void FillShared() {
  // volatile: a memset would be checked.
  for (volatile char* to = __start_edgecv_shared; to != __stop_edgecv_shared; ++to) *to = kRubbish;
}
#else
void FillShared() {
  if (__start_edgecv_shared != nullptr)
    std::fill(__start_edgecv_shared, __stop_edgecv_shared, static_cast<char>(kRubbish));
}
#endif

// What a launch did not ask for is out of bounds.
void BoundDynamicShared() {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(block.shared, block.shared_bytes);
  ASAN_POISON_MEMORY_REGION(block.shared + block.shared_bytes, kMaxShared - block.shared_bytes);
#endif
}

void Mix(Order& order) {
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[NextRandom() % i]);
}

// The threads of one warp that can go on. So a warp runs ahead of the others, up to a barrier of the
// block, as far as nothing but such a barrier holds it.
void FindReady(Order& ready) {
  ready.clear();
  for (const unsigned warp : block.turns) {
    const unsigned end = std::min((warp + 1) * kLanes, block.num_threads);
    for (unsigned i = warp * kLanes; i < end; ++i)
      if (block.fibers[i]->state == State::kReady) ready.push_back(i);
    if (!ready.empty()) return;
  }
}

void RunBlock(Order& order) {
  Mix(block.turns);
  block.num_at_barrier = block.num_ended = 0;
  for (Warp& warp : block.warps) warp.meetings.clear();
  FillShared();
  std::memset(block.shared, kRubbish, block.shared_bytes);
  for (unsigned i = 0; i < block.num_threads; ++i) block.fibers[i]->state = State::kReady;
  while (block.num_ended < block.num_threads) {
    FindReady(order);
    if (order.empty()) Fail("threads wait for others that never come");
    Mix(order);
    for (const unsigned index : order) Resume(index);
  }
  for (const Warp& warp : block.warps)
    if (!warp.meetings.empty()) Fail("lanes were named that never came");
}

}  // namespace

cudaError_t Run(dim3 grid, dim3 dim, std::size_t shared_bytes,
                const std::function<void()>& thread) {
  const std::size_t num_threads = std::size_t{dim.x} * dim.y * dim.z;
  if (num_threads == 0 || num_threads > kMaxThreads || dim.z > 64) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  if (shared_bytes > kMaxShared) return cudaErrorInvalidValue;

  const std::lock_guard<std::mutex> lock(one_launch);
  if (block.random == 0) {
    const char* seed = std::getenv("EDGECV_EMULATED_SEED");
    block.random = 0x9e3779b97f4a7c15ull ^ (seed == nullptr ? 0 : std::strtoull(seed, nullptr, 10));
  }
  block.num_threads = static_cast<unsigned>(num_threads);
  block.thread = &thread;
  block.shared_bytes = shared_bytes;
  BoundDynamicShared();
  while (block.fibers.size() < num_threads) {
    block.fibers.push_back(std::make_unique<Fiber>());
    block.fibers.back()->stack = std::make_unique<char[]>(kStackBytes);
  }
  block.warps.resize((num_threads + kLanes - 1) / kLanes);
  block.turns.resize(block.warps.size());
  std::iota(block.turns.begin(), block.turns.end(), 0u);
  for (unsigned i = 0; i < block.num_threads; ++i)
    block.fibers[i]->thread = {i % dim.x, i / dim.x % dim.y, i / (dim.x * dim.y)};
  place.grid_dim = grid;
  place.block_dim = dim;
  Order order;
  for (place.block.z = 0; place.block.z < grid.z; ++place.block.z)
    for (place.block.y = 0; place.block.y < grid.y; ++place.block.y)
      for (place.block.x = 0; place.block.x < grid.x; ++place.block.x) RunBlock(order);
  return cudaSuccess;
}

void* DynamicShared() { return block.shared; }

unsigned Lane() { return block.current % kLanes; }

void SyncBlock(const char* what) {
  if (++block.num_at_barrier < block.num_threads) return Wait(what);
  block.num_at_barrier = 0;
  Mix(block.turns);
  for (unsigned i = 0; i < block.num_threads; ++i)
    if (i != block.current) block.fibers[i]->state = State::kReady;
}

const std::uint64_t* Exchange(std::uint32_t mask, std::uint64_t value, const char* what) {
  const unsigned warp_index = block.current / kLanes, lane = Lane();
  const unsigned first = warp_index * kLanes;
  const unsigned num_lanes = std::min(kLanes, block.num_threads - first);
  if (num_lanes < kLanes) mask &= (1u << num_lanes) - 1;
  if ((mask >> lane & 1) == 0) Fail("a lane that its own mask does not name called a warp function");
  Fiber& self = *block.fibers[block.current];
  std::vector<Meeting>& meetings = block.warps[warp_index].meetings;
  auto meeting = std::find_if(meetings.begin(), meetings.end(),
                              [mask](const Meeting& open) { return open.mask == mask; });
  if (meeting == meetings.end()) {
    meetings.push_back({mask, 0, {}});
    meeting = meetings.end() - 1;
  }
  meeting->values[lane] = value;
  meeting->arrived |= 1u << lane;
  if (meeting->arrived != mask) {
    Wait(what);
    return self.received;
  }
  const Meeting complete = *meeting;
  meetings.erase(meeting);
  for (unsigned other = 0; other < num_lanes; ++other) {
    if ((mask >> other & 1) == 0) continue;
    Fiber& fiber = *block.fibers[first + other];
    std::copy_n(complete.values, kLanes, fiber.received);
    if (other != lane) fiber.state = State::kReady;
  }
  return self.received;
}

}  // namespace edgecv::emulated
