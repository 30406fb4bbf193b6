#include <utility>

#include "host.h"
#include "replay.h"

struct Replay::State {
  std::function<int(cudaStream_t)> enqueue;
};

Replay::Replay(std::function<int(cudaStream_t)> enqueue)
    : state_(std::make_unique<State>(State{std::move(enqueue)})) {}

Replay::~Replay() = default;

void Replay::Run() { CHECK(state_->enqueue(nullptr) == 0); }
