// What cube cores of a kernel load and multiply, tile by tile, in the order of the kernels' program
// (kernels/gemm.h, kernels/weight_stream.h): of two cores, one that has most of each product and
// one that has least. CubeWalk says when.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arch/timing_constants.h"
#include "plan/gemm_plan.h"

namespace plan {

/// A product of a kernel; those of a kernel are in the order in which they run.
struct WalkedProduct {
    const GemmPlan* gemm;
    bool awaits;     ///< whether cores wait for its A: for a call of CubeWalk::Open
    bool meets;      ///< whether they wait for one another before it, and for Open, but not for A
    bool moves;      ///< whether its first weights go into L0B while they wait
    bool cold;       ///< whether its A comes from HBM
    uint32_t ahead;  ///< tiles of its weight that are loaded before it begins, at most
};

/// HBM time of a byte of a weight, relative to the best rate, in tiles of so many columns.
double WeightHbmFactor(const arch::TimingConstants& constants, const GemmPlan& gemm,
                       uint32_t columns);

/// The most weight tiles of a product that any of so many cores has.
uint32_t MostTiles(const GemmPlan& gemm, uint32_t cores);

/// What a cube core does in a kernel, in order: loads into L1, and the products that take them.
class CubeProgram {
public:
    /// A tile of a weight, or pieces of A that share a slot of L1.
    struct Load {
        double bytes;
        double from_hbm;  ///< share of them that misses L2
        uint32_t product;
        uint32_t columns;  ///< of a tile of a weight; 0: A
        int32_t behind;    ///< the step that frees the slot, -1: it is free from the start
        uint32_t gates;    ///< calls of CubeWalk::Open that come first
        bool together;     ///< whether cores begin with it together
    };
    /// A tile of a weight, multiplied.
    struct Step {
        uint32_t left;  ///< the loads of A and of the weight
        uint32_t weight;
        uint32_t parts;  ///< steps in L0
        uint32_t moved;  ///< parts of the weight that are in L0B before
        double move_a;   ///< bytes of a part
        double move_b;
        double multiply;  ///< pairs of fractals of a part
        double store;     ///< bytes of the sums; 0: they are not complete yet
        bool first;       ///< of a tile of sums
        bool serial;      ///< its parts wait for one another
        bool both_slots;  ///< its sums take all of L0C
    };
    struct Core {
        std::vector<Load> loads;
        std::vector<Step> steps;
        std::vector<uint32_t> ends;      ///< of each product, the number of steps up to its end
        std::vector<double> stands_for;  ///< cores, by product
    };

    CubeProgram(const GemmBuffers& buffers, uint32_t cores, std::vector<WalkedProduct> products);

    const std::vector<WalkedProduct>& products() const { return products_; }
    const std::array<Core, 2>& cores() const { return cores_; }
    /// Whether all weights are in L1 by the time only the last `left` products remain.
    bool EndsBefore(size_t left) const;

private:
    std::vector<WalkedProduct> products_;
    std::array<Core, 2> cores_;
    std::vector<uint32_t> tiles_;  ///< of each product, most of a core
    uint32_t slots_;
};

}  // namespace plan
