#include "plan/cube_walk.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "plan/plan_gemm.h"

namespace plan {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
/// A load with no more left than passes in so many us has arrived; the rest is rounding error.
constexpr double kNothing = 1e-6;

}  // namespace

CubeWalk::CubeWalk(const CubeProgram& program, const arch::TimingConstants& constants)
    : program_(program), c_(constants), us_per_cycle_(1 / constants.clock_mhz) {
    for (size_t i = 0; i < lanes_.size(); ++i) {
        Lane& lane = lanes_[i];
        lane.core = &program.cores()[i];
        lane.landed.reserve(lane.core->loads.size());
        lane.freed.reserve(lane.core->steps.size());
        lane.stored.reserve(lane.core->steps.size());
    }
}

/// Whether a lane's next load is under way, or begins at a time that is known.
bool CubeWalk::Begin(Lane& lane) {
    if (lane.flows) return true;
    const std::vector<CubeProgram::Load>& loads = lane.core->loads;
    if (lane.landed.size() == loads.size()) return false;
    const CubeProgram::Load& load = loads[lane.landed.size()];
    if (load.gates > opened_.size()) return false;
    if (load.together) {
        for (const Lane& other : lanes_) {
            const size_t next = other.landed.size();
            if (next < other.core->loads.size() && other.core->loads[next].gates < load.gates) {
                return false;
            }
        }
    }
    const GemmPlan& gemm = *program_.products()[load.product].gemm;
    if (load.from_hbm == 0) {
        lane.hbm = 0;
    } else if (load.columns > 0) {
        lane.hbm = load.from_hbm * WeightHbmFactor(c_, gemm, load.columns);
    } else {
        const double row = std::min(gemm.a_depth, gemm.k) * gemm.element_bytes;
        lane.hbm = load.from_hbm * arch::HbmFactor(c_, arch::LoadKind::kNd2Nz, row);
    }
    // The start-up of a load passes while the data of the one before flow, and so does the latency
    // of HBM, unless it has been held back.
    double dispatch = lane.dispatched;
    if (load.gates > 0) dispatch = std::max(dispatch, opened_[load.gates - 1]);
    if (load.behind >= 0) dispatch = std::max(dispatch, lane.freed[load.behind]);
    const double from = dispatch + Us(c_.cube_load_cycles);
    lane.starts = std::max({from, lane.ready, now_});
    if (from >= lane.ready && lane.hbm > 0) lane.starts += c_.hbm_latency;
    lane.dispatched = dispatch + Us(c_.mte2_issue_cycles);
    lane.left = load.bytes;
    lane.cores = lane.core->stands_for[load.product];
    lane.flows = true;
    return true;
}

/// Bytes per us of a core of each lane. All rates rise together; each stops at the core's own
/// limit, or where something that it uses is taken.
std::array<double, 2> CubeWalk::Rates(const std::array<bool, 2>& flows) const {
    const double own = c_.cube_load_rate * c_.clock_mhz;
    double hbm_left = c_.hbm_rate;
    double l2_left = c_.l2_rate / c_.l2_cube_factor;
    std::array<bool, 2> rising = flows;
    std::array<double, 2> rates{};
    double level = 0;
    while (rising[0] || rising[1]) {
        double hbm = 0;
        double l2 = 0;
        for (size_t i = 0; i < lanes_.size(); ++i) {
            if (!rising[i]) continue;
            hbm += lanes_[i].cores * lanes_[i].hbm;
            l2 += lanes_[i].cores;
        }
        const double hbm_step = hbm > 0 ? hbm_left / hbm : kNever;
        const double l2_step = l2_left / l2;
        const double step = std::min({own - level, hbm_step, l2_step});
        const bool all = own - level <= step || l2_step <= step;
        level += step;
        hbm_left -= step * hbm;
        l2_left -= step * l2;
        for (size_t i = 0; i < lanes_.size(); ++i) {
            if (!rising[i] || !(all || (lanes_[i].hbm > 0 && hbm_step <= step))) continue;
            rates[i] = level;
            rising[i] = false;
        }
    }
    return rates;
}

