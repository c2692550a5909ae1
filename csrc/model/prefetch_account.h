// What became of the weight bytes that vector cores prefetched in launches on one stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/trace_reader.h"

namespace model {

/// Bytes; planned = landed + pending + unused.
struct PrefetchAccount {
    uint64_t planned = 0;
    uint64_t landed =
        0;  ///< the load is ordered before every cube read of the bytes, which find them in L2
    uint64_t pending = 0;  ///< no cube core reads the tensor in this launch or a later one
    uint64_t unused =
        0;  ///< the tensor is read, but not these bytes, or before they were sure to be there
    uint64_t duplicated = 0;  ///< loaded by a prefetch although one had loaded them already
};

/// Cube cores consume weights, vector cores never do: any vector-core load of one of `weights` is a
/// prefetch. Inside a launch the flags of its trace order the two; what a launch has loaded is
/// there for those behind it, as long as L2 keeps it. L2 is empty before the first one and as large
/// as the chip's.
///
/// A weight is known by its address and size: a launch may name it otherwise than the one that
/// prefetches it. Launches of several chips, no launch, and names that no launch has are errors
/// (std::invalid_argument).
PrefetchAccount AccountPrefetch(const std::vector<TraceFile>& launches,
                                const std::vector<std::string>& weights);

}  // namespace model
