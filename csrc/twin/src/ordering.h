// Words for reports about order. The rules are in twin/ordering.h.
#pragma once

#include <string>

#include "twin/trace_format.h"

namespace twin {

/// What would have ordered an access on pipe `second` after one on pipe `first`.
std::string OrderingRule(TracePipe first, TracePipe second, bool same_core);

}  // namespace twin
