#include "plan/idle_time.h"

#include <algorithm>
#include <vector>

#include "plan/plan_gemm.h"
#include "plan/plan_linear.h"
#include "plan/plan_phases.h"
#include "plan/plan_prolog.h"
#include "plan/rounding.h"
#include "plan/units.h"
#include "plan/vector_work.h"

namespace plan {

namespace {

using arch::TimingConstants;

constexpr double kRepeatBytes = 256;

/// Cores alternate between loading the left matrix and loading weights, so HBM keeps working in
/// about half of the time in which the left matrix is read from L2.
constexpr double kLeftShare = 0.5;

/// Costs, in us, of the events of which a kernel consists.
class Costs {
public:
    Costs(const TimingConstants& constants, uint32_t cores) : c_(constants), cores_(cores) {}

    /// Time that HBM takes to deliver the weight of a product.
    double Stream(const GemmPlan& gemm) const {
        const WeightLayout layout = LayoutOf(gemm);
        const bool nd = !IsFractal(layout);
        const double row =
            (DepthIsContiguous(layout) ? gemm.tile_k : gemm.tile_n) * gemm.element_bytes;
        const double block = nd ? row : gemm.tile_n * kBlockBytes;
        const double factor =
            arch::HbmFactor(c_, nd ? arch::LoadKind::kNd2Nz : arch::LoadKind::kToL1, block);
        const double hbm = static_cast<double>(WeightBytes(gemm)) * factor / c_.hbm_rate;
        // An oversized share is limited by its own core's load rate, not by HBM.
        return std::max(hbm, hbm * Imbalance(gemm) * c_.hbm_rate /
                                 (factor * cores_ * c_.cube_load_rate * c_.clock_mhz));
    }

    /// Time of reading the left matrix from L2, repeatedly where L1 cannot hold it.
    double Left(const GemmPlan& gemm) const {
        const double depth = static_cast<double>(CeilDiv(gemm.k, gemm.depth_shares));
        const uint64_t strips = uint64_t{gemm.batches} * gemm.n / gemm.strip;
        const uint64_t shares = uint64_t(cores_) / gemm.row_shares / gemm.depth_shares;
        const uint64_t columns = CeilDiv(strips, shares) * gemm.strip;
        const bool kept = gemm.a_depth >= depth && gemm.m <= gemm.tile_m;
        const double times =
            gemm.batches > 1 ? static_cast<double>(CeilDiv(columns, gemm.n))
                             : (kept ? 1.0 : static_cast<double>(CeilDiv(columns, gemm.tile_n)));
        const double bytes = cores_ * times * depth * gemm.m / gemm.row_shares * gemm.element_bytes;
        return kLeftShare * bytes * c_.l2_cube_factor / c_.l2_rate;
    }

    /// Time of a product whose weight is in L1: that of moving B to L0B or that of the cube,
    /// whichever is longer.
    double Work(const GemmPlan& gemm) const {
        const double elements =
            static_cast<double>(WeightBytes(gemm)) / gemm.element_bytes / cores_ * Imbalance(gemm);
        const double passes = static_cast<double>(CeilDiv(gemm.m, gemm.tile_m));
        const double moves = elements * gemm.element_bytes / c_.move_l0b_rate * passes;
        const double rows = static_cast<double>(CeilDiv(std::min(gemm.m, gemm.tile_m), kStrip));
        const double products = elements * gemm.element_bytes / (kBlockBytes * kStrip) * rows *
                                passes / c_.cube_efficiency;
        return Cycles(std::max(moves, products));
    }

    /// Time from the arrival of the last weight tile in L1 until the product's result is in L2.
    double Drain(const GemmPlan& gemm) const {
        const double tile = static_cast<double>(gemm.tile_n) * gemm.tile_k * gemm.element_bytes;
        const double rows = static_cast<double>(std::min(gemm.m, gemm.tile_m));
        const double sums = rows * gemm.tile_n * kFloatBytes;
        return Cycles(tile / c_.move_l0b_rate + c_.move_cycles + c_.mmad_cycles +
                      c_.fixpipe_cycles + sums / c_.fixpipe_rate + 4 * c_.event_cycles);
    }

