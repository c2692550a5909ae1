// A test double of ACL: it does nothing, and keeps what it was asked for. Captures fail where those
// of the runtime do (captures.h).
#pragma once

#include <acl/acl.h>

#include <string>
#include <vector>

namespace acl_double {

/// One kernel as it was launched.
struct Launch {
    std::string kernel;
    uint32_t block_count = 0;
    aclrtStream stream = nullptr;
    int scheduling_mode = 0;                   ///< 0 where no attribute came
    std::vector<std::vector<char>> arguments;  ///< the bytes of each
};

/// Everything that was executed on a stream since Reset, in order: "launch o_proj_bf16 on 1",
/// "record 1 on main", ... Streams have the names that NameStream gave them, events are numbered.
/// What a capture keeps comes with every replay.
const std::vector<std::string>& Calls();
const std::vector<Launch>& Launches();
/// Events that exist.
size_t EventCount();

/// Forgets all of the above, errors to come and names of streams; SoC Ascend910_9391, device 0.
/// Handles stay good.
void Reset();

void NameStream(aclrtStream stream, const std::string& name);
void SetSocName(const char* name);
void SetDevice(int32_t device);
/// The next call of `function` returns `code`, aclGetRecentErrMsg `message` after it.
void FailNext(const std::string& function, aclError code, const std::string& message);
/// Keeps no record, for measuring how long callers take.
void SetRecording(bool recording);

}  // namespace acl_double
