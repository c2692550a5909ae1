// The constants of a chip on which the timing model is based, with their sources.
//
// Every constant has a low, a nominal and a high value: with the low values kernels are fastest,
// with the high ones slowest. Where only one number is published, all three values are that number.
// Source keys are those of arch/architecture.h, and KPP = Ascend/mskpp csrc/prof_data.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "arch/chip.h"

namespace arch {

/// Which of a constant's three values is used: that for low, nominal or high times.
enum class Level : uint8_t { kLow, kNominal, kHigh };
constexpr int kLevels = 3;

/// "low", "nominal" or "high".
const char* LevelName(Level level);
/// The level of such a name. Throws std::invalid_argument for another one.
Level FindLevel(const std::string& name);

/// The constants of one chip at one level. Rates are in bytes per us, times in cycles of the core
/// clock or in us, unless a comment says otherwise.
struct TimingConstants {
    double clock_mhz;

    double hbm_rate;         ///< all reads and write-backs together
    double hbm_latency;      ///< us by which the first byte comes later than from L2
    double l2_rate;          ///< all reads and writes of cores together
    double l2_capacity;      ///< bytes that L2 holds
    double l2_kept;          ///< share of them that is not evicted: those used last
    double l2_cube_factor;   ///< relative L2 time of a byte loaded by a cube core (vector core: 1)
    double l2_first_factor;  ///< relative L2 time of a hit on a line that a kernel uses first
    double nd2nz_factor;     ///< relative HBM time of a byte by ND2NZ, with rows of 512 bytes
    double nz_factor;        ///< relative HBM time of a byte of a contiguous block into L1
    double nd2nz_row_bytes;  ///< overhead of each row of an ND2NZ load, as bytes
    double copy_row_bytes;   ///< overhead of each row of a load into UB, as bytes
    double mte2_issue_cycles;  ///< from the issue of one load of a core to the next
    double cube_load_cycles;   ///< start-up of a load into L1
    double cube_load_rate;     ///< bytes per cycle of one core
    double vector_load_cycles;
    double vector_load_rate;
    double store_cycles;  ///< UB to GM
    double store_rate;
    double fixpipe_cycles;  ///< L0C to GM
    double fixpipe_rate;
    double move_cycles;  ///< L1 to L0
    double move_l0a_rate;
    double move_l0b_rate;
    double cube_efficiency;       ///< share of the peak of 16 x 16 x 32 bytes per cycle
    double mmad_cycles;           ///< start-up of a product
    double vector_repeat_cycles;  ///< per 256 bytes
    double vector_cycles;         ///< from the issue of an instruction until its result can be used
    double scalar_cycles;         ///< to issue an instruction
    double event_cycles;          ///< from SetFlag to WaitFlag
    double cross_core_us;         ///< from the last CrossCoreSetFlag to CrossCoreWaitFlag
    double launch_us;             ///< launch and start of a kernel
    double sdma_rate;             ///< of one stream of CMO prefetches
    double sdma_shared_rate;      ///< of two streams together
    double sdma_start_us;         ///< from the issue of a CMO prefetch to its first byte
    double sdma_spike_us;         ///< by which some CMO prefetches take longer
    double sdma_spike_share;      ///< share of such prefetches
    double join_us;               ///< of a stream that waits for an event of another one
};

/// One constant: its member of TimingConstants, its values, and their unit, class and source.
struct TimingConstantInfo {
    const char* name;
    double TimingConstants::* member;
    double values[kLevels];  ///< low, nominal, high
    const char* unit;
    Provenance provenance;
    const char* source;
};

/// All constants; they are the same for every chip of architecture dav-c220. `unit` gives the unit
/// of each one's values.
const std::vector<TimingConstantInfo>& TimingConstantTable();

/// The constants of a chip at a level, in the units of TimingConstants. `replaced` maps names to
/// values, in units of the table, that replace those of the table; an hbm_rate in it is not scaled
/// by the chip's hbm_share. Throws std::invalid_argument for unknown names, and for chips whose HBM
/// rate is neither published nor replaced.
TimingConstants FindTimingConstants(const Chip& chip, Level level,
                                    const std::map<std::string, double>& replaced = {});

/// The kind of a load: into UB, into L1 unchanged, or into L1 through ND2NZ.
enum class LoadKind : uint8_t { kToUb, kToL1, kNd2Nz };

/// HBM time of a byte that misses L2, relative to a load at the best rate. Rows shorter than those
/// with which the rates were measured cost more.
double HbmFactor(const TimingConstants& constants, LoadKind kind, double row_bytes);

/// The constants of any chip, for planners. For a chip whose HBM rate is not published, the
/// slowest published rate stands in: the planner may then prefetch too little, but never too much.
const TimingConstants& PlanningConstants(const Chip& chip, Level level = Level::kNominal);

}  // namespace arch
