// The stages of a prolog on the vector cores.
#pragma once

#include <cstdint>

// The order is that of the fused kernel. Where a prolog runs as separate kernels, each stage is one
// kernel.
enum class PrologStage : uint32_t {
    kQuantiseHidden,
    kNormQuery,
    kWriteCaches,
    kRotateQuery,
    kWriteIndexerKeys,
    kRotateIndexerQuery,
    kQuantiseQueryNope,
};
