#include "plan/idle_time.h"

#include <algorithm>
#include <vector>

#include "plan/plan_gemm.h"
#include "plan/plan_prolog.h"
#include "plan/units.h"

namespace plan {

namespace {

using arch::TimingConstants;

constexpr double kFloatBytes = sizeof(float);
/// Bytes of a row that ND2NZ rates were measured with, and of one that plain copies were.
constexpr double kNd2NzRow = 512;
constexpr double kCopyRow = 2048;

/// Vector instructions on a row, from the kernels' source.
constexpr double kNorm = 12;
constexpr double kQuantise = 10;
constexpr double kDequantise = 8;
constexpr double kRotate = 10;

/// Costs of the events that a kernel is made of, us.
class Costs {
public:
    Costs(const TimingConstants& constants, uint32_t cores) : c_(constants), cores_(cores) {}

    /// HBM time of the weight of a product.
    double Stream(const GemmPlan& gemm) const {
        const bool nd = gemm.b_layout == 0 || gemm.b_layout == 2;
        const double row = (gemm.b_layout < 2 ? gemm.tile_k : gemm.tile_n) * gemm.element_bytes;
        const double block = nd ? row : gemm.tile_n * kBlockBytes;
        const double over = nd ? c_.nd2nz_row_bytes : c_.copy_row_bytes;
        const double measured = nd ? kNd2NzRow : kCopyRow;
        const double factor = (nd ? c_.nd2nz_factor : c_.nz_factor) *
                              std::max(1.0, (1 + over / block) / (1 + over / measured));
        const double hbm = static_cast<double>(WeightBytes(gemm)) * factor / c_.hbm_rate;
        // A share that is larger than the others is bound by them no more, but by its own core.
        return std::max(hbm, hbm * Imbalance(gemm) * c_.hbm_rate /
                                 (factor * cores_ * c_.cube_load_rate * c_.clock_mhz));
    }

    /// A product whose weight is in L1: what L0B takes or the cube, whichever is slower.
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

    /// From the last weight tile in L1 until the result of a product is in L2.
    double Drain(const GemmPlan& gemm) const {
        const double tile = static_cast<double>(gemm.tile_n) * gemm.tile_k * gemm.element_bytes;
        const double rows = static_cast<double>(std::min(gemm.m, gemm.tile_m));
        const double sums = rows * gemm.tile_n * kFloatBytes;
        return Cycles(tile / c_.move_l0b_rate + c_.move_cycles + c_.mmad_cycles +
                      c_.fixpipe_cycles + sums / c_.fixpipe_rate + 4 * c_.event_cycles);
    }

    /// Loading the first piece of A, of `rows`, once it is there.
    double LeftMatrix(const GemmPlan& gemm) const {
        const double rows = static_cast<double>(std::min(gemm.m, gemm.tile_m));
        const double bytes = rows * gemm.a_depth * gemm.element_bytes;
        return Cycles(c_.cube_load_cycles + 2 * c_.event_cycles) +
               std::max(Cycles(bytes / c_.cube_load_rate),
                        bytes * cores_ * c_.l2_cube_factor / c_.l2_rate);
    }

    /// A row of `width` elements through `instructions` vector instructions in fp32, in and out.
    double Row(double width, double instructions) const {
        const double repeats = width * kFloatBytes / 256;
        return Cycles(c_.vector_load_cycles + width * kFloatBytes / c_.vector_load_rate +
                      instructions * (c_.vector_cycles + c_.scalar_cycles) +
                      instructions / 2 * repeats * c_.vector_repeat_cycles + c_.store_cycles +
                      width * kHalfBytes / c_.store_rate + 6 * c_.event_cycles);
    }

    double VectorLoad() const { return Cycles(c_.vector_load_cycles); }
    double Hop() const { return c_.cross_core_us; }
    double Start() const { return c_.hbm_latency + Cycles(c_.cube_load_cycles); }

private:
    double Cycles(double cycles) const { return cycles / c_.clock_mhz; }

