// The chips that this project knows, and every hardware constant with its class and source.
//
// Classes: published (a public document says so), derived (computed from published numbers),
// assumed (nobody published it). Source keys: INI = platform_config of CANN 8.1.RC1; ADx =
// asc-devkit examples/01_simd_cpp_api/05_best_practices; AD = asc-devkit docs/zh/guide; ADt =
// asc-devkit tests/perf; PL =
// hw-native-sys/pypto-lib docs/debug-and-tune/l2-prefetch.md; CAT = hicann/catlass docs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace arch {

enum class Provenance : uint8_t { kPublished, kDerived, kAssumed };

/// A number with its class and source; the comment at its definition gives the unit.
struct Constant {
    double value;
    Provenance provenance;
    const char* source;
};

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
};

/// Buffers of a core of architecture dav-c220 (NPU arch 2201), in bytes; published (INI, AD).
constexpr uint32_t kUbBytes = 192 * 1024;
constexpr uint32_t kL1Bytes = 512 * 1024;
/// The part of UB and L1 that kernels may use: the framework reserves 256 bytes of each, and 8 KiB
/// of UB for some of its functions (AD, 硬件实现/架构规格/NPU架构版本2201; published). The compiler
/// option --cce-disable-asc-reserved-ubuf frees the 8 KiB; nothing here relies on it.
constexpr uint32_t kUsableUbBytes = kUbBytes - 256 - 8 * 1024;
constexpr uint32_t kUsableL1Bytes = kL1Bytes - 256;
constexpr uint32_t kL0aBytes = 64 * 1024;
constexpr uint32_t kL0bBytes = 64 * 1024;
constexpr uint32_t kL0cBytes = 128 * 1024;
constexpr uint32_t kBiasBytes = 1024;
constexpr uint32_t kFixpipeBytes = 2048;  ///< scales of the fixpipe (INI: fb0_size)
constexpr uint32_t kAivPerAic = 2;
/// Instruction caches, bytes (AD, 内存模型/缓存一致性; published). In contrast, the page
/// 硬件约束/NPU架构版本2201 gives 32 KiB for both.
constexpr uint32_t kAicInstructionCacheBytes = 32 * 1024;
constexpr uint32_t kAivInstructionCacheBytes = 16 * 1024;

/// Best HBM read rate with all vector cores, TB/s: 302 MB in 202.7 us on 48 AIV.
constexpr Constant kHbmReadVector = {1.49, Provenance::kPublished, "ADx data_copy"};
/// HBM read rate of 24 cube cores loading ND weights with ND2NZ, TB/s: 302 MB in 214.5 us.
constexpr Constant kHbmReadCube = {1.41, Provenance::kPublished, "ADx data_copy"};
/// Multiply-accumulates of a cube core per cycle: 16 x 16 x 16 for 16-bit elements; twice as many
/// for int8.
constexpr Constant kCubeMacs = {4096, Provenance::kPublished, "ADt mmad"};
/// Share of L2 that can hold prefetched bytes. Measured were a gain with 0.67 x the capacity and a
/// loss with 1.33 x.
constexpr Constant kUsableL2 = {0.7, Provenance::kDerived, "PL"};
/// L2 line, bytes. Hit counters show 128 (derived), the coherence page says 512; the larger unit is
/// the one in which residency is tracked here.
constexpr uint32_t kL2LineBytes = 512;

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

}  // namespace arch
