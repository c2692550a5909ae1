// Function multi-versioning for the few hot loops of the twin. It is used with GCC on x86-64
// without the address sanitizer; elsewhere the loops are compiled once, as plain code.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define TWIN_SIMD_CLONES \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define TWIN_SIMD_CLONES
#endif