    /// Time of loading the first piece of A, once A is complete in GM.
    double LeftMatrix(const GemmPlan& gemm) const {
        const double rows = static_cast<double>(std::min(gemm.m, gemm.tile_m));
        const double bytes = rows * gemm.a_depth * gemm.element_bytes;
        return Cycles(c_.cube_load_cycles + 2 * c_.event_cycles) +
               std::max(Cycles(bytes / c_.cube_load_rate),
                        bytes * cores_ * c_.l2_cube_factor / c_.l2_rate);
    }

    double Vector(const VectorWork& work) const {
        const double repeats = work.elements * kFloatBytes / kRepeatBytes;
        const double step = c_.scalar_cycles + 2 * c_.event_cycles;
        return Cycles(work.instructions * (c_.vector_cycles + c_.scalar_cycles) +
                      work.passes * repeats * c_.vector_repeat_cycles +
                      work.loads * (c_.vector_load_cycles + step) +
                      work.elements * kFloatBytes / c_.vector_load_rate +
                      work.stores * (c_.store_cycles + step) +
                      work.elements * kHalfBytes / c_.store_rate);
    }

    /// Of that time, what passes until the last load has been served.
    double Loads(const VectorWork& work) const {
        return Cycles(c_.scalar_cycles + 2 * c_.event_cycles +
                      work.elements * kFloatBytes / c_.vector_load_rate);
    }

    double VectorLoad() const { return Cycles(c_.vector_load_cycles); }
    double Hop() const { return c_.cross_core_us; }
    double Start() const { return c_.hbm_latency + Cycles(c_.cube_load_cycles); }

private:
    double Cycles(double cycles) const { return cycles / c_.clock_mhz; }

    /// The largest share of a core divided by the mean share.
    double Imbalance(const GemmPlan& gemm) const {
        const uint64_t strips = uint64_t{gemm.batches} * gemm.n / gemm.strip;
        const uint64_t shares = cores_ / gemm.row_shares / gemm.depth_shares;
        return static_cast<double>(CeilDiv(strips, shares) * shares) / static_cast<double>(strips);
    }

    const TimingConstants& c_;
    double cores_;
};

/// The maximum number of weight tiles of a core. A tile of columns ends with its batch, so the
/// number depends on where in a batch the core's share begins.
uint64_t Tiles(const GemmPlan& gemm, uint32_t cores) {
    const uint64_t batch = gemm.n / gemm.strip;
    const uint64_t tile = gemm.tile_n / gemm.strip;
    const uint64_t share =
        CeilDiv(gemm.batches * batch, cores / gemm.row_shares / gemm.depth_shares);
    uint64_t most = 0;
    for (uint64_t first = 0; first < (gemm.batches > 1 ? batch : 1); ++first) {
        uint64_t tiles = 0;
        uint64_t left = share;
        for (uint64_t room = batch - first; left > 0; room = batch) {
            tiles += CeilDiv(std::min(left, room), tile);
            left -= std::min(left, room);
        }
        most = std::max(most, tiles);
    }
    return CeilDiv(gemm.m, uint64_t{gemm.tile_m} * gemm.row_shares) * most *
           CeilDiv(CeilDiv(gemm.k, gemm.tile_k), gemm.depth_shares);
}

/// Follows the weight stream of a kernel, measured in us of HBM time, and the products that consume
/// it.
class WeightClock {
public:
    WeightClock(const Costs& costs, const GemmBuffers& buffers, uint32_t cores)
        : costs_(costs), slots_(buffers.b_slots), cores_(cores), now_(costs.Start()) {}

    /// Appends the weight of a product, of which at most `ahead` tiles are loaded before it begins;
    /// products follow in the same order.
    void Add(const GemmPlan& gemm, uint64_t ahead = UINT64_MAX) {
        phases_.push_back(
            {&gemm, costs_.Stream(gemm) + costs_.Left(gemm), Tiles(gemm, cores_), ahead});
        total_ += phases_.back().stream;
    }

    /// When the first piece of the next product's A is in L1, if A is complete at `ready`: it comes
    /// behind the tiles that have been asked for by then.
    double LoadLeft(double ready) {
        Advance(consumed_ + Ahead());
        now_ = std::max(now_, ready);
        return now_ + costs_.LeftMatrix(*phases_[next_].gemm);
    }

    /// Runs the next product, whose A is ready at `ready`. Returns when its result is in L2.
    double Multiply(double ready) {
        const double most = consumed_ + Ahead();
        Advance(std::min(most, streamed_ + std::max(0.0, ready - now_)));
        const Phase& phase = phases_[next_++];
        consumed_ += phase.stream;
        if (streamed_ < consumed_) {
            // A full ring waits for the product to take its first tile.
            if (streamed_ >= most) now_ = std::max(now_, ready);
            Advance(consumed_);
        }
        const double arrived = std::max(now_ - (streamed_ - consumed_), 0.0);
        return std::max(ready + costs_.Work(*phase.gemm), arrived) + costs_.Drain(*phase.gemm);
    }

