// How much code the kernels of a device binary have.
//
// A device binary is an ELF file for machine 0x1029 (hicann/runtime, src/dfx/adump/adump/exception/
// dump_ELF.cpp). Each kernel is a function symbol with a section .ascend.meta.<symbol>, which
// begins with its type: FunLevelKType in kernel_utils_macros.h of the toolkits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace device {

enum class Core : uint8_t { kAic, kAiv };

struct KernelCode {
    std::string name;  ///< entry function; one that both cores run is there once for each
    Core core;
    uint64_t bytes;  ///< of the entry function, with all that was inlined into it
};

struct BinaryCode {
    std::vector<KernelCode> kernels;  ///< by name and core
    uint64_t called_bytes = 0;        ///< functions that were not inlined, of all kernels
};

/// Reads a device binary. Throws std::invalid_argument "<what is wrong>" for anything else, an
/// object compiled for a host above all: its size says nothing about a device.
BinaryCode ReadKernelCode(const std::string& elf);

/// Bytes of a core's instruction cache.
uint32_t InstructionCacheBytes(Core core);

}  // namespace device
