// The wording of reports about missing order. The rules are in twin/ordering.h.
#pragma once

#include <string>

#include "twin/trace_format.h"

namespace twin {

/// Names the calls that would order an access on pipe `second` after one on pipe `first`.
std::string OrderingRule(TracePipe first, TracePipe second, bool same_core);

}  // namespace twin