    /// Whether all weights are in L1 by the time only the last `left` products remain.
    bool EndsBefore(size_t left) const {
        uint64_t tiles = 0;
        for (size_t i = phases_.size() - left; i < phases_.size(); ++i) tiles += phases_[i].tiles;
        return tiles <= slots_;
    }

    /// When the last weight has arrived.
    double ended() const { return now_ + (total_ - streamed_); }

private:
    struct Phase {
        const GemmPlan* gemm;
        double stream;  ///< us of HBM time
        uint64_t tiles;
        uint64_t ahead;
    };

    /// HBM time of the weights that the ring can take before the next product begins.
    double Ahead() const {
        double ahead = 0;
        uint64_t room = slots_;
        for (size_t i = next_; i < phases_.size() && room > 0; ++i) {
            const uint64_t tiles = std::min({phases_[i].tiles, room, phases_[i].ahead});
            ahead += phases_[i].stream * static_cast<double>(tiles) /
                     static_cast<double>(phases_[i].tiles);
            room = tiles < phases_[i].tiles ? 0 : room - tiles;
        }
        return ahead;
    }

    void Advance(double streamed) {
        if (streamed <= streamed_) return;
        now_ += streamed - streamed_;
        streamed_ = streamed;
    }

    const Costs& costs_;
    uint64_t slots_;
    uint32_t cores_;
    std::vector<Phase> phases_;
    size_t next_ = 0;
    double total_ = 0;
    double consumed_ = 0;
    double streamed_ = 0;
    double now_;
};

/// Follows the vector cores of a prolog through their stages.
class VectorLane {
public:
    /// A window in which they wait for a product.
    struct Window {
        uint32_t awaits;  ///< prolog::Product; of the last window the last product
        double from;      ///< us
    };

    VectorLane(const PrologPlan& plan, const Costs& costs)
        : plan_(plan), costs_(costs), now_(costs.Start()) {}

    /// Runs all stages before the first that awaits `product` or one behind it. `published` says
    /// when they can know of each product.
    void RunUntil(uint32_t product, const double* published) {
        for (; next_ < prolog::kEnd; ++next_) {
            const PrologStep& step = plan_.steps[next_];
            if (!Has(step)) continue;
            if (step.awaits != prolog::kNone && step.awaits >= product) return;
            if (step.window != prolog::kNone) windows_.push_back({step.awaits, open_});
            if (step.awaits != prolog::kNone) open_ = now_ = std::max(now_, published[step.awaits]);
            const auto stage = static_cast<prolog::Stage>(next_);
            now_ += Work(stage);
            finished_[stage] = now_;
            // Rotations are dealt out step by step: of a decode's few steps most cores have none,
            // and wait at once. Only the kernel's end waits for all of them.
            if (stage != prolog::kRotateQuery && stage != prolog::kRotateIndexerQuery) open_ = now_;
        }
    }

    void OpenLastWindow() { windows_.push_back({prolog::kProducts - 1, now_}); }

