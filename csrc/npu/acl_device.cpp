#include "npu/acl_device.h"

#include <sys/stat.h>

#include <filesystem>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arch/chip.h"
#include "npu/acl_call.h"
#include "npu/argument_block.h"
#include "npu/profiler_range.h"

namespace npu {

namespace {

/// The SoC that the process runs on. Throws std::runtime_error for one that the planner does not
/// know.
std::string KnownSoc() {
    const char* name = aclrtGetSocName();
    if (name == nullptr) throw std::runtime_error("ascend_prefetch: aclrtGetSocName knows no chip");
    if (arch::LookUpChip(name) != nullptr) return name;
    throw std::runtime_error(std::string("ascend_prefetch: unknown SoC '") + name +
                             "'; there are plans for " + arch::ChipNames() +
                             ": add the chip to csrc/arch/chip.cpp and build again");
}

std::string FileOf(const std::string& soc_name, const std::string& folder) {
    const char* family = ChipFamily(soc_name.c_str());
    const std::string path = folder + "/" + (family == nullptr ? soc_name : family) + ".o";
    struct stat status;
    if (stat(path.c_str(), &status) == 0) return path;
    throw std::runtime_error("ascend_prefetch: no kernels for " + soc_name + ": " + path +
                             " is missing; build with ASCEND_HOME_PATH set and this chip chosen");
}

}  // namespace

AclDevice::Chip::Chip(const std::string& kernel_folder)
    : soc_name(KnownSoc()), kernels(FileOf(soc_name, kernel_folder)) {}

AclDevice::AclDevice(std::unique_ptr<Host> host, const std::string& kernel_folder)
    : host_(std::move(host)), kernel_folder_(std::filesystem::absolute(kernel_folder)) {}

AclDevice::Chip& AclDevice::Found() {
    std::call_once(looked_up_, [this] { chip_ = std::make_unique<Chip>(kernel_folder_); });
    return *chip_;
}

KernelFile& AclDevice::KernelsOf(const char* folder) {
    Chip& chip = Found();
    if (folder == nullptr) return chip.kernels;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = chip.others.find(folder);
    if (found != chip.others.end()) return found->second;
    return chip.others.try_emplace(folder, FileOf(chip.soc_name, folder)).first->second;
}

void AclDevice::Launch(const KernelLaunch& launch) {
    KernelFile& kernels = KernelsOf(launch.folder);
    const aclrtStream stream = host_->CurrentStream();
    // The pointer is shared because a queue may copy the work.
    const auto block = std::make_shared<const ArgumentBlock>(launch);
    host_->Enqueue(launch.kernel, [&kernels, block, stream] {
        const ProfilerRange range(block->kernel(), stream);
        block->Launch(kernels.Find(block->kernel()), stream);
    });
}

AclDevice::Side& AclDevice::CurrentSide() {
    const aclrtStream stream = host_->CurrentStream();
    std::unique_ptr<Side>& side = sides_[stream];
    if (side == nullptr) side = std::make_unique<Side>(stream, host_->SideStreamFor(stream));
    return *side;
}

void AclDevice::LaunchBeside(const KernelLaunch& launch, const at::Tensor* tensors, size_t count) {
    KernelFile& kernels = KernelsOf(launch.folder);
    const auto block = std::make_shared<const ArgumentBlock>(launch);
    const std::lock_guard<std::mutex> lock(mutex_);
    Side& side = CurrentSide();
    side.pending = true;  // also if the launch fails: the fork before it is to be joined
    host_->Enqueue(launch.kernel, [&kernels, block, work = &side.work] {
        const aclrtFuncHandle function = kernels.Find(block->kernel());
        work->Fork();
        const ProfilerRange range(block->kernel(), work->stream());
        block->Launch(function, work->stream());
    });
    host_->KeepFor(tensors, count, side.stream);
}

void AclDevice::Prefetch(const MemoryRange* ranges, const at::Tensor* tensors, size_t count) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Side& side = CurrentSide();
    side.pending = true;
    host_->Enqueue("prefetch_sdma",
                   [work = &side.work, list = std::vector<MemoryRange>(ranges, ranges + count)] {
                       work->Fork();
                       work->Prefetch(list);
                   });
    host_->KeepFor(tensors, count, side.stream);
}

void AclDevice::JoinPrefetches() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (sides_.empty()) return;
    const auto found = sides_.find(host_->CurrentStream());
    if (found == sides_.end() || !found->second->pending) return;
    found->second->pending = false;
    host_->Enqueue("prefetch_join", [work = &found->second->work] { work->Join(); });
}

const char* ChipFamily(const char* soc_name) {
    const std::string name = soc_name;
    const auto begins = [&](const char* text) { return name.rfind(text, 0) == 0; };
    if (begins("Ascend910_93")) return "ascend910_93";
    if (begins("Ascend910B")) return "ascend910b";
    return nullptr;
}

}  // namespace npu
