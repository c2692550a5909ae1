// Turns the error codes that ACL returns into exceptions.
#pragma once

#include <acl/acl.h>

namespace npu {

/// Throws std::runtime_error "<call> failed with <code>: <the runtime's last message>" for any code
/// except ACL_SUCCESS.
void CheckAcl(aclError code, const char* call);

}  // namespace npu

/// Calls `function` with the arguments that follow, and checks the code that it returns.
#define ASCEND_PREFETCH_ACL(function, ...) ::npu::CheckAcl(function(__VA_ARGS__), #function)
