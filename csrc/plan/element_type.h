// Element types that a format of a linear layer or of a cache names. Structs of kernels hold the
// value as a uint32_t.
#pragma once

#include <cstdint>

namespace plan {

enum class ElementType : uint32_t {
    kActivation = 0,  // that of the activations: bfloat16 or half
    kInt8 = 1,
};

}  // namespace plan
