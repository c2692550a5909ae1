// Reads the code sizes of the kernels in a device binary.
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
    std::string name;  ///< entry function; there are two entries if both types of cores run it
    Core core;
    uint64_t bytes;  ///< size of the entry function, including everything inlined into it
};

struct BinaryCode {
    std::vector<KernelCode> kernels;  ///< sorted by name and core
    uint64_t called_bytes = 0;        ///< size of all functions that were not inlined
};

/// Reads a device binary. Throws std::invalid_argument that says what is wrong for any other file,
/// above all for an object compiled for a host, whose sizes say nothing about a device.
BinaryCode ReadKernelCode(const std::string& elf);

/// Size of a core's instruction cache in bytes.
uint32_t InstructionCacheBytes(Core core);

}  // namespace device
