// What an op is asked for: shapes alone, or results, which a device or the twin computes.
#pragma once

namespace ops {

enum class Backend { kMeta, kRun };

}  // namespace ops
