#include "report.h"

#include <cstdarg>
#include <cstdio>

namespace edgecv::plugins {

void Report(const char* format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  // In one piece: other threads write there too.
  std::fprintf(stderr, "edgecv plugins: %s\n", message);
}

}  // namespace edgecv::plugins
