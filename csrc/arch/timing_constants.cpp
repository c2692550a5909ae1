#include "arch/timing_constants.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "arch/quoted.h"

namespace arch {

namespace {

constexpr double kBytesPerUs = 1e6;  // 1 TB/s in bytes per us
/// Row sizes, in bytes, with which ND2NZ loads and plain loads were measured (ADx data_copy).
constexpr double kNd2NzRow = 512;
constexpr double kCopyRow = 2048;

}  // namespace

const char* LevelName(Level level) {
    constexpr const char* kNames[] = {"low", "nominal", "high"};
    return kNames[static_cast<int>(level)];
}

Level FindLevel(const std::string& name) {
    for (int i = 0; i < kLevels; ++i) {
        const auto level = static_cast<Level>(i);
        if (name == LevelName(level)) return level;
    }
    throw std::invalid_argument("level: expected low, nominal or high, got " + Quoted(name));
}

const std::vector<TimingConstantInfo>& TimingConstantTable() {
    using C = TimingConstants;
    constexpr auto kP = Provenance::kPublished;
    constexpr auto kD = Provenance::kDerived;
    constexpr auto kF = Provenance::kFitted;
    constexpr auto kA = Provenance::kAssumed;
    static const std::vector<TimingConstantInfo> table = {
        {"hbm_rate",
         &C::hbm_rate,
         {1.49, 1.49, 1.35},
         "TB/s",
         kF,
         "ADx data_copy: 302 MB in 202.7 us once; high: AIC"},
        {"hbm_latency", &C::hbm_latency, {0, 0.1, 0.25}, "us", kA, "not published"},
        {"l2_rate",
         &C::l2_rate,
         {5.96, 5.96, 4.2},
         "TB/s",
         kF,
         "ADx data_copy slices: 906 MB of hits in 354.6 - 202.7 us; high: AIC"},
        {"l2_capacity",
         &C::l2_capacity,
         {1.0, 1.0, 0.9},
         "share of L2",
         kF,
         "AIC: of 176 to 201 MB in rotation most is read from 192 MiB of L2"},
        {"l2_kept",
         &C::l2_kept,
         {0.85, 0.9, 0.9},
         "share of l2_capacity",
         kF,
         "AIC; at 1, what was used longest ago would leave first"},
        {"l2_cube_factor",
         &C::l2_cube_factor,
         {1.207, 1.207, 1.207},
         "times",
         kD,
         "ADx data_copy slices into L1: 4.94 TB/s against 5.96 into UB"},
        {"l2_first_factor",
         &C::l2_first_factor,
         {1, 1.7, 1.9},
         "times",
         kF,
         "AIC; at 1, lines that others left in L2 would be read as fast as the kernel's own"},
        {"nd2nz_factor",
         &C::nd2nz_factor,
         {1.0585, 1.18, 1.4},
         "times",
         kF,
         "AIC; low: ADx data_copy into L1, 214.5 us against 202.7"},
        {"nz_factor",
         &C::nz_factor,
         {1.0, 1.0, 1.035},
         "times",
         kD,
         "CAT: 201 MB in 139.6 us, launch included, is at least 1.44 TB/s"},
        {"nd2nz_row_bytes",
         &C::nd2nz_row_bytes,
         {61, 61, 61},
         "bytes",
         kD,
         "ADx data_copy into L1: rows of 128 bytes take 1.32 times as long as rows of 512"},
        {"copy_row_bytes",
         &C::copy_row_bytes,
         {12.4, 12.4, 12.4},
         "bytes",
         kD,
         "ADx data_copy into UB: rows of 128 bytes take 1.09 times as long as rows of 2048"},
        {"mte2_issue_cycles",
         &C::mte2_issue_cycles,
         {20.6, 20.6, 20.6},
         "cycles",
         kD,
         "ADx data_copy: 49152 loads of 128 bytes a core in 548.2 us"},
        {"cube_load_cycles",
         &C::cube_load_cycles,
         {177, 180, 240},
         "cycles",
         kP,
         "KPP: one core, L2 hits, 1 KB in 177 cycles, 4 KB in 240"},
        {"cube_load_rate",
         &C::cube_load_rate,
         {158, 158, 152},
         "bytes per cycle",
         kD,
         "KPP: one core, L2 hits, 512 KB in 3437 cycles"},
        {"vector_load_cycles", &C::vector_load_cycles, {235, 235, 235}, "cycles", kP, "KPP"},
        {"vector_load_rate",
         &C::vector_load_rate,
         {100, 80, 67},
         "bytes per cycle",
         kD,
         "ADx: 43 to 45 GB/s of one core with 8 KB copies; 67 with all cores"},
        {"store_cycles",
         &C::store_cycles,
         {82, 150, 235},
         "cycles",
         kA,
         "not published; between the fixpipe's and a load's"},
        {"store_rate", &C::store_rate, {66, 66, 66}, "bytes per cycle", kP, "KPP"},
        {"fixpipe_cycles", &C::fixpipe_cycles, {82, 82, 82}, "cycles", kP, "KPP"},
        {"fixpipe_rate", &C::fixpipe_rate, {120, 120, 120}, "bytes per cycle", kP, "KPP"},
        {"move_cycles", &C::move_cycles, {28, 28, 28}, "cycles", kP, "ADt"},
        {"move_l0a_rate", &C::move_l0a_rate, {256, 256, 256}, "bytes per cycle", kP, "AD, ADt"},
        {"move_l0b_rate", &C::move_l0b_rate, {128, 128, 128}, "bytes per cycle", kP, "AD, ADt"},
        {"cube_efficiency",
         &C::cube_efficiency,
         {0.984, 0.92, 0.8},
         "share",
         kF,
         "AIC: products of 1024 rows and more; low: ADt mmad"},
        {"mmad_cycles", &C::mmad_cycles, {0, 10, 28}, "cycles", kA, "not published"},
        {"vector_repeat_cycles",
         &C::vector_repeat_cycles,
         {1, 2, 3},
         "cycles",
         kP,
         "ADx: 1 in the steady state of an addition; KPP: 2 alone, 3 for a sum in a repeat"},
        {"vector_cycles", &C::vector_cycles, {25, 34, 43}, "cycles", kP, "KPP"},
        {"scalar_cycles", &C::scalar_cycles, {2, 6, 12}, "cycles", kA, "not published"},
        {"event_cycles", &C::event_cycles, {0, 10, 20}, "cycles", kA, "not published"},
        {"cross_core_us",
         &C::cross_core_us,
         {0.2, 0.5, 1.0},
         "us",
         kA,
         "not published; SyncAll takes 1 to 2 us by a comment in AD"},
        {"launch_us",
         &C::launch_us,
         {1.3, 6.8, 9.5},
         "us",
         kF,
         "AIC: products of less than 1 MB in replayed graphs, from the end of one to that of the "
         "next"},
        {"sdma_rate", &C::sdma_rate, {0.285, 0.285, 0.285}, "TB/s", kP, "PL"},
        {"sdma_shared_rate", &C::sdma_shared_rate, {0.153, 0.153, 0.153}, "TB/s", kP, "PL"},
        {"sdma_start_us",
         &C::sdma_start_us,
         {20, 20, 24},
         "us",
         kP,
         "PL: about 20 fixed, 24 to issue"},
        {"sdma_spike_us", &C::sdma_spike_us, {200, 250, 300}, "us", kP, "PL: 200 to 300"},
        {"sdma_spike_share",
         &C::sdma_spike_share,
         {0.004, 0.0135, 0.023},
         "share",
         kP,
         "PL: 0.4 to 2.3 % of the rounds"},
        {"join_us",
         &C::join_us,
         {0.5, 1.0, 2.0},
         "us",
         kA,
         "not published; as a meeting of all cores, 1 to 2 us by a comment in AD"},
    };
    return table;
}

TimingConstants FindTimingConstants(const Chip& chip, Level level,
                                    const std::map<std::string, double>& replaced) {
    TimingConstants constants{};
    for (const TimingConstantInfo& info : TimingConstantTable()) {
        constants.*info.member = info.values[static_cast<int>(level)];
    }
    constants.hbm_rate *= chip.hbm_share;
    for (const auto& [name, value] : replaced) {
        const auto& table = TimingConstantTable();
        const auto info =
            std::find_if(table.begin(), table.end(),
                         [&key = name](const auto& entry) { return key == entry.name; });
        if (info == table.end()) {
            throw std::invalid_argument("timing model: there is no constant " + Quoted(name));
        }
        // A time may be 0; a rate, factor or share may not.
        const std::string unit = info->unit;
        const bool time = unit == "us" || unit == "cycles";
        if (!(value < 1e12 && (time ? value >= 0 : value > 0))) {
            throw std::invalid_argument("timing model: constant '" + name + "' must be a number " +
                                        (time ? "from 0 on" : "above 0") + ", got " +
                                        std::to_string(value));
        }
        constants.*info->member = value;
    }
    if (constants.hbm_rate == 0) {
        throw std::invalid_argument(
            std::string("timing model: no source says how fast the HBM of ") + chip.name + " is");
    }
    constants.clock_mhz = chip.clock_mhz;
    constants.hbm_rate *= kBytesPerUs;
    constants.l2_rate *= kBytesPerUs;
    constants.sdma_rate *= kBytesPerUs;
    constants.sdma_shared_rate *= kBytesPerUs;
    constants.l2_capacity *= static_cast<double>(uint64_t{chip.l2_mib} << 20);
    return constants;
}

double HbmFactor(const TimingConstants& constants, LoadKind kind, double row_bytes) {
    const bool nd2nz = kind == LoadKind::kNd2Nz;
    const double over = nd2nz ? constants.nd2nz_row_bytes : constants.copy_row_bytes;
    const double measured = nd2nz ? kNd2NzRow : kCopyRow;
    const double rows = (1 + over / row_bytes) / (1 + over / measured);
    const double engine = nd2nz                     ? constants.nd2nz_factor
                          : kind == LoadKind::kToL1 ? constants.nz_factor
                                                    : 1;
    return engine * std::max(1.0, rows);
}

const TimingConstants& PlanningConstants(const Chip& chip, Level level) {
    using Levels = std::array<TimingConstants, kLevels>;
    static const std::map<std::string, Levels> constants = [] {
        std::map<std::string, Levels> all;
        for (const Chip& known : Chips()) {
            for (int i = 0; i < kLevels; ++i) {
                std::map<std::string, double> replaced;
                if (known.hbm_share == 0) {
                    replaced["hbm_rate"] =
                        TimingConstantTable().front().values[i] * FindChip("Ascend910B4").hbm_share;
                }
                all[known.name][static_cast<size_t>(i)] =
                    FindTimingConstants(known, static_cast<Level>(i), replaced);
            }
        }
        return all;
    }();
    return constants.at(chip.name)[static_cast<size_t>(level)];
}

}  // namespace arch
