// What the timing model takes for granted about a chip, and what that rests on.
//
// Every number has a low, a nominal and a high value: low is what makes kernels fastest, high what
// makes them slowest. Where only one number is published all three are that one. Source keys as in
// arch/chip.h, and KPP = Ascend/mskpp csrc/prof_data.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "arch/chip.h"

namespace arch {

/// Which end of the published ranges: low times, nominal or high ones.
enum class Level : uint8_t { kLow, kNominal, kHigh };
constexpr int kLevels = 3;

/// "low", "nominal" or "high".
const char* LevelName(Level level);

/// Numbers of one chip at one level. Rates in bytes per us, cycles of the core clock, us.
struct TimingConstants {
    double clock_mhz;

    double hbm_rate;           ///< all reads and write-backs together
    double hbm_latency;        ///< us that the first byte takes longer than out of L2
    double l2_rate;            ///< all reads and writes of cores together
    double l2_capacity;        ///< bytes that stay until they are used
    double l2_cube_factor;     ///< share of the L2 rate a cube core's byte costs
    double nd2nz_factor;       ///< HBM time of a byte that ND2NZ loads, rows of 512 bytes
    double nz_factor;          ///< the same of contiguous blocks into L1
    double nd2nz_row_bytes;    ///< bytes that each row of an ND2NZ load costs on top
    double copy_row_bytes;     ///< the same of a load into UB
    double mte2_issue_cycles;  ///< from one load of a core to the next
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
    double cube_efficiency;       ///< of 16 x 16 x 32 bytes per cycle
    double mmad_cycles;           ///< start-up of a product
    double vector_repeat_cycles;  ///< per 256 bytes
    double vector_cycles;         ///< until a result can be used
    double scalar_cycles;         ///< to issue an instruction
    double event_cycles;          ///< from SetFlag to WaitFlag
    double cross_core_us;         ///< from the last CrossCoreSetFlag to CrossCoreWaitFlag
    double launch_us;             ///< launch and start of a kernel
    double sdma_rate;             ///< one stream of CMO prefetches
    double sdma_shared_rate;      ///< two streams together
};

/// One constant: where it stands in TimingConstants, its values and what they rest on.
struct TimingConstantInfo {
    const char* name;
    double TimingConstants::* member;
    double values[kLevels];  ///< low, nominal, high
    const char* unit;
    Provenance provenance;
    const char* source;
};

/// All constants that are the same for every chip of architecture dav-c220, in units of the table.
const std::vector<TimingConstantInfo>& TimingConstantTable();

/// Resolved numbers. `replaced` holds constants by name, in units of the table, that replace those
/// of the table; a rate of HBM among them is the chip's own. Throws std::invalid_argument for
/// unknown names, and for chips whose HBM rate nobody published.
TimingConstants FindTimingConstants(const Chip& chip, Level level,
                                    const std::map<std::string, double>& replaced = {});

/// How a load goes: into UB, into L1 as it is, or into L1 through ND2NZ.
enum class LoadKind : uint8_t { kToUb, kToL1, kNd2Nz };

/// HBM time of a byte that misses L2, relative to a load at the best rate: rows shorter than those
/// that the rates were measured with cost more.
double HbmFactor(const TimingConstants& constants, LoadKind kind, double row_bytes);

/// Nominal numbers for planners, of any chip: where no source says how fast HBM is, the slowest
/// published rate. What idles is then short of what may be prefetched, never beyond.
const TimingConstants& PlanningConstants(const Chip& chip);

}  // namespace arch
