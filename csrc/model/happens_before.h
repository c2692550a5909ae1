// Replays a trace in an order that its flags allow, and tracks which loads are known to be complete
// at every instruction.
//
// Only the order that the trace itself states is used: a pipe works in order, a flag passes on what
// its source pipe has finished, and a cross-core wait holds all pipes of its core.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/trace_reader.h"

namespace model {

/// For each vector core, how many of its MTE2 loads are known to be complete.
using LoadClock = std::vector<uint32_t>;

/// An instruction as the replay reaches it.
struct ReplayedInstruction {
    uint32_t core;  ///< position in TraceFile::cores
    const twin::TraceRecord& record;
    uint32_t load_index;     ///< counts the MTE2 loads of a vector core from 1; 0 if it is none
    const LoadClock& known;  ///< loads known to be complete before this instruction starts
};

/// Calls `visit` for every record. Throws std::invalid_argument when the flags of the trace do not
/// pair up, or when it names a cross-core flag that does not exist.
void Replay(const TraceFile& trace, const std::function<void(const ReplayedInstruction&)>& visit);

}  // namespace model
