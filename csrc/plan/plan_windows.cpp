#include "plan/plan_windows.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <utility>

#include "plan/l2_room.h"
#include "plan/plan_prefetch.h"

namespace plan {

namespace {

// Pieces are whole loads of the prefetch kernel, unless a weight ends.
constexpr uint64_t kSmallestPiece = kLargeChunkBytes;
constexpr size_t kNowhere = std::numeric_limits<size_t>::max();

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

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
    std::vector<WindowPiece> pieces;  ///< of each use
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
            for (size_t i = 0; i < uses.size(); ++i) {
                if (best.pieces[i].bytes > 0) Take(uses[i], best.pieces[i]);
                pieces.push_back(std::move(best.pieces[i]));
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

    /// What an engine can do in a window of short length.
    struct Work {
        Engine engine;
        EngineCost cost;
        double short_us;
        double us;        ///< from its first byte to the join
        uint64_t budget;  ///< bytes that it brings in that time
    };

    /// How many bytes of a weight a window may bring.
    struct Limits {
        uint64_t left;  ///< that nobody brings yet
        uint64_t room;  ///< in L2
        uint64_t safe;  ///< until too much may be lost
        uint64_t Least() const { return std::min({left, room, safe}); }
    };

    Work WorkOf(Engine engine, const WindowLength& idle) const {
        const EngineCost cost = CostOf(engine, chip_, costs_.nominal);
        const double us = std::max(0.0, idle.short_us - cost.start_us - cost.join_us);
        return {engine, cost, idle.short_us, us, static_cast<uint64_t>(us * cost.rate)};
    }

    Filled Fill(size_t part, const std::vector<Use>& uses, Engine engine) const {
        const WindowLength& idle = parts_[part].window->idle;
        const Work work = WorkOf(engine, idle);
        const EngineCost worst = CostOf(engine, chip_, costs_.worst);
        const auto whole = static_cast<uint64_t>(idle.short_us * work.cost.rate);
        const double slowed = kSlowedShort * work.cost.slowing / work.cost.rate;
        const double worst_slowed = kSlowedShort * worst.slowing / worst.rate;
        Filled filled{engine, {}};
        uint64_t wanted = 0;  // by weights so far
        // us that may still be lost
        double risk = given_up_[part] ? -std::numeric_limits<double>::infinity()
                                      : costs_.most_loss_us - worst.join_us;
        for (const Use& use : uses) {
            const LayerWeight& weight = weights_[use.weight];
            const uint64_t brought = fetched_[use.weight];
            const double least = weight.least_us_per_byte - worst_slowed;
            const Limits limits{weight.bytes - brought, Room(use, part, filled.bytes),
                                SafeBytes(least, risk)};
            const double net = weight.us_per_byte - slowed;
            const bool pays = net > 0 && weight.us_per_byte >= kLeastUsPerByte;
            WindowPiece piece{};
            piece.part = static_cast<uint32_t>(part);
            piece.weight = use.weight;
            piece.engine = engine;
            piece.passing_bytes = use.passing;
            piece.offset = brought;
            if (pays) {
                const uint64_t possible = std::min(limits.Least(), whole - std::min(whole, wanted));
                piece.bound_us = static_cast<double>(possible) * net;
                wanted += possible;
            }
            const uint64_t free = work.budget - std::min(work.budget, filled.bytes);
            uint64_t bytes = std::min(limits.Least(), free);
            if (bytes < limits.left) bytes = bytes / kSmallestPiece * kSmallestPiece;
            if (pays && bytes > 0) {
                piece.bytes = bytes;
                piece.saved_us = static_cast<double>(bytes) * net;
                piece.reason = WhySoMany(bytes, limits, work);
                filled.bytes += bytes;
                filled.saved_us += piece.saved_us;
                risk += static_cast<double>(bytes) * least;
            } else {
                piece.reason = WhyNone(use, limits, pays, work);
            }
            filled.pieces.push_back(std::move(piece));
        }
        risk -= worst.SpikesUs(idle.short_us, filled.bytes);
        filled.least_us = risk - costs_.most_loss_us;
        ChargeWindow(filled, work.cost, idle, risk);
        return filled;
    }

    std::string WhySoMany(uint64_t bytes, const Limits& limits, const Work& work) const {
        const double us = work.cost.BusyUs(bytes);
        if (bytes == limits.left) {
            return Text("all that is left of it, in %.1f of %.1f us", us, work.us);
        }
        if (bytes < limits.Least() / kSmallestPiece * kSmallestPiece) {
            return Text("as much as %s brings in %.1f us", NameOf(work.engine), work.us);
        }
        return Text("as much as %s, in %.1f of %.1f us",
                    limits.safe < limits.room ? "may be risked" : "L2 holds until its use", us,
                    work.us);
    }

    std::string WhyNone(const Use& use, const Limits& limits, bool pays, const Work& work) const {
        if (limits.left == 0) return "kernels and earlier windows bring all of it";
        if (work.short_us <= 0) return "it is not known to leave HBM idle";
        if (!use.passing) return "nobody knows what passes through L2 before its use";
        if (limits.room < std::min(limits.left, kSmallestPiece)) {
            return Text("%.0f MB pass through L2 before its use, which holds %.0f",
                        Megabytes(*use.passing), Megabytes(UsableL2Bytes(chip_)));
        }
        if (!pays) {
            return Text("its reader gains %.2f us per MB, less than it costs",
                        weights_[use.weight].us_per_byte * 1e6);
        }
        if (work.us <= 0) {
            return Text("%.1f us at the short length, of which fork and join take %.1f",
                        work.short_us, work.cost.start_us + work.cost.join_us);
        }
        if (limits.safe < kSmallestPiece) return Risky();
        return Text("weights that are read earlier take the %.1f MB of the window",
                    Megabytes(work.budget));
    }

    /// Charges what a window costs once, and gives up what does not pay.
    void ChargeWindow(Filled& filled, const EngineCost& cost, const WindowLength& idle,
                      double risk) const {
        const double once = cost.join_us + cost.SpikesUs(idle.nominal_us, filled.bytes);
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

    void Take(const Use& use, const WindowPiece& piece) {
        uint64_t waiting = 0;
        for (Pending& pending : pending_) {
            if (pending.read_by <= piece.part) continue;
            pending.spare -= piece.bytes;
            waiting += pending.bytes;
        }
        const uint64_t room = L2Room(chip_, waiting, use.passing);
        pending_.push_back({use.part, room - piece.bytes, piece.bytes});
        fetched_[piece.weight] += piece.bytes;
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
