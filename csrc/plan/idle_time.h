// When HBM idles in a fused kernel, in closed form: what the planner spends on prefetches.
//
// The weights of a kernel are one stream that runs ahead of the products by what L1 holds. Products
// wait for vector cores and for each other; once the last weight is on its way HBM has nothing left
// to do. The timing model (csrc/model) replays the same events one by one, from the same constants.
#pragma once

#include <array>
#include <cstddef>

#include "arch/timing_constants.h"
#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"

namespace plan {

/// A window of the vector cores between two hand-overs, or until the kernel ends.
struct IdleWindow {
    const char* name;  ///< for people
    double idle_us;    ///< of HBM in it, once the last weight has arrived
};

/// The windows of a kernel in its order. They are no vector, since a plan that is kept is copied in
/// every call and that shall allocate nothing.
class IdleWindows {
public:
    static constexpr size_t kMax = 3;  ///< a prolog's

    IdleWindows() = default;
    template <typename... Windows>
    explicit IdleWindows(const Windows&... windows)
        : windows_{windows...}, size_(sizeof...(windows)) {
        static_assert(sizeof...(windows) <= kMax);
    }

    size_t size() const { return size_; }
    const IdleWindow& operator[](size_t index) const { return windows_[index]; }

private:
    std::array<IdleWindow, kMax> windows_{};
    size_t size_ = 0;
};

/// How long a kernel takes, and its windows.
struct KernelTimes {
    double us;  ///< of the kernel, without launch and prefetches
    IdleWindows windows;
};

/// Of kernels that run on `cube_cores`.
KernelTimes TimeProlog(const PrologPlan& plan, const arch::TimingConstants& constants,
                       uint32_t cube_cores);
KernelTimes TimeOProj(const OProjPlan& plan, const arch::TimingConstants& constants,
                      uint32_t cube_cores);

}  // namespace plan