    double now() const { return now_; }
    double finished(uint32_t stage) const { return finished_[stage]; }
    const std::vector<Window>& windows() const { return windows_; }

private:
    /// The time of a stage. Rows of the caches are not counted: cores write them that have no row
    /// to norm, or while all wait for the next product.
    double Work(prolog::Stage stage) const {
        switch (stage) {
            case prolog::kQuantiseHidden: {
                const bool dynamic =
                    Dynamic(Quantised(plan_.qkv_a_format) ? plan_.qkv_a_format : plan_.q_b_format);
                const uint32_t hidden = plan_.products[prolog::kQkvA].gemm.k;
                return Rows(Quantise(hidden, plan_.widest_input, dynamic, plan_.input_shares));
            }
            case prolog::kNormQuery: {
                VectorWork work = Norm(plan_.q_lora_rank);
                const PrologProduct& alone = plan_.products[prolog::kQueryA];
                const uint32_t shares =
                    (Has(alone) ? alone : plan_.products[prolog::kQkvA]).gemm.depth_shares;
                if (Quantised(plan_.qkv_a_format)) {
                    if (shares > 1) work = work + AddShares(plan_.q_lora_rank, shares);
                    work = work + DequantiseInUb(plan_.q_lora_rank, Dynamic(plan_.qkv_a_format));
                }
                if (Quantised(plan_.q_b_format)) {
                    work = work + QuantiseInUb(plan_.q_lora_rank, Dynamic(plan_.q_b_format));
                }
                return Rows(work);
            }
            case prolog::kDequantiseQuery:
                return Tiles(prolog::kQueryB, Dynamic(plan_.q_b_format));
            case prolog::kRotateTiles:
                return RotateTiles(prolog::kQueryB, plan_.heads);
            case prolog::kRotateQuery:
                return Steps(plan_.heads);
            case prolog::kRotateIndexerQuery:
                if (Quantised(plan_.indexer.wq_b_format)) {
                    return Tiles(prolog::kIndexerQuery, Dynamic(plan_.indexer.wq_b_format)) +
                           RotateTiles(prolog::kIndexerQuery, plan_.indexer.heads);
                }
                return Steps(plan_.indexer.heads);
            default:
                return 0;
        }
    }

    double Rows(const VectorWork& work) const { return plan_.rows_per_core * costs_.Vector(work); }

    double Steps(const HeadsPlan& heads) const {
        const uint64_t steps = plan_.tokens * CeilDiv(heads.heads, heads.step);
        return static_cast<double>(CeilDiv(steps, plan_.vector_cores)) *
               costs_.Vector(Rotate(heads));
    }

    /// The part of a product that a vector core finishes beside its cube core: its tokens, and the
    /// columns of a cube core.
    uint32_t TokensBeside() const { return static_cast<uint32_t>(CeilDiv(plan_.tokens, kSides)); }
    uint32_t ColumnsBeside(const GemmPlan& gemm) const {
        return static_cast<uint32_t>(CeilDiv(gemm.n / gemm.strip, plan_.vector_cores / kSides)) *
               gemm.strip;
    }

    double Tiles(prolog::Product product, bool dynamic) const {
        const uint32_t columns = ColumnsBeside(plan_.products[product].gemm);
        const auto elements = static_cast<double>(uint64_t{TokensBeside()} * columns);
        const double tiles = std::ceil(elements / plan_.widest_input);
        VectorWork tile = DequantiseTile(TokensBeside(), columns, dynamic);
        tile.elements /= tiles;
        return tiles * costs_.Vector(tile);
    }

    double RotateTiles(prolog::Product product, const HeadsPlan& heads) const {
        const uint32_t columns = ColumnsBeside(plan_.products[product].gemm);
        const uint64_t steps =
            CeilDiv(TokensBeside(), heads.step) * CeilDiv(columns, heads.head_dim);
        return static_cast<double>(steps) *
               costs_.Vector(RotateTile(std::min(TokensBeside(), heads.step)));
    }

