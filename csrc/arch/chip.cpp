#include "arch/chip.h"

#include <stdexcept>

#include "arch/quoted.h"

namespace arch {

const std::vector<Chip>& Chips() {
    static const std::vector<Chip> chips = {
        {"Ascend910B1", 24, 48, 1850, 192, 1, &kDavC220},
        {"Ascend910B2", 24, 48, 1800, 192, 1, &kDavC220},
        {"Ascend910B2C", 24, 48, 1800, 192, 0, &kDavC220},
        {"Ascend910B3", 20, 40, 1800, 192, 1, &kDavC220},
        {"Ascend910B4", 20, 40, 1500, 96, 0.5, &kDavC220},
        {"Ascend910B4-1", 20, 40, 1500, 168, 0, &kDavC220},
        {"Ascend910_9391", 24, 48, 1850, 192, 1, &kDavC220},
        {"Ascend910_9392", 24, 48, 1850, 192, 1, &kDavC220},
        {"Ascend910_9381", 24, 48, 1800, 192, 1, &kDavC220},
        {"Ascend910_9382", 24, 48, 1800, 192, 1, &kDavC220},
        {"Ascend910_9372", 20, 40, 1800, 192, 1, &kDavC220},
        {"Ascend910_9362", 20, 40, 1500, 168, 0, &kDavC220},
    };
    return chips;
}

const Chip* LookUpChip(const std::string& name) {
    for (const Chip& chip : Chips()) {
        if (name == chip.name) return &chip;
    }
    return nullptr;
}

std::string ChipNames() {
    std::string names;
    for (const Chip& chip : Chips()) names += (names.empty() ? "" : ", ") + std::string(chip.name);
    return names;
}

const Chip& FindChip(const std::string& name) {
    if (const Chip* chip = LookUpChip(name)) return *chip;
    throw std::invalid_argument("unknown chip " + Quoted(name) + "; known chips: " + ChipNames());
}

void RequireKernels(const Chip& chip) {
    if (chip.architecture->has_kernels) return;
    throw std::invalid_argument(
        "chip " + Quoted(chip.name) + " is of architecture " + Quoted(chip.architecture->name) +
        ", for which there are no kernels; there are kernels for " + Quoted(kDavC220.name));
}

}  // namespace arch
