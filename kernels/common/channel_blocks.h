// Planes of single channels, and blocks in which 16 channels of a pixel lie side by side.
//
// Operators that do the same to every channel of a pixel work on blocks: one load brings a pixel's
// 16 channels, a cache line, whatever pixels are wanted next.
#pragma once

#include <cstddef>

namespace edgecv {

constexpr std::size_t kBlockChannels = 16;

struct alignas(64) ChannelBlock {
  float lanes[kBlockChannels];
};

// The lanes of a block and of those that follow it.
inline float* LanesOf(ChannelBlock* blocks) { return reinterpret_cast<float*>(blocks); }
inline const float* LanesOf(const ChannelBlock* blocks) {
  return reinterpret_cast<const float*>(blocks);
}

// `out[i].lanes[c]` receives `planes[c * plane_stride + i]` for `count` pixels; lanes from
// `num_channels`, which is 1 to 16, receive 0.
void PackChannels(const float* planes, std::size_t plane_stride, std::size_t num_channels,
                  std::size_t count, ChannelBlock* out);

// `planes[c * count + i]` receives `blocks[i].lanes[c]` for `count` pixels and all 16 channels.
void UnpackChannels(const ChannelBlock* blocks, std::size_t count, float* planes);

}  // namespace edgecv
