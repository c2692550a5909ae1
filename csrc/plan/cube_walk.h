// Walks the two cores of a CubeProgram through their pipes: MTE2 loads, MTE1 moves into L0, the
// cube multiplies, the fixpipe writes. Each core stands for a number of cores, and all of them
// share HBM and L2 fairly.
//
// So it sees what rates alone do not: tiles that are dealt out unevenly, A that comes behind
// weights in flight, HBM that idles while all cores load A, L0 that is moved as slowly as it is
// multiplied. The timing model (csrc/model) replays all cores, with the same constants.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arch/timing_constants.h"
#include "plan/cube_program.h"

namespace plan {

/// When a kernel's products are complete, in us from its start.
class CubeWalk {
public:
    CubeWalk(const CubeProgram& program, const arch::TimingConstants& constants);

    /// From `us` on cores go on to the next of the products before which they wait.
    void Open(double us) { opened_.push_back(us); }
    /// When the sums of product `index` are in L2. It and those before it must be open.
    double Finish(size_t index);
    /// When the last weight has arrived. The last product must be finished.
    double Streamed() const { return streamed_; }

private:
    struct Lane {
        const CubeProgram::Core* core;
        std::vector<double> landed;  ///< us, of each load
        std::vector<double> freed;   ///< us, of each step: when its weight has left L1
        std::vector<double> stored;  ///< us, of each step: when all sums so far are in L2
        // MTE2.
        bool flows = false;
        double starts = 0;
        double left = 0;  ///< bytes
        double hbm = 0;   ///< bytes of HBM that each of them costs
        double cores = 0;
        double dispatched = 0;
        double ready = 0;
        // The other pipes: until when they work, and when their slots are free.
        double mte1 = 0;
        double cube = 0;
        double complete = 0;
        double fixpipe = 0;
        std::array<double, 2> l0{};
        std::array<double, 2> l0c{};
        uint32_t l0_slot = 0;
        uint32_t l0c_slot = 0;
    };

    double Us(double cycles) const { return cycles * us_per_cycle_; }
    bool Begin(Lane& lane);
    std::array<double, 2> Rates(const std::array<bool, 2>& flows) const;
    void Advance();
    void Multiply(Lane& lane);

    const CubeProgram& program_;
    const arch::TimingConstants& c_;
    double us_per_cycle_;
    std::array<Lane, 2> lanes_;
    std::vector<double> opened_;
    std::vector<double> factors_;  ///< HBM time of a byte of each product's weight
    double now_ = 0;
    double streamed_ = 0;
};

}  // namespace plan