    /// Largest share of a core over the mean.
    double Imbalance(const GemmPlan& gemm) const {
        const uint64_t strips = uint64_t{gemm.batches} * gemm.n / gemm.strip;
        const uint64_t shares = cores_ / gemm.row_shares / gemm.depth_shares;
        return static_cast<double>(CeilDiv(strips, shares) * shares) / static_cast<double>(strips);
    }

    const TimingConstants& c_;
    double cores_;
};

/// Weight tiles of the core with the largest share.
uint64_t Tiles(const GemmPlan& gemm, uint32_t cores) {
    const uint64_t strips = uint64_t{gemm.batches} * gemm.n / gemm.strip;
    const uint64_t shares = cores / gemm.row_shares / gemm.depth_shares;
    // A tile of columns ends with its batch.
    const uint64_t columns = std::min<uint64_t>(CeilDiv(strips, shares) * gemm.strip, gemm.n);
    const uint64_t batches = CeilDiv(CeilDiv(strips, shares) * gemm.strip, gemm.n);
    return CeilDiv(gemm.m, uint64_t{gemm.tile_m} * gemm.row_shares) * batches *
           CeilDiv(columns, gemm.tile_n) * CeilDiv(CeilDiv(gemm.k, gemm.tile_k), gemm.depth_shares);
}

/// The weights of a kernel on their way through HBM, in us of its time, against the products that
/// consume them.
class WeightClock {
public:
    WeightClock(const Costs& costs, const GemmBuffers& buffers, uint32_t cores)
        : costs_(costs), slots_(buffers.b_slots), cores_(cores), now_(costs.Start()) {}

    /// Weights in the order of the products.
    void Add(const GemmPlan& gemm) {
        phases_.push_back({&gemm, costs_.Stream(gemm), Tiles(gemm, cores_)});
        total_ += phases_.back().stream;
    }

    /// The next product, which can begin at `ready`. Returns when its result is in L2.
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

    /// Whether all weights are in L1 when the product before the `left` last ones is done.
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
        double stream;  ///< us of HBM
        uint64_t tiles;
    };

