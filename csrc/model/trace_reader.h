// Reads a serialised trace (twin/trace_format.h).
#pragma once

#include <string>
#include <vector>

#include "twin/trace_format.h"

namespace model {

/// A GM tensor of the launch; see twin::TraceTensor.
struct TraceTensorInfo {
    std::string name;
    uint64_t address = 0;
    uint64_t bytes = 0;
    bool writable = false;
};

/// A trace in memory, with the contents that twin/trace_format.h describes.
struct TraceFile {
    std::string kernel;
    std::string chip;
    uint32_t aic_count = 0;
    std::vector<std::vector<twin::TraceRecord>> cores;  ///< AIC first, then AIV
    std::vector<TraceTensorInfo> tensors;
    std::vector<std::string> sites;

    /// Index into `tensors` of the tensor with this name, or -1.
    int FindTensor(const std::string& name) const;
};

/// Parses the serialised form. Throws std::invalid_argument for anything that is not a complete
/// trace of this version.
TraceFile ReadTrace(const std::string& bytes);

}  // namespace model
