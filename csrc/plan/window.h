// A window: a time before the use of a weight in which HBM has less to do than it could.
//
// The idle times inside a fused kernel are windows, and so are launch gaps between kernels; a
// collective, the dispatch and combine of experts or attention is described in the same terms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace plan {

/// For how long HBM idles, us; of a window that leaves no cores, for how long it has room for SDMA.
/// Where nothing makes the length scatter, all three are equal.
struct WindowLength {
    double short_us;  ///< what a plan relies on: a longer prefetch would hold up the reader
    double nominal_us;
    double long_us;
};

/// The length of a window whose length does not scatter.
constexpr WindowLength Always(double us) { return {us, us, us}; }

/// Which cores a window leaves idle. SDMA, an engine of its own, works in any window.
struct FreeCores {
    bool vector;
    bool cube;
};

/// `Text` owns its characters, or is a pointer to a literal.
template <typename Text>
struct WindowOf {
    Text name;    ///< for reports
    Text begins;  ///< what is complete when it begins
    Text ends;    ///< what its readers wait for: complete, or started, when it ends
    WindowLength idle;
    FreeCores leaves;
    /// Bytes that pass through L2 between the window and the use of what it brings, in addition to
    /// what a caller tells of a region; absent where they are unknown (plan/l2_room.h).
    std::optional<uint64_t> passing_bytes;
};

using Window = WindowOf<std::string>;
/// Inside a kernel. Cached plans hold them and are copied in every call, which must not allocate.
using KernelWindow = WindowOf<const char*>;

}  // namespace plan
