// Accounts for the weight bytes that cores prefetched in launches on one stream: how many were in
// L2 when a cube core read them for a product.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/trace_reader.h"

namespace model {

/// Prefetched bytes by what became of them; planned = landed + pending + unused.
struct PrefetchAccount {
    uint64_t planned = 0;
    /// The load is ordered before every cube read of the bytes, and every read finds them in L2.
    uint64_t landed = 0;
    /// No cube core of a kernel with products reads the tensor in the launch of the prefetch or a
    /// later one.
    uint64_t pending = 0;
    /// Cube cores read the tensor, but not these bytes, or before they were certain to be in L2.
    uint64_t unused = 0;
    /// A prefetch loaded the bytes although an earlier one had; counted in `unused` too.
    uint64_t duplicated = 0;
};

/// Cube cores consume weights in products, vector cores never do: any load of one of `weights` by a
/// vector core, or in a launch without a product, is a prefetch. Inside a launch, the flags of its
/// trace order prefetch and read; bytes that one launch has loaded are available to the later ones
/// as long as L2 keeps them. L2 is empty before the first launch and has the capacity of the
/// chip's.
///
/// A weight is identified by its address and size, so two launches may name it differently. Throws
/// std::invalid_argument without launches, for launches on different chips, and for a name that no
/// launch has.
PrefetchAccount AccountPrefetch(const std::vector<TraceFile>& launches,
                                const std::vector<std::string>& weights);

}  // namespace model
