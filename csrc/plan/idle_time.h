// Computes in closed form when HBM idles in a fused kernel: the time that the planner spends on
// prefetches.
//
// The weights of a kernel are one stream that runs ahead of the products by as much as L1 holds.
// Products wait for vector cores and for each other; once the last weight is in flight, HBM has
// nothing left to do. The timing model (csrc/model) replays the same events one by one, with the
// same constants.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "arch/timing_constants.h"
#include "plan/cube_program.h"
#include "plan/o_proj_plan.h"
#include "plan/prolog_plan.h"
#include "plan/window.h"

namespace plan {

/// A window is the difference of two sums of a dozen steps: so many us of it are not relied on.
constexpr double kUnsureUs = 0.3;

/// The windows of a kernel in order of time. In each of them vector cores wait: between two
/// hand-overs, or until the kernel ends; HBM idles once the last weight has arrived. This is not a
/// std::vector because a cached plan is copied in every call and the copy must not allocate.
class IdleWindows {
public:
    static constexpr size_t kMax = std::extent_v<decltype(PrologWarm::windows)>;  ///< of a prolog

    void Add(const KernelWindow& window) { windows_.at(size_++) = window; }
    /// Lets a window last as long as it may by either of two counts of the same kernel.
    void Widen(const IdleWindows& other);
    /// Relies on a share of each window, and on so much less.
    void Shorten(double share, double us);

    size_t size() const { return size_; }
    const KernelWindow& operator[](size_t index) const { return windows_[index]; }

private:
    std::array<KernelWindow, kMax> windows_{};
    size_t size_ = 0;
};

/// How long a kernel takes, and its windows.
struct KernelTimes {
    double us;  ///< time of the kernel, without launch and prefetches
    IdleWindows windows;
};

/// The times of a kernel at nominal constants, with windows as long as any of the published ranges'
/// ends makes them: what is loaded in the shortest holds nobody up at either end. `time` counts the
/// kernel with given constants.
template <typename Time>
KernelTimes TimeAtAllLevels(const arch::Chip& chip, const Time& time) {
    KernelTimes times = time(arch::PlanningConstants(chip));
    for (const arch::Level level : {arch::Level::kLow, arch::Level::kHigh}) {
        times.windows.Widen(time(arch::PlanningConstants(chip, level)).windows);
    }
    return times;
}

/// What `cores` cube cores do in a kernel. It refers to the plan.
CubeProgram CubesOf(const PrologPlan& plan, uint32_t cores);
CubeProgram CubesOf(const OProjPlan& plan, uint32_t cores);

/// When cube cores may load what an int8 o_proj multiplies, us, if the scales have been loaded
/// before: by this rings are compared, and a ring for a later value is one of deeper tiles, which
/// gains nothing where the value comes early.
double TimeValue(const OProjPlan& plan, const arch::TimingConstants& constants,
                 const CubeProgram& cubes);

/// The times of a kernel; `cubes` are those of the plan.
KernelTimes TimeProlog(const PrologPlan& plan, const arch::TimingConstants& constants,
                       const CubeProgram& cubes);
KernelTimes TimeOProj(const OProjPlan& plan, const arch::TimingConstants& constants,
                      const CubeProgram& cubes);

}  // namespace plan
