// A kernel launch on a device, and how kernels get onto the device.
//
// The Ascend C build makes one file of device code for each family of chips (an ELF file, by
// ascendc_fatbin_library of CANN's ascendc.cmake), which is installed beside the Python module as
// kernels/<family>.o. The file is loaded with aclrtBinaryLoadFromFile; entry points are found by
// their names in csrc/kernels, arguments are appended with aclrtKernelArgsAppend, and kernels are
// launched with aclrtLaunchKernelWithConfig. The host stubs of ascendc_library
// (aclrtlaunch_<kernel>) are not used, for these reasons:
//
// - The scheduling mode is an attribute of aclrtLaunchKernelWithConfig; the launch in a host stub
//   cannot set it. Kernels that synchronise all cores need batch mode
//   (ACL_RT_LAUNCH_KERNEL_ATTR_SCHEM_MODE = 1): they start when all their cores are free, so that
//   two of them on two streams cannot each hold half of the cores and wait for the other half.
//   `__schedmode__` in the kernel's source exists in 9.x only.
// - All of these calls are in CANN 8.1.RC1 and in 9.x with the same signatures (acl/acl_rt.h of
//   both). aclrtLaunchKernelWithHostArgs and aclrtLaunchKernelV2 came later.
// - The runtime adds the hidden arguments (the address for synchronisation between cores, the
//   overflow flag) and copies the visible ones when the kernel is launched: plans are passed by
//   value, nothing has to be copied to the device first, and a captured graph keeps the argument
//   bytes of its own launch.
// - The host part needs no Ascend C compiler.
//
// Sources: hicann/runtime docs/zh/api_ref/14_Kernel_loading_and_execution.md and 25-04_Structs.md
// (aclrtLaunchKernelAttrValue); headers of leideng/CANN-8.1.RC1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace npu {

/// The family of a chip, which is in the names of device code files, as in those of CANN's own
/// operators: "ascend910b" for Ascend910B1..4, "ascend910_93" for Ascend910_9361..9392; null for
/// others.
const char* ChipFamily(const char* soc_name);

/// One argument of a kernel, passed by value: a plain struct of csrc/plan.
struct KernelArgument {
    const void* data;
    size_t bytes;
};

/// The arguments of a kernel, which have to outlive the list.
template <typename... Arguments>
std::array<KernelArgument, sizeof...(Arguments)> ListArguments(const Arguments&... arguments) {
    static_assert((std::is_trivially_copyable_v<Arguments> && ...), "arguments go by value");
    return {{{&arguments, sizeof(arguments)}...}};
}

/// Memory that a launch may access, holes of strided tensors included.
struct GmTensor {
    const char* name;
    void* data;
    size_t bytes;
    bool writable;
    bool fresh;  ///< its bytes are undefined until the kernel has written them
};

/// One launch. The device that takes it copies the arguments.
struct KernelLaunch {
    const char* kernel;    ///< entry point; a string with static lifetime
    uint32_t block_count;  ///< AIC cores of a kernel that uses both types, else cores of its type
    bool all_cores_wait;   ///< the kernel synchronises all its cores: use batch scheduling mode
    const KernelArgument* arguments;
    size_t argument_count;
    const GmTensor* tensors = nullptr;  ///< for devices that check accesses; else null
    size_t tensor_count = 0;
    /// Folder of the device code, a string with static lifetime; null for that of the ops' kernels.
    /// Other modules that launch kernels have a folder of their own.
    const char* folder = nullptr;
    /// The chip that the launch was planned for, a string with static lifetime, for devices whose
    /// chip can change between plan and launch; null for any.
    const char* soc_name = nullptr;
};

}  // namespace npu