    /// What the ring takes before the next product begins.
    double Ahead() const {
        double ahead = 0;
        uint64_t room = slots_;
        for (size_t i = next_; i < phases_.size() && room > 0; ++i) {
            const uint64_t tiles = std::min(phases_[i].tiles, room);
            ahead += phases_[i].stream * static_cast<double>(tiles) /
                     static_cast<double>(phases_[i].tiles);
            room -= tiles;
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

/// Idle time of HBM between `from` and `to`.
double Between(double from, double to) { return std::max(0.0, to - from); }

bool Quantised(const QuantPlan& quant) { return quant.scale_bytes > 0; }

}  // namespace

KernelTimes TimeProlog(const PrologPlan& plan, const TimingConstants& constants, uint32_t cores) {
    const Costs costs(constants, cores);
    const bool indexed = plan.indexer.heads.heads > 0;
    const bool q_b_int8 = Quantised(plan.q_b_quant);
    const bool has_latent = plan.q_lora_rank > 0;
    const double hand_over = 2 * costs.Hop();
    WeightClock clock(costs, plan.buffers, cores);
    clock.Add(plan.qkv_a);
    if (indexed) {
        clock.Add(plan.indexer.wk);
        clock.Add(plan.indexer.weights_proj);
    }
    clock.Add(plan.q_b);
    if (indexed) clock.Add(plan.indexer.wq_b);
    clock.Add(plan.absorb);

    double begin = costs.Start() + costs.LeftMatrix(plan.qkv_a);
    const double rows = plan.rows_per_core;
    if (Quantised(plan.qkv_a_quant) || (!has_latent && q_b_int8)) {
        begin += rows * costs.Row(plan.qkv_a.k, kQuantise) + hand_over;
    }
    double done = clock.Multiply(begin);
    const double norm = rows * costs.Row(plan.q_lora_rank, kNorm + (q_b_int8 ? kQuantise : 0));
    const double latents = done + hand_over + (has_latent ? norm : 0);
    double ready = has_latent ? latents + hand_over + costs.LeftMatrix(plan.q_b) : done;
    if (indexed) {
        done = clock.Multiply(done + costs.LeftMatrix(plan.indexer.wk));
        done = clock.Multiply(done + costs.LeftMatrix(plan.indexer.weights_proj));
        ready = std::max(ready, done);
    }
    const double q_b = clock.Multiply(ready);

    const auto rotate = [&](const HeadsPlan& heads, bool int8) {
        const uint64_t steps = plan.tokens * CeilDiv(heads.heads, heads.step);
        const double width = heads.step * (int8 ? heads.head_dim : kRopeDim);
        return static_cast<double>(CeilDiv(steps, plan.vector_cores)) *
               costs.Row(width, kRotate + (int8 ? kDequantise : 0));
    };
    double rotated = q_b + hand_over + rotate(plan.heads, q_b_int8);
    double indexer_q = 0;
    if (indexed) {
        indexer_q = clock.Multiply(q_b + costs.LeftMatrix(plan.indexer.wq_b));
        const bool int8 = Quantised(plan.indexer.wq_b_quant);
        rotated = std::max(rotated, indexer_q + hand_over) + rotate(plan.indexer.heads, int8);
    }
    const double before = std::max(q_b, indexer_q);
    double absorbed = clock.Multiply((q_b_int8 ? rotated + hand_over : before + costs.Hop()) +
                                     costs.LeftMatrix(plan.absorb));
    KernelTimes times{};
    times.stream_us = clock.ended();
    times.us = std::max(absorbed, rotated);
    // Loads of a window have arrived when the vector core's own next one is due.
    const double from = clock.ended() + costs.Hop() + costs.VectorLoad();
    const bool q_b_open = clock.EndsBefore(indexed ? 2 : 1);
    const bool indexer_open = indexed && clock.EndsBefore(1);
    times.windows.push_back(
        {q_b_open, q_b_open ? Between(std::max(from, latents), q_b + hand_over) : 0});
    times.windows.push_back(
        {indexer_open,
         indexer_open ? Between(std::max(from, q_b + hand_over), indexer_q + hand_over) : 0});
    times.windows.push_back({true, Between(std::max(from, rotated), times.us)});
    return times;
}

KernelTimes TimeOProj(const OProjPlan& plan, const TimingConstants& constants, uint32_t cores) {
    const Costs costs(constants, cores);
    const bool int8 = Quantised(plan.quant);
    const double hand_over = 2 * costs.Hop();
    WeightClock clock(costs, plan.buffers, cores);
    if (plan.has_v_up != 0) clock.Add(plan.v_up);
    clock.Add(plan.o_proj);
    double value = costs.Start();
    if (plan.has_v_up != 0) {
        value = clock.Multiply(value + costs.LeftMatrix(plan.v_up)) + costs.Hop();
    }
    if (int8) {
        const double rows = static_cast<double>(CeilDiv(plan.tokens, plan.vector_cores));
        value += costs.Hop() + rows * costs.Row(plan.o_proj.k, kQuantise) + hand_over;
    }
    const double sums = clock.Multiply(value + costs.LeftMatrix(plan.o_proj));
    KernelTimes times{};
    times.stream_us = clock.ended();
    times.us = sums;
    if (plan.has_epilogue != 0) {
        const uint64_t steps = plan.tokens * CeilDiv(plan.o_proj.n, plan.step_columns);
        times.us += hand_over + static_cast<double>(CeilDiv(steps, plan.vector_cores)) *
                                    costs.Row(plan.step_columns, kDequantise);
    }
    const double until = plan.has_epilogue != 0 ? sums + hand_over : sums;
    times.windows.push_back(
        {true, Between(clock.ended() + costs.Hop() + costs.VectorLoad(), until)});
    return times;
}

}  // namespace plan
