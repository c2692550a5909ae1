// One kernel launch on a device, and the file that the kernels are loaded from.
//
// How kernels get onto the device. The Ascend C build makes one file of device code for each family
// of chips (ascendc_fatbin_library of CANN's ascendc.cmake, an ELF file), which is put beside the
// Python module as kernels/<family>.o. It is loaded with aclrtBinaryLoadFromFile; entry points are
// found by their names in csrc/kernels, arguments appended with aclrtKernelArgsAppend, and the
// launch is aclrtLaunchKernelWithConfig. Why this and not the host stubs of ascendc_library
// (aclrtlaunch_<kernel>):
//
// - The scheduling mode is an attribute of that launch, and of none that a host stub makes. Kernels
//   that synchronise all cores need batch mode (ACL_RT_LAUNCH_KERNEL_ATTR_SCHEM_MODE = 1): they
//   start when all their cores are free, so that two of them on two streams cannot hold half the
//   cores each and wait for the other half. `__schedmode__` in the kernel's source is for 9.x only.
// - All of these calls are in CANN 8.1.RC1 and in 9.x with the same signatures (acl/acl_rt.h of
// both).
//   aclrtLaunchKernelWithHostArgs and aclrtLaunchKernelV2 came later.
// - The runtime adds the hidden arguments (the address for synchronisation between cores, the
//   overflow flag) and copies the visible ones when the kernel is launched: plans go by value,
//   nothing is copied to the device before, and a captured graph keeps the bytes of its own launch.
// - The host part needs no Ascend C compiler.
//
// Sources: hicann/runtime docs/zh/api_ref/14_Kernel_loading_and_execution.md and 25-04_Structs.md
// (aclrtLaunchKernelAttrValue); headers of leideng/CANN-8.1.RC1.
#pragma once

#include <cstddef>
#include <cstdint>

namespace npu {

/// Family of a chip in names of files of device code, as CANN names those of its own operators:
/// "ascend910b" for Ascend910B1..4, "ascend910_93" for Ascend910_9361..9392; null for others.
const char* ChipFamily(const char* soc_name);

/// One argument of a kernel, by value: a plain struct of csrc/plan.
struct KernelArgument {
    const void* data;
    size_t bytes;
};

/// Memory that a launch may touch, holes of strided tensors included.
struct GmTensor {
    const char* name;
    void* data;
    size_t bytes;
    bool writable;
    bool fresh;  ///< its bytes mean nothing before the kernel has written them
};

/// The arguments are copied by whoever takes a launch.
struct KernelLaunch {
    const char* kernel;    ///< entry point; static
    uint32_t block_count;  ///< AIC cores of a kernel that uses both types, else cores of its type
    bool all_cores_wait;   ///< synchronises all its cores: batch scheduling
    const KernelArgument* arguments;
    size_t argument_count;
    const GmTensor* tensors = nullptr;  ///< for devices that check accesses; else null
    size_t tensor_count = 0;
    /// Folder of the device code, static; null for that of the ops. Others come with kernels of
    /// their own.
    const char* folder = nullptr;
};

}  // namespace npu
