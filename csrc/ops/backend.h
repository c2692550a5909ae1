// What an op has to return: shapes alone (kMeta), or results that a device computes (kRun).
#pragma once

namespace ops {

enum class Backend { kMeta, kRun };

}  // namespace ops
