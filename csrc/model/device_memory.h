// Where tensors of the host would lie on a device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "model/trace_reader.h"

namespace model {

/// Gives every tensor an address of its own, in the order in which they turn up: 512 bytes apart
/// from the next, as torch_npu's allocator has it (Ascend/pytorch, NPUCachingAllocator.cpp,
/// kMinBlockSize). Addresses of the host are aligned to less, and differ from run to run: what
/// shares a line of L2 would too.
class DeviceMemory {
public:
    /// The same for the same tensor.
    uint64_t Place(uint64_t address, uint64_t bytes) { return Find({"", address, bytes}); }

    /// What a kernel only reads keeps its place as long as it has its address. What it writes takes
    /// the place of what a kernel wrote under that name before, as an allocator reuses it; whether
    /// the host's does is chance.
    void Place(TraceFile& trace) {
        for (TraceTensorInfo& tensor : trace.tensors) {
            tensor.address = tensor.writable ? Find({tensor.name, 0, tensor.bytes})
                                             : Place(tensor.address, tensor.bytes);
        }
    }

private:
    static constexpr uint64_t kAlignment = 512;

    using Key = std::tuple<std::string, uint64_t, uint64_t>;

    uint64_t Find(const Key& key) {
        const auto [place, added] = places_.try_emplace(key, next_);
        if (added) next_ += (std::get<2>(key) + 2 * kAlignment - 1) / kAlignment * kAlignment;
        return place->second;
    }

    std::map<Key, uint64_t> places_;
    uint64_t next_ = uint64_t{1} << 40;
};

}  // namespace model
