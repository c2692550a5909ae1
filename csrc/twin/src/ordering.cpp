#include "ordering.h"

#include "core.h"

namespace twin {

std::string OrderingRule(TracePipe first, TracePipe second, bool same_core) {
    if (!same_core) {
        return std::string("CrossCoreSetFlag<mode, PIPE_") + PipeName(first) +
               "> and CrossCoreWaitFlag";
    }
    if (first == second) return std::string("PipeBarrier<PIPE_") + PipeName(first) + ">";
    const std::string event = std::string(PipeName(first)) + "_" + PipeName(second);
    return "SetFlag<" + event + "> and WaitFlag<" + event + ">";
}

}  // namespace twin
