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

// `out[i].lanes[c]` receives `planes[c * plane_stride + i]` for `count` pixels. Lanes from
// `num_channels`, which is 1 to 16, repeat the last channel.
void PackChannels(const float* planes, std::size_t plane_stride, std::size_t num_channels,
                  std::size_t count, ChannelBlock* out);

// `planes[c * plane_stride + i]` receives `blocks[i].lanes[c]` for `count` pixels and c below
// `num_channels`.
void UnpackChannels(const ChannelBlock* blocks, std::size_t count, std::size_t num_channels,
                    std::size_t plane_stride, float* planes);

}  // namespace edgecv
