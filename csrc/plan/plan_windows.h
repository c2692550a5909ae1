// Plans what is prefetched in the windows of a layer between kernels: which weights, how many
// bytes, by which engine.
//
// What kernels prefetch in their own idle time comes first (plan_warm.h) and is told as `warmed`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/chip.h"
#include "arch/timing_constants.h"
#include "plan/prefetch_engine.h"
#include "plan/window.h"

namespace plan {

/// A weight that is read after some window.
struct LayerWeight {
    std::string name;
    uint64_t bytes;
    uint64_t warmed;           ///< bytes at its start that kernels prefetch
    double us_per_byte;        ///< by which a byte in L2 makes its reader faster
    double least_us_per_byte;  ///< the same at the constants at which that is least
};

/// What runs in a layer, one after another.
struct LayerPart {
    std::string name;
    /// Bytes that pass through L2 while it runs, without those of `reads`; absent where unknown.
    std::optional<uint64_t> passing_bytes;
    std::vector<uint32_t> reads;   ///< the weights that it reads, by their index
    std::optional<Window> window;  ///< where it leaves HBM idle
};

/// The bytes [offset, offset + bytes) of a weight that a window prefetches; 0 bytes where none.
struct WindowPiece {
    uint32_t part;    ///< index of the window's part
    uint32_t weight;  ///< index
    Engine engine;
    std::optional<uint64_t> passing_bytes;  ///< from the window to the use; absent where unknown
    uint64_t offset;
    uint64_t bytes;
    double saved_us;     ///< what it saves, less its share of join, slowdown and spikes
    double bound_us;     ///< what it could save if the engine worked for all of the window
    std::string reason;  ///< why so many bytes, or why none
};

/// By how much a kernel is slowed down while a prefetch beside it moves bytes, for a window of
/// short, nominal and long length. Nobody has published it: assumed.
constexpr double kSlowedShort = 0.15;
constexpr double kSlowedNominal = 0.05;
constexpr double kSlowedLong = 0.0;

/// What engines cost, and what may be risked.
struct WindowCosts {
    arch::TimingConstants nominal;
    arch::TimingConstants worst;  ///< at which engines are slowest
    double most_loss_us;          ///< of a layer
};

/// Fills each window in order of time, with the weights that are read after it in the order of
/// their use. At least one piece for each window that has a weight to fetch after it.
///
/// 1. What waits in L2, together with what passes through it before its use, fits the usable share
///    of L2 (l2_room.h), of every piece.
/// 2. Weights are fetched in the order of their use.
/// 3. The engine fits the cores that the window leaves; of those that do, the one that saves most.
/// 4. No byte is fetched twice, nor one that a kernel prefetches.
/// 5. The engine is done before the window's short length is over.
/// 6. What does not pay is not fetched: a byte that saves less than kLeastUsPerByte or than the
///    slowdown that it costs, and a window that saves less than its join and the engine's spikes.
/// 7. Where constants are the least favourable, no more than `most_loss_us` is lost in all windows
///    together: of those that may lose something the one that saves least is given up first.
///
/// Throws std::invalid_argument for an index without a weight, a weight with more warmed bytes than
/// it has, and a window of negative length or with lengths out of order.
std::vector<WindowPiece> PlanWindows(const std::vector<LayerPart>& parts,
                                     const std::vector<LayerWeight>& weights,
                                     const arch::Chip& chip, const WindowCosts& costs);

/// A byte that saves less is not worth a place in L2: 0.05 us per MB, a tenth of what HBM takes for
/// it (assumed).
constexpr double kLeastUsPerByte = 0.05e-6;

}  // namespace plan
