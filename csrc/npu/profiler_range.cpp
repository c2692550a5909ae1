#include "npu/profiler_range.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string_view>

namespace npu {

namespace {

/// The functions of CANN's mstx/ms_tools_ext.h that are used. They are looked up at run time, and
/// only where ranges are switched on: the library belongs to the profiling tools, which not every
/// installation has.
struct Mstx {
    uint64_t (*start)(const char* message, aclrtStream stream) = nullptr;
    void (*end)(uint64_t id) = nullptr;

    Mstx() {
        const char* asked = std::getenv("ASCEND_PREFETCH_MSTX");
        if (asked == nullptr || std::string_view(asked) != "1") return;
        void* library = dlopen("libms_tools_ext.so", RTLD_LAZY | RTLD_LOCAL);
        if (library == nullptr) return;
        void* found_end = dlsym(library, "mstxRangeEnd");
        if (found_end == nullptr) return;
        end = reinterpret_cast<void (*)(uint64_t)>(found_end);
        start = reinterpret_cast<uint64_t (*)(const char*, aclrtStream)>(
            dlsym(library, "mstxRangeStartA"));
    }
};

const Mstx& TheMstx() {
    static const Mstx mstx;
    return mstx;
}

}  // namespace

ProfilerRange::ProfilerRange(const char* name, aclrtStream stream) {
    if (TheMstx().start != nullptr) id_ = TheMstx().start(name, stream);
}

ProfilerRange::~ProfilerRange() {
    if (id_ != 0) TheMstx().end(id_);
}

}  // namespace npu
