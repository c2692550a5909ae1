// What carries out an op.
#pragma once

namespace ops {

enum class Backend { kMeta, kTwin };

}  // namespace ops
