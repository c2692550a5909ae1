// Calls of ACL: every return code becomes an exception.
#pragma once

#include <acl/acl.h>

namespace npu {

/// Throws std::runtime_error "<call> failed with <code>: <what the runtime last said>" for any code
/// but ACL_SUCCESS.
void CheckAcl(aclError code, const char* call);

}  // namespace npu

/// Calls `function` with the arguments that follow, and checks what it returns.
#define ASCEND_PREFETCH_ACL(function, ...) ::npu::CheckAcl(function(__VA_ARGS__), #function)
