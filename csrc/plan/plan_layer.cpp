#include "plan/plan_layer.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "plan/l2_room.h"
#include "plan/rounding.h"
#include "plan/units.h"

namespace plan {

namespace {

// A piece is a multiple of this: the smallest transfer that uses HBM well (AD: granularity), and
// whole L2 lines.
constexpr uint64_t kSmallestPiece = 16 * 1024;

std::string Text(const char* format, double a, double b) {
    char text[160];
    std::snprintf(text, sizeof(text), format, a, b);
    return text;
}

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

std::vector<SdmaPiece> PlanSdma(const LayerRegion& region, const arch::Chip& chip,
                                const arch::TimingConstants& constants) {
    if (region.warmed > region.bytes) {
        throw std::invalid_argument(region.name + ": expected at most its " +
                                    std::to_string(region.bytes) + " bytes to be warmed, got " +
                                    std::to_string(region.warmed));
    }
    std::vector<SdmaPiece> pieces;
    // SDMA fetches a region from its end backwards: it is slow, and what is still in flight when
    // the reader starts should be what the reader needs last.
    const uint64_t begin = std::min(RoundUp(region.warmed, kSmallestPiece), region.bytes);
    uint64_t end = region.bytes;
    for (const Window& window : region.windows) {
        const double idle_us = window.idle.short_us;
        if (!(idle_us >= 0)) {
            throw std::invalid_argument("window '" + window.name +
                                        "': expected 0 or more us, got " + std::to_string(idle_us));
        }
        const uint64_t left = end - begin;
        const uint64_t in_flight = begin + (region.bytes - end);
        const auto idle_bytes = static_cast<uint64_t>(idle_us * constants.sdma_rate);
        const uint64_t fitting = L2Room(chip, in_flight, window.passing_bytes);
        SdmaPiece piece{end, 0, ""};
        if (left == 0) {
            piece.reason = "nothing is left of it";
        } else if (!window.passing_bytes) {
            piece.reason = "nobody knows what passes through L2 before its use";
        } else if (fitting < kSmallestPiece) {
            piece.reason = Text("%.0f MB pass through L2 before its use, which holds %.0f",
                                Megabytes(*window.passing_bytes), Megabytes(UsableL2Bytes(chip)));
        } else {
            const uint64_t bytes = std::min(idle_bytes, fitting) / kSmallestPiece * kSmallestPiece;
            piece.bytes = std::min(bytes, left);
            piece.reason = Text("HBM idles for %.1f us, in which SDMA brings %.2f MB", idle_us,
                                Megabytes(idle_bytes));
        }
        end -= piece.bytes;
        piece.offset = end;
        pieces.push_back(std::move(piece));
    }
    return pieces;
}

}  // namespace plan