/// Goes on to where a load begins or ends.
void CubeWalk::Advance() {
    std::array<bool, 2> flows{};
    double next = kNever;
    for (size_t i = 0; i < lanes_.size(); ++i) {
        if (!Begin(lanes_[i])) continue;
        flows[i] = lanes_[i].starts <= now_;
        if (!flows[i]) next = std::min(next, lanes_[i].starts);
    }
    const std::array<double, 2> rates = Rates(flows);
    for (size_t i = 0; i < lanes_.size(); ++i) {
        if (flows[i]) next = std::min(next, now_ + lanes_[i].left / rates[i]);
    }
    if (next == kNever) throw std::logic_error("a product is finished before it is open");
    for (size_t i = 0; i < lanes_.size(); ++i) {
        Lane& lane = lanes_[i];
        if (!flows[i]) continue;
        lane.left -= rates[i] * (next - now_);
        if (lane.left > kNothing * rates[i]) continue;
        if (lane.core->loads[lane.landed.size()].columns > 0) streamed_ = std::max(streamed_, next);
        lane.flows = false;
        lane.ready = next;
        lane.landed.push_back(next);
        Multiply(lane);
    }
    now_ = next;
}

/// Multiplies what has arrived.
void CubeWalk::Multiply(Lane& lane) {
    const double event = Us(c_.event_cycles);
    const double moved = Us(c_.move_cycles) + event;
    const double mmad = Us(c_.mmad_cycles);
    const double a_rate = us_per_cycle_ / c_.move_l0a_rate;
    const double b_rate = us_per_cycle_ / c_.move_l0b_rate;
    const double cube_rate = us_per_cycle_ / c_.cube_efficiency;
    const std::vector<CubeProgram::Step>& steps = lane.core->steps;
    while (lane.freed.size() < steps.size()) {
        const CubeProgram::Step& step = steps[lane.freed.size()];
        if (std::max(step.left, step.weight) >= lane.landed.size()) return;
        const double left = lane.landed[step.left] + event;
        const double weight = lane.landed[step.weight] + event;
        const uint32_t sums = lane.l0c_slot;
        double free = step.first ? lane.l0c[sums] : 0;
        if (step.first && step.both_slots) free = std::max(free, lane.l0c[1 - sums]);
        for (uint32_t part = 0; part < step.parts; ++part) {
            lane.mte1 = std::max({lane.mte1, weight, lane.l0[lane.l0_slot]});
            if (part >= step.moved) lane.mte1 += step.move_b * b_rate;
            lane.mte1 = std::max(lane.mte1, left) + step.move_a * a_rate;
            double start = std::max({lane.cube, free, lane.mte1 + moved});
            const bool adds = part > 0 || !step.first;
            if (step.serial && adds) start = std::max(start, lane.complete);
            lane.cube = start + step.multiply * cube_rate;
            lane.complete = lane.cube + mmad;
            lane.l0[lane.l0_slot] = lane.complete + event;
            lane.l0_slot = 1 - lane.l0_slot;
        }
        lane.freed.push_back(lane.mte1 + moved);
        if (step.store > 0) {
            lane.fixpipe = std::max(lane.fixpipe, lane.complete + event) +
                           Us(c_.fixpipe_cycles + step.store / c_.fixpipe_rate);
            lane.l0c[sums] = lane.fixpipe + event;
            if (step.both_slots) lane.l0c[1 - sums] = lane.fixpipe + event;
            lane.l0c_slot = 1 - sums;
        }
        lane.stored.push_back(lane.fixpipe);
    }
}

double CubeWalk::Finish(size_t index) {
    double us = 0;
    for (Lane& lane : lanes_) {
        const uint32_t end = lane.core->ends[index];
        while (lane.stored.size() < end) Advance();
        if (end > 0) us = std::max(us, lane.stored[end - 1]);
    }
    return us;
}

}  // namespace plan
