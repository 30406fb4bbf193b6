// x86's vector intrinsics, where there are any.
#pragma once

#if defined(__x86_64__)
// GCC's own header of AVX-512 reads what it leaves undefined on purpose (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif
