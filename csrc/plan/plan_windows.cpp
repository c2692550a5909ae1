#include "plan/plan_windows.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <utility>

#include "plan/l2_room.h"
#include "plan/rounding.h"

namespace plan {

namespace {

// Pieces are whole loads of the prefetch kernel, unless a weight ends.
constexpr uint64_t kSmallestPiece = 32 * 1024;
constexpr size_t kNowhere = std::numeric_limits<size_t>::max();

double Megabytes(double bytes) { return bytes / 1e6; }

template <typename... Values>
std::string Text(const char* format, Values... values) {
    char text[200];
    std::snprintf(text, sizeof(text), format, values...);
    return text;
}

void Check(const std::vector<LayerPart>& parts, const std::vector<LayerWeight>& weights) {
    for (const LayerWeight& weight : weights) {
        if (weight.warmed > weight.bytes) {
            throw std::invalid_argument(weight.name + ": expected at most its " +
                                        std::to_string(weight.bytes) + " bytes to be warmed, got " +
                                        std::to_string(weight.warmed));
        }
    }
    for (const LayerPart& part : parts) {
        for (const uint32_t weight : part.reads) {
            if (weight >= weights.size()) {
                throw std::invalid_argument(part.name + ": expected reads of " +
                                            std::to_string(weights.size()) + " weights, got " +
                                            std::to_string(weight));
            }
        }
        if (!part.window) continue;
        const WindowLength& idle = part.window->idle;
        if (!(idle.short_us >= 0 && idle.short_us <= idle.nominal_us &&
              idle.nominal_us <= idle.long_us)) {
            throw std::invalid_argument(
                "window '" + part.window->name +
                Text("': expected 0 <= short <= nominal <= long us, got %g / %g / %g",
                     idle.short_us, idle.nominal_us, idle.long_us));
        }
    }
}

/// Fetches of one window by one engine.
struct Filled {
    Engine engine;
    std::vector<WindowPiece> pieces;
    uint64_t bytes = 0;
    double saved_us = 0;
    double least_us = 0;  ///< saved where constants are the least favourable
};

class LayerPlan {
public:
    LayerPlan(const std::vector<LayerPart>& parts, const std::vector<LayerWeight>& weights,
              const arch::Chip& chip, const WindowCosts& costs, const std::vector<bool>& given_up)
        : parts_(parts), weights_(weights), chip_(chip), costs_(costs), given_up_(given_up) {
        for (const LayerWeight& weight : weights) fetched_.push_back(weight.warmed);
    }

    std::vector<WindowPiece> Run() {
        std::vector<WindowPiece> pieces;
        for (size_t part = 0; part < parts_.size(); ++part) {
            if (!parts_[part].window) continue;
            const std::vector<Use> uses = UsesAfter(part);
            if (uses.empty()) continue;
            Filled best = Fill(part, uses, Engine::kSdma);
            const FreeCores leaves = parts_[part].window->leaves;
            // Cores are many times as fast as SDMA: where they save nothing either, they say why.
            for (const auto& [engine, fits] : {std::pair{Engine::kVector, leaves.vector},
                                               std::pair{Engine::kCube, leaves.cube}}) {
                if (!fits) continue;
                Filled filled = Fill(part, uses, engine);
                if (filled.saved_us >= best.saved_us) best = std::move(filled);
            }
            if (best.bytes > 0) used_.push_back({part, best.saved_us, best.least_us});
            for (WindowPiece& piece : best.pieces) {
                if (piece.bytes > 0) Take(part, piece);
                pieces.push_back(std::move(piece));
            }
        }
        return pieces;
    }

    /// The part whose window should be given up, since all together may lose too much: of those
    /// that may lose something the one that saves least. kNowhere if they do not.
    size_t TooMuchRisk() const {
        double least_us = 0;
        const Used* risky = nullptr;
        for (const Used& window : used_) {
            least_us += window.least_us;
            if (window.least_us >= 0) continue;
            if (risky == nullptr || window.saved_us < risky->saved_us) risky = &window;
        }
        return least_us < -costs_.most_loss_us && risky != nullptr ? risky->part : kNowhere;
    }

private:
    /// A window in which something is fetched.
    struct Used {
        size_t part;
        double saved_us;
        double least_us;
    };

    /// A weight that is read after a window.
    struct Use {
        uint32_t weight;
        size_t part;
        std::optional<uint64_t> passing;  ///< bytes from the window to the use
    };

    /// What was fetched and has not been read yet.
    struct Pending {
        size_t read_by;  ///< part
        uint64_t spare;  ///< bytes that may still be fetched before it is evicted
        uint64_t bytes;
    };

    std::optional<uint64_t> Passing(size_t from, size_t until) const {
        uint64_t passing = 0;
        for (size_t part = from; part < until; ++part) {
            if (!parts_[part].passing_bytes) return std::nullopt;
            passing += *parts_[part].passing_bytes;
            for (const uint32_t weight : parts_[part].reads) passing += weights_[weight].bytes;
        }
        return passing;
    }

    std::vector<Use> UsesAfter(size_t window) const {
        std::vector<Use> uses;
        for (size_t part = window + 1; part < parts_.size(); ++part) {
            for (const uint32_t weight : parts_[part].reads) {
                uses.push_back({weight, part, Passing(window, part)});
            }
        }
        return uses;
    }

    Filled Fill(size_t part, const std::vector<Use>& uses, Engine engine) const {
        const EngineCost cost = CostOf(engine, chip_, costs_.nominal);
        const EngineCost worst = CostOf(engine, chip_, costs_.worst);
        const WindowLength& idle = parts_[part].window->idle;
        const double works_us = std::max(0.0, idle.short_us - cost.start_us - cost.join_us);
        const auto budget = static_cast<uint64_t>(works_us * cost.rate);
        const auto whole = static_cast<uint64_t>(idle.short_us * cost.rate);
        const double slowed = kSlowedShort * cost.slowing / cost.rate;
        Filled filled{engine, {}};
        uint64_t wanted = 0;  // by weights so far
        // us that may still be lost
        double risk = given_up_[part] ? -std::numeric_limits<double>::infinity()
                                      : costs_.most_loss_us - worst.join_us;
        for (const Use& use : uses) {
            const LayerWeight& weight = weights_[use.weight];
            const uint64_t left = weight.bytes - fetched_[use.weight];
            const uint64_t room = Room(use, part, filled.bytes);
            const uint64_t safe = SafeBytes(
                weight.least_us_per_byte - kSlowedShort * worst.slowing / worst.rate, risk);
            WindowPiece piece{
                static_cast<uint32_t>(part), use.weight, engine, fetched_[use.weight], 0, 0, 0, ""};
            const double net = weight.us_per_byte - slowed;
            const uint64_t possible = std::min({left, room, safe, whole - std::min(whole, wanted)});
            if (net > 0 && weight.us_per_byte >= kLeastUsPerByte) {
                piece.bound_us = static_cast<double>(possible) * net;
                wanted += possible;
            }
            const uint64_t free = budget - std::min(budget, filled.bytes);
            const uint64_t fits = std::min({left, room, safe});
            uint64_t bytes = std::min(fits, free);
            if (bytes < left) bytes = bytes / kSmallestPiece * kSmallestPiece;
            if (left == 0) {
                piece.reason = "kernels and earlier windows bring all of it";
            } else if (idle.short_us <= 0) {
                piece.reason = "it is not known to leave HBM idle";
            } else if (!use.passing) {
                piece.reason = "nobody knows what passes through L2 before its use";
            } else if (room < std::min(left, kSmallestPiece)) {
                piece.reason = Text("%.0f MB pass through L2 before its use, which holds %.0f",
                                    Megabytes(static_cast<double>(*use.passing)),
                                    Megabytes(static_cast<double>(UsableL2Bytes(chip_))));
            } else if (net <= 0 || weight.us_per_byte < kLeastUsPerByte) {
                piece.reason = Text("its reader gains %.2f us per MB, less than it costs",
                                    weight.us_per_byte * 1e6);
            } else if (bytes == 0) {
                piece.reason =
                    works_us <= 0
                        ? Text("%.1f us at the short length, of which fork and join take %.1f",
                               idle.short_us, cost.start_us + cost.join_us)
                    : safe < kSmallestPiece
                        ? Risky()
                        : Text("weights that are read earlier take the %.1f MB of the window",
                               Megabytes(static_cast<double>(budget)));
            } else {
                piece.bytes = bytes;
                piece.saved_us = static_cast<double>(bytes) * net;
                piece.reason =
                    bytes == left ? Text("all that is left of it, in %.1f of %.1f us",
                                         static_cast<double>(bytes) / cost.rate, works_us)
                    : bytes >= fits / kSmallestPiece * kSmallestPiece
                        ? Text("as much as %s, in %.1f of %.1f us",
                               safe < room ? "may be risked" : "L2 holds until its use",
                               static_cast<double>(bytes) / cost.rate, works_us)
                        : Text("as much as %s brings in %.1f us", NameOf(engine), works_us);
                filled.bytes += bytes;
                risk += static_cast<double>(bytes) *
                        (weight.least_us_per_byte - kSlowedShort * worst.slowing / worst.rate);
                filled.saved_us += piece.saved_us;
            }
            filled.pieces.push_back(std::move(piece));
        }
        risk -= worst.ExpectedSpike(idle.short_us - worst.start_us - worst.join_us -
                                    static_cast<double>(filled.bytes) / worst.rate);
        filled.least_us = risk - costs_.most_loss_us;
        ChargeWindow(filled, cost, idle, risk);
        return filled;
    }

