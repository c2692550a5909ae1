// The chips that this project knows: a new chip is a row, which names its architecture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/architecture.h"

namespace arch {

/// One SoC. Core counts, clocks and L2 sizes are published (INI).
struct Chip {
    const char* name;
    uint32_t aic_count;
    uint32_t aiv_count;
    uint32_t clock_mhz;
    uint32_t l2_mib;
    /// HBM bandwidth relative to that of the chip on which rates were measured: 0.8 TB/s
    /// against 1.6 (published, product pages) is 0.5; 0 where there is no source.
    double hbm_share;
    const Architecture* architecture;
};

/// The chip for which plans are made unless another is chosen.
constexpr const char* kDefaultChip = "Ascend910_9391";

/// All chips.
const std::vector<Chip>& Chips();

/// The names of all chips: "Ascend910B1, Ascend910B2, ...".
std::string ChipNames();

/// The chip called `name`; null for an unknown name.
const Chip* LookUpChip(const std::string& name);
/// The chip called `name`; for an unknown name, throws std::invalid_argument that lists the known
/// ones.
const Chip& FindChip(const std::string& name);

/// Throws std::invalid_argument, which names chip and architecture, where no kernels can run on the
/// chip. Planners call it, and ops where they pick a device.
void RequireKernels(const Chip& chip);

}  // namespace arch
