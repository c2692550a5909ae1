// Replays a trace in an order its flags allow, and knows which loads are complete at every
// instruction.
//
// The only order used is what the trace states: pipes work in order, a flag carries what its source
// pipe has finished, a cross-core wait holds all pipes of its core.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/trace_reader.h"

namespace model {

/// For each vector core, how many of its MTE2 loads are known to be complete.
using LoadClock = std::vector<uint32_t>;

struct ReplayedInstruction {
    uint32_t core;  ///< position in TraceFile::cores
    const twin::TraceRecord& record;
    uint32_t load_index;     ///< 1-based number among the MTE2 loads of a vector core, else 0
    const LoadClock& known;  ///< loads complete before this instruction starts
};

/// Calls `visit` for every record. Throws std::invalid_argument when the flags of the trace do not
/// pair up.
void Replay(const TraceFile& trace, const std::function<void(const ReplayedInstruction&)>& visit);

}  // namespace model
