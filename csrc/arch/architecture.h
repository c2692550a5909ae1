// An architecture: what all chips of one kind share. A chip is a row of chip.cpp that refers to
// one; a new architecture is a pair of files beside dav_c220.h and dav_c220.cpp.
//
// Every hardware constant has its class and source. Classes: published (a public document says so),
// derived (computed from published numbers), fitted (a value with which the timing model comes
// closest to published times of kernels), assumed (nobody published it). Source keys: INI =
// platform_config of CANN 8.1.RC1; ADx = asc-devkit examples/01_simd_cpp_api/05_best_practices; AD
// = asc-devkit docs/zh/guide; ADt = asc-devkit tests/perf; PL = hw-native-sys/pypto-lib
// docs/debug-and-tune/l2-prefetch.md; CAT = hicann/catlass docs; AIC =
// hudingyi688/aiconfigurator-npu @11bc0ae850bb,
// systems/data/ascend_910b/vllm-ascend/0.18.0.
#pragma once

#include <cstdint>

namespace arch {

enum class Provenance : uint8_t { kPublished, kDerived, kFitted, kAssumed };

/// A number with its class and source; the comment at its definition gives the unit.
struct Constant {
    double value;
    Provenance provenance;
    const char* source;
};

/// Sizes are in bytes, and of one core unless said otherwise.
struct Architecture {
    const char* name;
    bool has_kernels;  ///< whether csrc/kernels can run on its chips
    uint32_t aiv_per_aic;
    uint32_t ub_bytes;         ///< of a vector core
    uint32_t usable_ub_bytes;  ///< without what the framework reserves
    uint32_t l1_bytes;         ///< of a cube core
    uint32_t usable_l1_bytes;
    uint32_t l0a_bytes;
    uint32_t l0b_bytes;
    uint32_t l0c_bytes;
    uint32_t sums_alignment;  ///< of the addresses in L0C that a product may write to
    uint32_t bias_bytes;
    uint32_t fixpipe_bytes;  ///< scales of the fixpipe
    uint32_t aic_instruction_cache_bytes;
    uint32_t aiv_instruction_cache_bytes;
    uint32_t l2_line_bytes;    ///< the unit in which L2 keeps and evicts, of the chip
    Constant cube_macs;        ///< multiply-accumulates of 16-bit elements per cycle
    Constant hbm_read_vector;  ///< best read rate of all vector cores, TB/s, at hbm_share 1
    Constant hbm_read_cube;    ///< likewise of all cube cores loading with ND2NZ
    Constant usable_l2;        ///< share of L2 that can hold prefetched bytes
};

/// dav-c220, whose traits are in dav_c220.h.
extern const Architecture kDavC220;

}  // namespace arch
