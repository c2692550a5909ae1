// How transfers that run side by side share HBM and L2.
#pragma once

#include <cstdint>
#include <vector>

namespace model {

/// What a byte of a transfer takes of the shared resources, and how fast its own engine is.
struct Demand {
    double most_rate;  ///< bytes per us
    double hbm;        ///< HBM bytes per byte of the transfer
    double l2;         ///< L2 bytes per byte of the transfer
};

/// Rates in bytes per us, max-min fair: all rise together until they reach their own limit or a
/// resource they use is full.
void ShareFairly(const std::vector<Demand>& demands, double hbm_rate, double l2_rate,
                 std::vector<double>& rates);

}  // namespace model
