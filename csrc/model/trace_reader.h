// Reads a serialised trace (twin/trace_format.h).
#pragma once

#include <string>
#include <vector>

#include "twin/trace_format.h"

namespace model {

struct TraceTensorInfo {
    std::string name;
    uint64_t address = 0;
    uint64_t bytes = 0;
    bool writable = false;
};

/// A trace, as twin/trace_format.h describes it.
struct TraceFile {
    std::string kernel;
    std::string chip;
    uint32_t aic_count = 0;
    std::vector<std::vector<twin::TraceRecord>> cores;  ///< AIC first, then AIV
    std::vector<TraceTensorInfo> tensors;
    std::vector<std::string> sites;

    /// Position of a tensor, or -1.
    int FindTensor(const std::string& name) const;
};

/// Throws std::invalid_argument for anything that is not a whole trace of this version.
TraceFile ReadTrace(const std::string& bytes);

}  // namespace model
