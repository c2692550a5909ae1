// What the vector cores do in a prolog, stage by stage.
#pragma once

#include <cstdint>

// In the order of the fused kernel; each is a kernel of its own where a prolog runs as separate
// kernels.
enum class PrologStage : uint32_t {
    kQuantiseHidden,
    kNormQuery,
    kWriteCaches,
    kRotateQuery,
    kWriteIndexerKeys,
    kRotateIndexerQuery,
    kQuantiseQueryNope,
};
