// What orders two accesses to the same bytes on this architecture, a row per rule. What no row says
// is unordered.
#pragma once

#include <string>

#include "twin/trace_format.h"

namespace twin {

struct OrderingRow {
    const char* accesses;  ///< of whom
    const char* ordered_by;
    const char* page;  ///< of the API documentation
};

constexpr OrderingRow kOrdering[] = {
    {"two pipes of a core", "SetFlag on the first and WaitFlag on the second, of one event and id",
     "同步控制/核内同步/SetFlag-WaitFlag(ISASI)"},
    {"a pipe of a core after itself", "PipeBarrier of that pipe, or of all",
     "同步控制/核内同步/PipeBarrier(ISASI)"},
    {"Mmad after Mmad on one L0C matrix",
     "the cube, where m / 16 * n / 16 is at least 10; PipeBarrier<PIPE_M> below",
     "矩阵计算（ISASI）/Mmad计算/Mmad"},
    {"the scalar unit after itself", "program order", "同步控制/核内同步/PipeBarrier(ISASI)"},
    {"two cores", "CrossCoreSetFlag behind the access, CrossCoreWaitFlag before the other one",
     "同步控制/核间同步/CrossCoreSetFlag(ISASI)"},
    {"all of a core's work after CrossCoreWaitFlag", "the wait holds every later instruction",
     "同步控制/核间同步/CrossCoreWaitFlag(ISASI)"},
    {"a pipe's work after what the scalar unit has waited for", "the scalar unit issues it",
     "同步控制/核内同步/SetFlag-WaitFlag(ISASI)"},
};

/// What would have ordered an access on pipe `second` after one on pipe `first`.
std::string OrderingRule(TracePipe first, TracePipe second, bool same_core);

}  // namespace twin
