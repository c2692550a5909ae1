// What became of the weight bytes that vector cores prefetched in a trace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace model {

/// Bytes; planned = landed + pending + unused.
struct PrefetchAccount {
    uint64_t planned = 0;
    uint64_t landed =
        0;  ///< the load is ordered before every cube read of the bytes, which find them in L2
    uint64_t pending = 0;  ///< no cube core reads the tensor in this trace
    uint64_t unused =
        0;  ///< the tensor is read, but not these bytes, or before they were sure to be there
    uint64_t duplicated = 0;  ///< loaded by a prefetch although one had loaded them already
};

/// Cube cores consume weights, vector cores never do: any vector-core load of one of `weights` is a
/// prefetch. Names that the trace does not hold are an error (std::invalid_argument), as is a
/// damaged trace.
PrefetchAccount AccountPrefetch(const std::string& trace, const std::vector<std::string>& weights);

}  // namespace model
