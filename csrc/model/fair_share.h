// How concurrent transfers share the bandwidth of HBM and L2.
#pragma once

#include <cstdint>
#include <vector>

namespace model {

/// What each byte of a transfer costs the shared resources, and how fast its own engine is.
struct Demand {
    double max_rate;  ///< limit of its engine, bytes per us
    double hbm;       ///< HBM bytes per byte of the transfer
    double l2;        ///< L2 bytes per byte of the transfer
};

/// Computes `rates`, bytes per us for each demand, max-min fair: all rates rise together, and each
/// stops where it reaches its own limit or a resource that it uses is saturated.
void ShareFairly(const std::vector<Demand>& demands, double hbm_rate, double l2_rate,
                 std::vector<double>& rates);

}  // namespace model
