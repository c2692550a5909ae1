#include "arch/chip.h"

#include <stdexcept>

namespace arch {

const std::vector<Chip>& Chips() {
    static const std::vector<Chip> chips = {
        {"Ascend910B1", 24, 48, 1850, 192},    {"Ascend910B2", 24, 48, 1800, 192},
        {"Ascend910B2C", 24, 48, 1800, 192},   {"Ascend910B3", 20, 40, 1800, 192},
        {"Ascend910B4", 20, 40, 1500, 96},     {"Ascend910B4-1", 20, 40, 1500, 168},
        {"Ascend910_9391", 24, 48, 1850, 192}, {"Ascend910_9392", 24, 48, 1850, 192},
        {"Ascend910_9381", 24, 48, 1800, 192}, {"Ascend910_9382", 24, 48, 1800, 192},
        {"Ascend910_9372", 20, 40, 1800, 192}, {"Ascend910_9362", 20, 40, 1500, 168},
    };
    return chips;
}

const Chip& FindChip(const std::string& name) {
    std::string known;
    for (const Chip& chip : Chips()) {
        if (name == chip.name) return chip;
        known += known.empty() ? chip.name : std::string(", ") + chip.name;
    }
    throw std::invalid_argument("unknown chip '" + name + "'; known chips: " + known);
}

}  // namespace arch
