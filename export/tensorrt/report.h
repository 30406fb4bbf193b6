// How a plugin says why it refuses what it was handed: TensorRT itself says only that it did.
#pragma once

namespace edgecv::plugins {

// Writes a line to stderr, as printf does. TensorRT's logger is not asked for: a library that calls
// the finder of one major version crashes in the other, see library.cc.
[[gnu::format(printf, 1, 2)]] void Report(const char* format, ...);

}  // namespace edgecv::plugins
