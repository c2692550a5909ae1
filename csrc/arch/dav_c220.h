// The sizes of architecture dav-c220 (NPU arch 2201), that of the chips of Atlas A2 and A3.
//
// Kernels and the twin need them at compile time. Planners read the same ones through their chip,
// as kDavC220 (arch/architecture.h, which explains classes and source keys).
#pragma once

#include <cstdint>

namespace arch {

/// Sizes in bytes, published (INI, AD) unless said otherwise.
struct DavC220 {
    static constexpr uint32_t kAivPerAic = 2;
    static constexpr uint32_t kUbBytes = 192 * 1024;
    static constexpr uint32_t kL1Bytes = 512 * 1024;
    /// The part of UB and L1 that kernels may use: the framework reserves 256 bytes of each, and 8
    /// KiB of UB for some of its functions (AD, 硬件实现/架构规格/NPU架构版本2201; published). The
    /// compiler option --cce-disable-asc-reserved-ubuf frees the 8 KiB; nothing here relies on it.
    static constexpr uint32_t kUsableUbBytes = kUbBytes - 256 - 8 * 1024;
    static constexpr uint32_t kUsableL1Bytes = kL1Bytes - 256;
    static constexpr uint32_t kL0aBytes = 64 * 1024;
    static constexpr uint32_t kL0bBytes = 64 * 1024;
    static constexpr uint32_t kL0cBytes = 128 * 1024;
    /// Mmad, constraints.
    static constexpr uint32_t kSumsAlignment = 1024;
    static constexpr uint32_t kBiasBytes = 1024;
    static constexpr uint32_t kFixpipeBytes = 2048;  // INI: fb0_size
    /// AD, 内存模型/缓存一致性; published. In contrast, the page 硬件约束/NPU架构版本2201 gives 32
    /// KiB for both.
    static constexpr uint32_t kAicInstructionCacheBytes = 32 * 1024;
    static constexpr uint32_t kAivInstructionCacheBytes = 16 * 1024;
    /// Hit counters show 128 (derived), the coherence page says 512; the larger unit is the one in
    /// which residency is tracked here.
    static constexpr uint32_t kL2LineBytes = 512;
};

}  // namespace arch