    const PrologPlan& plan_;
    const Costs& costs_;
    uint32_t next_ = 0;
    double now_;
    double finished_[prolog::kStages] = {};  ///< when each stage ended
    double open_ = 0;  ///< when the vector cores can load what a window has for them
    std::vector<Window> windows_;
};

/// The time from `from` to `to`, 0 if `to` is earlier.
double Between(double from, double to) { return std::max(0.0, to - from); }

/// Whether the closed form finds idle time: of several tiles of rows each reads the weight anew,
/// out of L2 or HBM, and the cube is what takes time.
bool Followed(const GemmPlan& gemm) { return gemm.m <= gemm.tile_m; }

/// A window in which vector cores wait for `ends`. What passes through L2 after the kernel is
/// what its caller tells.
KernelWindow WaitingVectorCores(const char* name, const char* ends, double idle_us) {
    return {name, "the weight stream", ends, Always(idle_us), {true, false}, 0};
}

}  // namespace

void IdleWindows::Widen(const IdleWindows& other) {
    for (size_t i = 0; i < size_; ++i) {
        WindowLength& idle = windows_[i].idle;
        idle.short_us = std::min(idle.short_us, other.windows_[i].idle.short_us);
        idle.long_us = std::max(idle.long_us, other.windows_[i].idle.long_us);
    }
}

void IdleWindows::Shorten(double share, double us) {
    for (size_t i = 0; i < size_; ++i) {
        double& relied = windows_[i].idle.short_us;
        relied = std::max(0.0, share * relied - us);
    }
}

KernelTimes TimeProlog(const PrologPlan& plan, const TimingConstants& constants, uint32_t cores) {
    const Costs costs(constants, cores);
    const double hand_over = 2 * costs.Hop();
    WeightClock clock(costs, plan.buffers, cores);
    for (const PrologProduct& product : plan.products) {
        if (Has(product)) clock.Add(product.gemm);
    }
    VectorLane lane(plan, costs);
    double published[prolog::kProducts] = {};  // when vector cores can know of each product
    double done = costs.Start();               // of the product before
    for (uint32_t i = 0; i < prolog::kProducts; ++i) {
        const PrologProduct& product = plan.products[i];
        if (!Has(product)) continue;
        lane.RunUntil(i, published);
        double ready = done;
        if (product.awaits != prolog::kNone) {
            ready = std::max(
                done, lane.finished(product.awaits) + hand_over + costs.LeftMatrix(product.gemm));
        } else if (product.reads != prolog::kNone) {
            ready = done + costs.Hop() + costs.LeftMatrix(product.gemm);
        } else if (i != prolog::kQueryB) {
            // A q_b of the hidden states is taken to have its first piece of them by now.
            ready = done + costs.LeftMatrix(product.gemm);
        }
        done = clock.Multiply(ready);
        published[i] = done + (product.publication == prolog::kBeside ? costs.Hop() : hand_over);
    }
    lane.OpenLastWindow();
    KernelTimes times{};
    // What vector cores do with the last product is left out.
    times.us = std::max(done, lane.now());
    // The loads of a window should have arrived when the vector core's own next load is due. Where
    // L1 cannot hold the rest of the weights, the stream may end after the window.
    const double from = clock.ended() + costs.Hop() + costs.VectorLoad();
    const bool followed = Followed(plan.products[prolog::kQueryB].gemm);
    for (const VectorLane::Window& window : lane.windows()) {
        size_t left = 0;  // products behind the awaited one
        for (uint32_t i = window.awaits + 1; i < prolog::kProducts; ++i) {
            if (Has(plan.products[i])) ++left;
        }
        const double until = left > 0 ? published[window.awaits] : times.us;
        const double idle =
            followed && clock.EndsBefore(left) ? Between(std::max(from, window.from), until) : 0;
        const auto product = static_cast<prolog::Product>(window.awaits);
        times.windows.Add(WaitingVectorCores(WindowName(product),
                                             left > 0 ? NameOf(product) : "the kernel", idle));
    }
    return times;
}

KernelTimes TimeOProj(const OProjPlan& plan, const TimingConstants& constants, uint32_t cores) {
    const Costs costs(constants, cores);
    const bool int8 = Quantised(plan.format);
    const double hand_over = 2 * costs.Hop();
    WeightClock clock(costs, plan.buffers, cores);
    if (plan.has_v_up != 0) clock.Add(plan.v_up);
    clock.Add(plan.o_proj, plan.tiles_ahead);
    double value = costs.Start();
    if (plan.has_v_up != 0) {
        value = clock.Multiply(value + costs.LeftMatrix(plan.v_up)) + costs.Hop();
    }
    if (int8) {
        const uint32_t teams = plan.vector_cores / plan.value_shares;
        const double rows = static_cast<double>(CeilDiv(plan.tokens, teams));
        const bool dynamic = Dynamic(plan.format);
        value +=
            costs.Hop() + hand_over +
            rows * costs.Vector(Quantise(plan.o_proj.k, plan.widest, dynamic, plan.value_shares));
    }
    const double sums =
        clock.Multiply(int8 ? clock.LoadLeft(value) : value + costs.LeftMatrix(plan.o_proj));
    KernelTimes times{};
    times.us = sums;
    double from = clock.ended() + costs.Hop();
    if (plan.has_epilogue != 0) {
        // Prefetches are loaded behind the sums of the last step, when two are left to be finished.
        const VectorWork work = FinishSums(plan);
        VectorWork last = work;
        last.elements = std::min(last.elements, 2.0 * plan.step_rows * plan.step_columns);
        times.us += costs.Hop() + costs.Vector(work);
        from = std::max(from, times.us - costs.Vector(last) + costs.Loads(last));
    }
    times.windows.Add(WaitingVectorCores(
        "while o_proj", "o_proj",
        Followed(plan.o_proj) ? Between(from + costs.VectorLoad(), times.us) : 0));
    return times;
}

}  // namespace plan
