#include "npu/acl_call.h"

#include <stdexcept>
#include <string>

namespace npu {

void CheckAcl(aclError code, const char* call) {
    if (code == ACL_SUCCESS) return;
    std::string text =
        std::string("ascend_prefetch: ") + call + " failed with " + std::to_string(code);
    // The message is null or empty where the runtime has nothing to add to the code. It may have
    // several lines, of which the first says what is wrong.
    if (const char* message = aclGetRecentErrMsg(); message != nullptr && message[0] != '\0') {
        text += std::string(": ") + message;
    }
    throw std::runtime_error(text);
}

}  // namespace npu