    /// Charges what a window costs once, and gives up what does not pay.
    void ChargeWindow(Filled& filled, const EngineCost& cost, const WindowLength& idle,
                      double risk) const {
        const double slack = idle.nominal_us - cost.start_us - cost.join_us -
                             static_cast<double>(filled.bytes) / cost.rate;
        const double once = cost.join_us + cost.ExpectedSpike(slack);
        double bound = 0;
        for (const WindowPiece& piece : filled.pieces) bound += piece.bound_us;
        const double kept = bound > once ? 1 - once / bound : 0;
        const double saved = filled.saved_us;
        const bool pays = saved > once && risk >= 0;
        for (WindowPiece& piece : filled.pieces) {
            piece.bound_us *= risk >= 0 ? kept : 0;
            if (piece.bytes == 0) continue;
            if (pays) {
                piece.saved_us *= 1 - once / saved;
            } else {
                piece.bytes = 0;
                piece.saved_us = 0;
                piece.reason =
                    saved > once
                        ? Risky()
                        : Text("%.1f us saved, but the join%s %.1f", saved,
                               cost.spike_us > 0 ? " and spikes of SDMA cost" : " costs", once);
            }
        }
        if (!pays) filled.bytes = 0;
        filled.saved_us = pays ? saved - once : 0;
    }

    std::string Risky() const {
        return Text("where constants are the least favourable more than %.1f us would be lost",
                    costs_.most_loss_us);
    }

    /// Bytes that may be fetched, each of which gains so much where constants are the least
    /// favourable, until `risk` us are lost.
    static uint64_t SafeBytes(double gain_per_byte, double risk) {
        if (gain_per_byte >= 0) return std::numeric_limits<uint64_t>::max();
        if (risk <= 0) return 0;
        return static_cast<uint64_t>(risk / -gain_per_byte);
    }

    /// How many more bytes of a weight may be fetched, after `taken` in the same window.
    uint64_t Room(const Use& use, size_t part, uint64_t taken) const {
        uint64_t waiting = taken;
        for (const Pending& pending : pending_) {
            if (pending.read_by > part) waiting += pending.bytes;
        }
        uint64_t room = L2Room(chip_, waiting, use.passing);
        for (const Pending& pending : pending_) {
            if (pending.read_by > part)
                room = std::min(room, pending.spare - std::min(taken, pending.spare));
        }
        return room;
    }

    void Take(size_t part, const WindowPiece& piece) {
        const size_t read_by = ReaderOf(part, piece.weight);
        uint64_t waiting = 0;
        for (Pending& pending : pending_) {
            if (pending.read_by <= part) continue;
            pending.spare -= piece.bytes;
            waiting += pending.bytes;
        }
        const uint64_t room = L2Room(chip_, waiting, Passing(part, read_by));
        pending_.push_back({read_by, room - piece.bytes, piece.bytes});
        fetched_[piece.weight] += piece.bytes;
    }

    size_t ReaderOf(size_t window, uint32_t weight) const {
        for (size_t part = window + 1; part < parts_.size(); ++part) {
            const std::vector<uint32_t>& reads = parts_[part].reads;
            if (std::find(reads.begin(), reads.end(), weight) != reads.end()) return part;
        }
        return kNowhere;
    }

    const std::vector<LayerPart>& parts_;
    const std::vector<LayerWeight>& weights_;
    const arch::Chip& chip_;
    const WindowCosts& costs_;
    const std::vector<bool>& given_up_;  ///< windows, by part
    std::vector<Used> used_;
    std::vector<uint64_t> fetched_;  ///< bytes at each weight's start
    std::vector<Pending> pending_;
};

}  // namespace

std::vector<WindowPiece> PlanWindows(const std::vector<LayerPart>& parts,
                                     const std::vector<LayerWeight>& weights,
                                     const arch::Chip& chip, const WindowCosts& costs) {
    Check(parts, weights);
    std::vector<bool> given_up(parts.size());
    for (;;) {
        LayerPlan layer(parts, weights, chip, costs, given_up);
        std::vector<WindowPiece> pieces = layer.Run();
        const size_t risky = layer.TooMuchRisk();
        if (risky == kNowhere) return pieces;
        given_up[risky] = true;
    }
}

}  // namespace plan
