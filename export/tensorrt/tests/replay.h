// Work that is enqueued once and runs as often as it is asked to: a CUDA graph, or where there is no
// GPU the calls themselves.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

class Replay {
 public:
  // `enqueue(stream)` returns 0 if it could.
  explicit Replay(std::function<int(cudaStream_t)> enqueue);
  Replay(const Replay&) = delete;
  ~Replay();

  // Waits until the work has been done.
  void Run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};
