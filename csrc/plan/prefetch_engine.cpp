#include "plan/prefetch_engine.h"

#include <algorithm>
#include <stdexcept>

#include "arch/quoted.h"
#include "plan/plan_prefetch.h"

namespace plan {

const char* NameOf(Engine engine) {
    constexpr const char* kNames[] = {"vector", "cube", "sdma"};
    return kNames[static_cast<int>(engine)];
}

Engine FindEngine(const std::string& name) {
    for (const Engine engine : {Engine::kVector, Engine::kCube, Engine::kSdma}) {
        if (name == NameOf(engine)) return engine;
    }
    throw std::invalid_argument("engine: expected vector, cube or sdma, got " + arch::Quoted(name));
}

EngineCost CostOf(Engine engine, const arch::Chip& chip, const arch::TimingConstants& constants) {
    const auto with_cores = [&](arch::LoadKind kind, double cores, double bytes_per_cycle) {
        const double hbm = constants.hbm_rate / arch::HbmFactor(constants, kind, kLargeChunkBytes);
        const double load = cores * bytes_per_cycle * constants.clock_mhz;
        return EngineCost{constants.join_us, std::min(hbm, load), constants.join_us, 1, 0, 0};
    };
    switch (engine) {
        case Engine::kVector:
            return with_cores(arch::LoadKind::kToUb, chip.aiv_count, constants.vector_load_rate);
        case Engine::kCube:
            return with_cores(arch::LoadKind::kToL1, chip.aic_count, constants.cube_load_rate);
        default:
            return {constants.sdma_start_us, constants.sdma_rate,
                    constants.join_us,       constants.sdma_rate / constants.hbm_rate,
                    constants.sdma_spike_us, constants.sdma_spike_share};
    }
}

}  // namespace plan
