#include "plan/idle_time.h"

#include <algorithm>
#include <vector>

#include "plan/cube_walk.h"
#include "plan/hand_over_flags.h"
#include "plan/plan_linear.h"
#include "plan/plan_phases.h"
#include "plan/plan_prolog.h"
#include "plan/rounding.h"
#include "plan/ub_bytes.h"
#include "plan/units.h"
#include "plan/vector_work.h"

namespace plan {

namespace {

using arch::TimingConstants;

constexpr double kRepeatBytes = 256;

/// Costs, in us, of the events of which a kernel consists.
class Costs {
public:
    explicit Costs(const TimingConstants& constants) : c_(constants) {}

    double Vector(const VectorWork& work) const {
        const double repeats = work.elements * kFloatBytes / kRepeatBytes;
        const double step = c_.scalar_cycles + 2 * c_.event_cycles;
        return work.cold * c_.hbm_latency +
               Cycles(work.instructions * c_.vector_cycles +
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

    const TimingConstants& c_;
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
        : plan_(plan), costs_(costs), now_(0), written_(0) {}

    /// Runs all stages before the first that awaits `product` or one behind it. `published` says
    /// when they can know of each product.
    void RunUntil(uint32_t product, const double* published) {
        for (; next_ < prolog::kEnd; ++next_) {
            const PrologStep& step = plan_.steps[next_];
            if (!Has(step)) continue;
            if (step.awaits != prolog::kNone && step.awaits >= product) return;
            if (step.window != prolog::kNone) windows_.push_back({step.awaits, open_});
            if (step.awaits != prolog::kNone) {
                open_ = now_ = std::max(now_, published[step.awaits]);
                written_ = std::max(written_, published[step.awaits]);
            }
            const auto stage = static_cast<prolog::Stage>(next_);
            const double us = Work(stage);
            // Where there are few rows for the caches, cores have them that have none to norm.
            const bool writes = stage == prolog::kWriteCaches;
            const bool apart = 2 * CeilDiv(plan_.tokens, plan_.rows_per_core) <= plan_.vector_cores;
            if (!writes || !apart) now_ += us;
            if ((stage != prolog::kNormQuery && stage != prolog::kWriteIndexerKeys) || !apart)
                written_ += us;
            finished_[stage] = now_;
            // Rotations are dealt out step by step: of a decode's few steps most cores have none,
            // and wait at once. Only the kernel's end waits for all of them.
            if (stage != prolog::kRotateQuery && stage != prolog::kRotateIndexerQuery) open_ = now_;
        }
    }

    void OpenLastWindow() { windows_.push_back({prolog::kProducts - 1, now_}); }

    double now() const { return now_; }
    /// When the last of them has finished.
    double ended() const { return std::max(now_, written_); }
    double finished(uint32_t stage) const { return finished_[stage]; }
    const std::vector<Window>& windows() const { return windows_; }

private:
    /// The time of a stage.
    double Work(prolog::Stage stage) const {
        switch (stage) {
            case prolog::kQuantiseHidden: {
                // Two layers of the hidden states may have scales of their own.
                double us = 0;
                for (const LinearFormat& format : {plan_.qkv_a_format, plan_.q_b_format}) {
                    if (!Quantised(format)) continue;
                    const uint32_t hidden = plan_.products[prolog::kQkvA].gemm.k;
                    VectorWork row =
                        Quantise(hidden, plan_.widest_input, Dynamic(format), plan_.input_shares);
                    row.cold = us == 0 ? 1 : 0;
                    us += costs_.Vector(LoadQuantisation(Dynamic(format))) + Rows(row);
                    if (plan_.q_lora_rank > 0) break;
                }
                return us;
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
            case prolog::kDequantiseQuery: {
                const Cut cut = CutTiles(prolog::kQueryB, plan_.heads);
                const double us = Dequantised(cut, Dynamic(plan_.q_b_format));
                return cut.tiles > kFewTiles ? us + Rotated(cut, plan_.heads) : us;
            }
            case prolog::kRotateTiles: {
                // A few tiles but one are read and dequantised again.
                const Cut cut = CutTiles(prolog::kQueryB, plan_.heads);
                if (cut.tiles > kFewTiles) return 0;
                const double us = Rotated(cut, plan_.heads);
                return cut.tiles > 1 ? us + Dequantised(cut, Dynamic(plan_.q_b_format)) : us;
            }
            case prolog::kWriteCaches: {
                VectorWork work = CacheRow(plan_.kv_lora_rank);
                const uint32_t shares = plan_.products[prolog::kQkvA].gemm.depth_shares;
                const bool int8 = Quantised(plan_.qkv_a_format);
                if (shares > 1) work = work + AddShares(plan_.kv_lora_rank, shares);
                if (int8) {
                    work = work + DequantiseInUb(plan_.kv_lora_rank, Dynamic(plan_.qkv_a_format));
                }
                return costs_.Vector(LoadNorm(plan_.kv_lora_rank, int8 ? 3 : 2)) + Rows(work);
            }
            case prolog::kWriteIndexerKeys:
                return costs_.Vector(LoadNorm(plan_.indexer.heads.head_dim, 3)) +
                       Rows(IndexerKeyRow(plan_.indexer.heads.head_dim));
            case prolog::kRotateQuery:
                return Steps(plan_.heads);
            case prolog::kRotateIndexerQuery:
                if (Quantised(plan_.indexer.wq_b_format)) {
                    const Cut cut = CutTiles(prolog::kIndexerQuery, plan_.indexer.heads);
                    return Dequantised(cut, Dynamic(plan_.indexer.wq_b_format)) +
                           Rotated(cut, plan_.indexer.heads);
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

    /// How those columns are cut into tiles (kernels/beside_tiles.h).
    struct Cut {
        uint64_t tiles;
        uint64_t rotations;  ///< steps in which heads are rotated
        uint32_t tokens;     ///< of a tile, at most
        uint32_t columns;
    };

    Cut CutTiles(prolog::Product product, const HeadsPlan& heads) const {
        const GemmPlan& gemm = plan_.products[product].gemm;
        const uint32_t columns = ColumnsBeside(gemm);
        const uint32_t tokens = TokensBeside();
        const uint32_t width = std::min(plan_.widest / kRopeDim * kRopeDim, kMaxTileColumns);
        const auto parts = static_cast<uint32_t>(CeilDiv(columns, width));
        Cut cut{};
        cut.columns = static_cast<uint32_t>(CeilDiv(columns / gemm.strip, parts)) * gemm.strip;
        const uint32_t fit = std::min(plan_.widest_input / cut.columns, DequantiserUb::kTokens);
        const auto blocks = static_cast<uint32_t>(CeilDiv(tokens, fit));
        cut.tokens = static_cast<uint32_t>(CeilDiv(tokens, blocks));
        cut.tiles = uint64_t{parts} * blocks;
        cut.rotations = CeilDiv(columns, heads.head_dim) * blocks * CeilDiv(cut.tokens, heads.step);
        return cut;
    }

    double Dequantised(const Cut& cut, bool dynamic) const {
        return static_cast<double>(cut.tiles) *
               costs_.Vector(DequantiseTile(cut.tokens, cut.columns, dynamic));
    }

    double Rotated(const Cut& cut, const HeadsPlan& heads) const {
        return static_cast<double>(cut.rotations) *
               costs_.Vector(RotateTile(std::min(cut.tokens, heads.step), cut.tokens > heads.step));
    }

    const PrologPlan& plan_;
    const Costs& costs_;
    uint32_t next_ = 0;
    double now_;
    double written_;                         ///< of cores with rows of the latent caches
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

CubeProgram CubesOf(const PrologPlan& plan, uint32_t cores) {
    std::vector<WalkedProduct> products;
    bool meets = false;  // behind the product before
    for (const PrologProduct& product : plan.products) {
        if (!Has(product)) continue;
        const bool awaits = product.awaits != prolog::kNone || product.reads != prolog::kNone;
        const bool cold = products.empty() && !awaits;
        products.push_back({&product.gemm, awaits, meets, awaits, cold, UINT32_MAX});
        meets = product.flag != flags::kNoFlag && product.publication == prolog::kToAll;
    }
    return {plan.buffers, cores, products};
}

CubeProgram CubesOf(const OProjPlan& plan, uint32_t cores) {
    const bool has_v_up = plan.has_v_up != 0;
    const bool awaits = has_v_up || Quantised(plan.format);
    std::vector<WalkedProduct> products;
    if (has_v_up) products.push_back({&plan.v_up, false, false, false, true, UINT32_MAX});
    products.push_back({&plan.o_proj, awaits, false, awaits, !awaits, plan.tiles_ahead});
    return {plan.buffers, cores, products};
}

KernelTimes TimeProlog(const PrologPlan& plan, const TimingConstants& constants,
                       const CubeProgram& cubes) {
    const Costs costs(constants);
    const double hand_over = 2 * costs.Hop();
    CubeWalk walk(cubes, constants);
    VectorLane lane(plan, costs);
    double published[prolog::kProducts] = {};  // when vector cores can know of each product
    double done = 0;                           // of the product before
    size_t next = 0;
    for (uint32_t i = 0; i < prolog::kProducts; ++i) {
        const PrologProduct& product = plan.products[i];
        if (!Has(product)) continue;
        lane.RunUntil(i, published);
        const WalkedProduct& walked = cubes.products()[next];
        if (product.awaits != prolog::kNone) {
            walk.Open(std::max(done, lane.finished(product.awaits) + costs.Hop()) + costs.Hop());
        } else if (walked.awaits || walked.meets) {
            walk.Open(done + costs.Hop());
        }
        done = walk.Finish(next++);
        published[i] = done + (product.publication == prolog::kBeside ? costs.Hop() : hand_over);
    }
    lane.OpenLastWindow();
    KernelTimes times{};
    // What vector cores do with the last product is left out.
    times.us = std::max(done, lane.ended());
    const double end = std::max(done, lane.now());
    // The loads of a window should have arrived when the vector core's own next load is due. Where
    // L1 cannot hold the rest of the weights, the stream may end after the window.
    const double from = walk.Streamed() + costs.Hop() + costs.VectorLoad();
    const bool followed = Followed(plan.products[prolog::kQueryB].gemm);
    for (const VectorLane::Window& window : lane.windows()) {
        size_t left = 0;  // products behind the awaited one
        for (uint32_t i = window.awaits + 1; i < prolog::kProducts; ++i) {
            if (Has(plan.products[i])) ++left;
        }
        const double until = left > 0 ? published[window.awaits] : end;
        const double idle =
            followed && cubes.EndsBefore(left) ? Between(std::max(from, window.from), until) : 0;
        const auto product = static_cast<prolog::Product>(window.awaits);
        times.windows.Add(WaitingVectorCores(WindowName(product),
                                             left > 0 ? NameOf(product) : "the kernel", idle));
    }
    return times;
}

namespace {

/// When cube cores may load the left matrix of o_proj, where they have to wait for it; `value`:
/// when all of it has been written.
double ValueReady(const OProjPlan& plan, const Costs& costs, double value) {
    if (plan.has_v_up != 0) value += costs.Hop();
    if (!Quantised(plan.format)) return value;
    if (plan.has_v_up != 0) value += costs.Hop();
    const double rows =
        static_cast<double>(CeilDiv(plan.tokens, plan.vector_cores / plan.value_shares));
    const bool dynamic = Dynamic(plan.format);
    const VectorWork row = Quantise(plan.o_proj.k, plan.widest, dynamic, plan.value_shares);
    return value + costs.Vector(LoadQuantisation(dynamic)) + rows * costs.Vector(row) +
           2 * costs.Hop();
}

}  // namespace

double TimeValue(const OProjPlan& plan, const TimingConstants& constants,
                 const CubeProgram& cubes) {
    const double value = plan.has_v_up != 0 ? CubeWalk(cubes, constants).Finish(0) : 0;
    const Costs costs(constants);
    return ValueReady(plan, costs, value) - costs.Vector(LoadQuantisation(Dynamic(plan.format)));
}

KernelTimes TimeOProj(const OProjPlan& plan, const TimingConstants& constants,
                      const CubeProgram& cubes) {
    const Costs costs(constants);
    const bool has_v_up = plan.has_v_up != 0;
    CubeWalk walk(cubes, constants);
    const double value = has_v_up ? walk.Finish(0) : 0;
    if (cubes.products().back().awaits) walk.Open(ValueReady(plan, costs, value));
    const double sums = walk.Finish(cubes.products().size() - 1);
    KernelTimes times{};
    // Vector cores learn that the value is complete, whether they need it or not.
    times.us = std::max(sums, has_v_up ? value + 2 * costs.Hop() : 0);
    double from = walk.Streamed() + costs.Hop();
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
