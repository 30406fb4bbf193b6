#include "host.h"
#include "replay.h"

struct Replay::State {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
};

// Captured as TensorRT's callers do: an allocation, a synchronisation or a copy to the host ends the
// capture with an error.
Replay::Replay(std::function<int(cudaStream_t)> enqueue) : state_(std::make_unique<State>()) {
  State& state = *state_;
  CHECK(cudaStreamCreateWithFlags(&state.stream, cudaStreamNonBlocking) == cudaSuccess);
  // Once before: kernels may be loaded when they are first used, which a capture does not allow.
  CHECK(enqueue(state.stream) == 0);
  CHECK(cudaStreamSynchronize(state.stream) == cudaSuccess);
  CHECK(cudaStreamBeginCapture(state.stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(enqueue(state.stream) == 0);
  CHECK(cudaStreamEndCapture(state.stream, &state.graph) == cudaSuccess);
  CHECK(cudaGraphInstantiate(&state.executable, state.graph, 0) == cudaSuccess);
}

Replay::~Replay() {
  cudaGraphExecDestroy(state_->executable);
  cudaGraphDestroy(state_->graph);
  cudaStreamDestroy(state_->stream);
}

void Replay::Run() {
  CHECK(cudaGraphLaunch(state_->executable, state_->stream) == cudaSuccess);
  CHECK(cudaStreamSynchronize(state_->stream) == cudaSuccess);
}
